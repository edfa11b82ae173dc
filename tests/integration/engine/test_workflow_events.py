"""Events that start workflows, and that steps of them wait for: each once, and none slips through."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from core import faults
from core.errors import ConflictError, NotFoundError
from dev.launch import wait_until
from engine import emit
from engine.store import events as store
from tests.integration.engine.instances import NOOP, publish, run, run_all, started, steps_of
from tests.integration.engine.test_events import LEAD
from tests.world import NOTIFY

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Org, World

GOOD: dict[str, Any] = {"field": "lead.score", "operator": ">=", "value": 50}
REPLY = "lead.replied"
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def tell(org: Org, event_type: str, payload: dict[str, Any], key: str | None = None, **others: Any) -> emit.Emitted:
    event = emit.read(event_type, payload, idempotency_key=key)
    return emit.emit(org.world.app, org.context, event, **others)


def waits(event_type: str = REPLY, step_id: str = "wait", value: Any = "{{ context.event.payload.lead.id }}") -> Any:
    config: dict[str, Any] = {"event_type": event_type}
    if value is not None:
        config["correlation"] = {"field": "lead.id", "value": value}
    return {"id": step_id, "type": "wait_for_event", "config": config}


def outputs(world: World, instance_id: UUID) -> dict[str, Any]:
    return {
        step_id: row.output_data["event"]["id"]
        for step_id, row in steps_of(world, instance_id).items()
        if row.type == "wait_for_event" and row.output_data
    }


def test_an_event_starts_the_active_workflows_of_its_type_whose_conditions_it_meets(world: World) -> None:
    org, other = world.org(), world.org("other")
    all_of = publish(org, NOOP, event_type=LEAD)
    good = publish(org, NOOP, name="good", event_type=LEAD, event_conditions=[GOOD])
    publish(org, NOOP, name="draft", event_type=LEAD, status="draft")
    publish(org, NOOP, name="archived", event_type=LEAD, status="archived")
    publish(org, NOOP, name="other type", event_type=REPLY)
    publish(other, NOOP, event_type=LEAD, is_public=True)
    told = tell(org, LEAD, {"lead": {"score": 80}})
    assert (told.triggered, told.started, told.woken) == (0, 2, 0)
    assert tell(org, LEAD, {"lead": {"score": 10}}).started == 1
    assert tell(org, LEAD, {"lead": {}}).started == 1  # unknown starts nothing
    run_all(world)
    first, second, *others = started(world)
    assert {first.template_id, second.template_id} == {all_of, good}
    assert [one.template_id for one in others] == [all_of, all_of]
    assert (first.trigger_type, first.event_id, first.triggered_by) == ("event", told.event_id, None)
    seen = {"id": str(told.event_id), "type": LEAD, "payload": {"lead": {"score": 80}}}
    assert first.context_data == {"event": seen}
    assert first.status == "completed"


def test_an_event_that_is_told_again_starts_nothing_and_tells_what_it_did_the_first_time(world: World) -> None:
    org = world.org()
    publish(org, waits(value=None), event_type=LEAD)
    publish(org, NOOP, name="other", event_type=LEAD)
    for _ in range(3):
        assert tell(org, LEAD, {"lead": {"id": 1}}, "once").started == 2
        run_all(world)
    assert len(started(world)) == 2
    for already in (False, True):
        told = tell(org, REPLY, {}, "reply")
        assert (told.already, told.woken, told.started) == (already, 1, 0)
    [row] = world.rows("SELECT triggered, started, woken FROM cmis.automation_events WHERE type = :t", t=LEAD)
    assert tuple(row) == (0, 2, 0)


def test_of_many_who_tell_one_event_at_once_one_starts_each_workflow(world: World) -> None:
    org = world.org()
    for number in range(3):
        publish(org, NOOP, name=f"workflow {number}", event_type=LEAD)
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: tell(org, LEAD, {"lead": {"score": 60}}, "once"), range(24)))
    assert [one.already for one in told].count(False) == 1
    run_all(world)
    assert len(started(world)) == 3


def test_rules_workflows_and_steps_follow_from_one_event_in_one_transaction(world: World) -> None:
    org = world.org()
    template = publish(org, NOOP, name="starts", event_type=LEAD)
    publish(org, waits(LEAD, value=None), name="begun by a reply", event_type=REPLY)
    org.rule([GOOD], NOTIFY, trigger_type="event", event_type=LEAD)
    org.campaign()
    tell(org, REPLY, {})
    run_all(world)
    told = tell(org, LEAD, {"lead": {"score": 80}})
    assert (told.triggered, told.started, told.woken) == (1, 1, 1)
    run_all(world)
    assert [one.status for one in started(world)] == ["completed", "completed"]
    assert started(world)[1].template_id == template
    assert world.one("SELECT count(*) FROM cmis.automation_executions") == 1


def test_conditions_that_cannot_be_read_keep_an_event_from_nothing_else(world: World) -> None:
    org = world.org()
    publish(org, NOOP, event_type=LEAD, event_conditions=[{"field": "x"}])
    fine = publish(org, NOOP, name="fine", event_type=LEAD)
    assert tell(org, LEAD, {}).started == 1
    assert [one.template_id for one in started(world)] == [fine]


def test_a_workflow_that_is_archived_while_the_event_is_told_is_left_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    org = world.org()
    gone = publish(org, NOOP, event_type=LEAD)
    stays = publish(org, NOOP, name="stays", event_type=LEAD)
    original = store.started_by

    def started_by(*args: Any) -> Any:
        found = original(*args)
        world.meddle("UPDATE cmis.workflow_templates SET status = 'archived' WHERE template_id = %(id)s", id=gone)
        return found

    monkeypatch.setattr(store, "started_by", started_by)
    assert tell(org, LEAD, {}, "k").started == 1
    assert [one.template_id for one in started(world)] == [stays]
    assert world.one("SELECT count(*) FROM cmis.automation_events") == 1


def begun(world: World, org: Org, *ids: int) -> list[UUID]:
    """Start an instance for each lead, and let it wait."""
    for lead in ids:
        tell(org, LEAD, {"lead": {"id": lead}})
    run_all(world)
    return [one.instance_id for one in started(world)]


def test_an_event_wakes_the_steps_that_wait_for_its_value_and_those_that_wait_for_any(world: World) -> None:
    org, other = world.org(), world.org("other")
    publish(org, waits(), event_type=LEAD)
    first, second = begun(world, org, 1, 2)
    publish(other, waits(value=None), event_type=LEAD)
    tell(other, LEAD, {})
    run_all(world)
    assert tell(org, REPLY, {"lead": {"id": 3}}).woken == 0
    assert tell(org, REPLY, {"lead": {"id": "1"}}).woken == 0  # a text is no number
    told = tell(org, REPLY, {"lead": {"id": 1.0}, "text": "yes"})
    assert told.woken == 1
    run_all(world)
    assert steps_of(world, first)["wait"].output_data["event"] == {
        "id": str(told.event_id),
        "type": REPLY,
        "payload": {"lead": {"id": 1}, "text": "yes"},
    }
    assert [one.status for one in started(world)] == ["completed", "running", "running"]
    assert steps_of(world, second)["wait"].status == "waiting"


def test_an_event_that_came_before_the_step_began_to_wait_is_taken_once(world: World) -> None:
    org = world.org()
    rest = {"id": "rest", "type": "delay", "config": {"minutes": 5}}
    publish(org, rest, waits(step_id="first"), waits(step_id="second"), NOOP, event_type=LEAD)
    [instance] = begun(world, org, 1)
    early = tell(org, REPLY, {"lead": {"id": 1}})
    tell(org, REPLY, {"lead": {"id": 2}})
    assert early.woken == 0
    world.advance(minutes=6)
    run_all(world)
    assert outputs(world, instance) == {"first": str(early.event_id)}
    assert steps_of(world, instance)["second"].status == "waiting"
    late = tell(org, REPLY, {"lead": {"id": 1}})
    assert late.woken == 1
    run_all(world)
    assert outputs(world, instance) == {"first": str(early.event_id), "second": str(late.event_id)}
    assert [one.status for one in started(world)] == ["completed"]


def test_two_steps_one_after_the_other_take_two_events_in_their_order(world: World) -> None:
    org = world.org()
    rest = {"id": "rest", "type": "delay", "config": {"minutes": 5}}
    publish(org, rest, waits(step_id="first"), waits(step_id="second"), event_type=LEAD)
    [instance] = begun(world, org, 1)
    told = [tell(org, REPLY, {"lead": {"id": 1}, "number": number}) for number in range(3)]
    world.advance(minutes=6)
    run_all(world)
    assert outputs(world, instance) == {"first": str(told[0].event_id), "second": str(told[1].event_id)}


def test_the_event_that_started_an_instance_is_none_that_it_waits_for(world: World) -> None:
    org = world.org()
    publish(org, waits(LEAD), event_type=LEAD)
    [instance] = begun(world, org, 1)
    assert steps_of(world, instance)["wait"].status == "waiting"
    again = tell(org, LEAD, {"lead": {"id": 1}})
    assert (again.started, again.woken) == (1, 1)
    run_all(world)
    assert outputs(world, instance) == {"wait": str(again.event_id)}


@pytest.mark.parametrize("value", ["x" * 300, "ä" * 300, '"' * 150, 10**250, True, 0.1, "a=b"])
def test_a_value_of_any_kind_is_found_before_and_after(world: World, value: Any) -> None:
    org = world.org()
    rest = {"id": "rest", "type": "delay", "config": {"minutes": 5}}
    publish(org, rest, waits(step_id="first"), waits(step_id="second"), event_type=LEAD)
    tell(org, LEAD, {"lead": {"id": value}})
    run_all(world)
    [instance] = started(world)
    early = tell(org, REPLY, {"lead": {"id": value}})
    tell(org, REPLY, {"lead": {"id": "another"}})
    world.advance(minutes=6)
    run_all(world)
    late = tell(org, REPLY, {"lead": {"id": value}})
    assert late.woken == 1
    run_all(world)
    assert outputs(world, instance.instance_id) == {"first": str(early.event_id), "second": str(late.event_id)}


def test_a_step_that_is_told_twice_goes_on_once(world: World) -> None:
    org = world.org()
    publish(org, waits(), NOOP, event_type=LEAD)
    [instance] = begun(world, org, 1)
    first, second = (tell(org, REPLY, {"lead": {"id": 1}}) for _ in range(2))
    assert (first.woken, second.woken) == (1, 1)
    run_all(world)
    assert outputs(world, instance) == {"wait": str(first.event_id)}
    assert [one.status for one in started(world)] == ["completed"]


def test_one_instance_alone_is_told_whatever_value_it_waits_for(world: World) -> None:
    org = world.org()
    publish(org, waits(), event_type=LEAD)
    publish(org, NOOP, name="not started", event_type=REPLY)
    first, second = begun(world, org, 1, 1)
    told = tell(org, REPLY, {"by": "hand"}, "k", instance_id=second)
    assert (told.triggered, told.started, told.woken) == (0, 0, 1)
    run_all(world)
    assert (outputs(world, first), outputs(world, second)) == ({}, {"wait": str(told.event_id)})
    assert tell(org, REPLY, {"by": "hand"}, "k", instance_id=second).already
    with pytest.raises(NotFoundError, match="there is no instance"):
        tell(world.org("other"), REPLY, {}, instance_id=first)
    with pytest.raises(ConflictError, match="no step of the instance"):
        tell(org, REPLY, {"by": "hand"}, instance_id=second)
    with pytest.raises(ConflictError, match="the key of another event"):
        tell(org, REPLY, {"by": "hand"}, "k", instance_id=first)
    assert world.one("SELECT count(*) FROM cmis.automation_events WHERE type = :t", t=REPLY) == 1


def test_an_event_for_one_instance_is_not_found_later_by_another(world: World) -> None:
    org = world.org()
    rest = {"id": "rest", "type": "delay", "config": {"minutes": 5}}
    publish(org, rest, waits(value=None), event_type=LEAD)
    tell(org, LEAD, {})
    run_all(world)
    world.advance(minutes=3)
    tell(org, LEAD, {})
    run_all(world)
    world.advance(minutes=3)
    run_all(world)
    first, second = [one.instance_id for one in started(world)]
    tell(org, REPLY, {}, instance_id=first)
    run_all(world)
    world.advance(minutes=3)
    run_all(world)
    assert steps_of(world, second)["wait"].status == "waiting"


def test_no_event_slips_through_between_a_look_and_the_wait(world: World) -> None:
    """Workers that let steps wait, and tellers, in any order: each instance takes its event, whoever was first."""
    org = world.org()
    publish(org, waits(), event_type=LEAD)
    leads = range(40)
    for lead in leads:
        tell(org, LEAD, {"lead": {"id": lead}})
    ready = world.rows("SELECT task_id FROM cmis.tasks WHERE kind = 'run_workflow' ORDER BY task_id")
    together = threading.Barrier(2)

    def work() -> None:
        together.wait(10)
        for (task_id,) in ready:
            run(world, org.id, task_id)

    def talk() -> None:
        together.wait(10)
        for lead in leads:
            tell(org, REPLY, {"lead": {"id": lead}})

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work), pool.submit(talk)]:
            done.result(60)
    run_all(world)
    assert [one.status for one in started(world)] == ["completed"] * len(leads)


def test_a_teller_waits_for_a_step_that_is_about_to_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    org = world.org()
    publish(org, waits(), event_type=LEAD)
    tell(org, LEAD, {"lead": {"id": 1}})
    [(task_id,)] = world.rows("SELECT task_id FROM cmis.tasks WHERE kind = 'run_workflow'")
    looked, commit = threading.Event(), threading.Event()

    def crash(point: str) -> None:
        if point == "workflow.before_commit":
            looked.set()
            assert commit.wait(10)

    monkeypatch.setattr(faults, "crash", crash)
    with ThreadPoolExecutor(2) as pool:
        worker = pool.submit(run, world, org.id, task_id)
        assert looked.wait(10)
        teller = pool.submit(tell, org, REPLY, {"lead": {"id": 1}})
        assert wait_until(lambda: world.one(WAITING) == 1, 10)
        commit.set()
        worker.result(10)
        assert teller.result(10).woken == 1
    run_all(world)
    assert [one.status for one in started(world)] == ["completed"]
