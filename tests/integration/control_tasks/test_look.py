"""One task as people look at it: its attempts, what it carries by name, and the facts behind why it is not done."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from core.db import ENGINE_ACTOR, RESERVED_ORG, Context
from core.errors import NotFoundError
from core.ids import uuid7
from engine.control_tasks import look
from engine.control_tasks.retry import retry
from engine.control_workflows import switch
from engine.deliver.breaker import FAILURES
from engine.store import publishing, tasks
from tests.unit.workflows.documents import noop
from tests.world import NOTIFY

if TYPE_CHECKING:
    from uuid import UUID

    from tests.integration.control_tasks.conftest import Operator
    from tests.posting import Desk
    from tests.receiver.web import Receiver
    from tests.stepping import Flow
    from tests.world import Org, World

LIMITS = look.Limits(org_in_flight=500, queue_waiting=2_000)
WAIT: dict[str, Any] = {"id": "wait", "type": "delay", "config": {"minutes": 5}, "next": "b"}


def why(org: Org, task_id: UUID) -> list[tuple[str, str]]:
    """Return the codes and sentences of why a task is not done."""
    told = look.why(org.world.app, org.context, task_id, LIMITS, lambda _: look.Surroundings())
    assert told.task_id == task_id
    return [(reason.code, reason.message) for reason in told.reasons]


def test_a_dead_evaluation_shows_its_attempts_and_its_rule_by_name(world: World, org: Org, operator: Operator) -> None:
    rule = org.rule(name="Pause dear ones")
    job = org.hourly(rule, hours_due=1, name="hourly")
    world.dispatch()
    task_id = world.one("SELECT task_id FROM cmis.tasks")
    operator.die_of(task_id)

    seen = look.show(world.app, org.context, task_id)

    [attempt] = seen.attempts
    assert (attempt.fence, attempt.outcome, attempt.worker, attempt.error["code"]) == (1, "lost", "dying", "LOST")
    [carried] = seen.carries
    assert (carried["rule"], carried["rule_id"], carried["job"], carried["job_id"]) == (
        "Pause dear ones",
        rule,
        "hourly",
        job,
    )
    assert [code for code, _ in why(org, task_id)] == ["dead", "dead_letter"]
    done = operator.do(retry, task_id)
    assert str(done.retried_as) in why(org, task_id)[1][1]


def test_held_actions_name_the_task_before_them(world: World, org: Org) -> None:
    org.campaign()
    tags = [{"type": "tag_entity", "value": value} for value in ("hot", "later")]
    org.evaluate(org.rule(actions=[*NOTIFY, *tags], delay_between_actions_seconds=60))
    first, second = world.rows("SELECT task_id, state FROM cmis.tasks WHERE kind = 'apply_actions' ORDER BY run_at")

    assert [code for code, _ in why(org, first.task_id)] == ["delay"]
    [(code, message)] = why(org, second.task_id)
    assert (code, str(first.task_id) in message) == ("held_before", True)
    assert look.show(world.app, org.context, second.task_id).carries[0]["position"] == 2


def test_a_delivery_says_what_it_waits_for_and_to_whom_it_goes(world: World, desk: Desk, receiver: Receiver) -> None:
    for _ in range(FAILURES):
        desk.run(desk.webhook(f"{receiver.url}/fails/503"))
    task_id = desk.webhook(f"{receiver.url}/hook")
    desk.run(task_id)

    [(code, message)] = why(desk.org, task_id)

    assert (code, "is down until" in message) == ("waits_for", True)
    [effect] = look.show(world.app, desk.org.context, task_id).carries
    assert (effect["type"], effect["channel"], effect["status"]) == ("trigger_webhook", "webhook", "queued")


def test_a_run_says_which_step_waits_and_that_it_is_paused(world: World, org: Org, flow: Flow) -> None:
    instance = flow.start(flow.publish(WAIT, noop("b"), name="Nurture"))
    flow.run()
    task_id = world.one("SELECT task_id FROM cmis.tasks WHERE state = 'ready'")
    assert [code for code, _ in why(org, task_id)] == ["step_waits"]
    [carried] = look.show(world.app, org.context, task_id).carries
    assert (carried["workflow"], carried["instance_id"]) == ("Nurture", instance)

    switch.pause(flow.hand, instance, note="until Monday")
    world.advance(minutes=6)
    flow.run()

    held = world.one("SELECT task_id FROM cmis.tasks WHERE state = 'held'")
    [(code, message)] = why(org, held)
    assert (code, "until Monday" in message) == ("instance_paused", True)


def test_a_shared_chunk_shows_an_org_its_own_share(world: World, org: Org) -> None:
    other, third = world.org("other"), world.org("third")
    for one in (org, other):
        one.hourly(one.rule(name=f"of {one.id}"), hours_due=1)
    world.dispatch()
    task_id = world.one("SELECT task_id FROM cmis.tasks")

    seen = look.show(world.app, org.context, task_id)

    assert [carried["rule"] for carried in seen.carries] == [f"of {org.id}"]
    assert seen.shared
    assert [code for code, _ in why(org, task_id)] == ["unpublished", "shared"]
    with world.app.transaction(Context(RESERVED_ORG, ENGINE_ACTOR)) as connection:
        now = world.now()
        claimed = tasks.claim(connection, RESERVED_ORG, task_id, worker="w", now=now)
        assert claimed is not None
        said = {"code": "CRASHED", "message": "a budget of the other org is too large"}
        assert tasks.retry(connection, claimed, after=timedelta(hours=1), now=now, error=said)
    [attempt] = look.show(world.app, org.context, task_id).attempts
    assert attempt.error == {"code": "CRASHED"}
    assert "budget" not in " ".join(message for _, message in why(org, task_id))
    for unknown in (task_id, uuid7(now)):
        with pytest.raises(NotFoundError, match="there is no task"):
            look.show(world.app, third.context, unknown)


def test_a_task_waits_while_its_org_has_enough_in_flight(world: World, org: Org) -> None:
    task_id, other = (world.enqueue({org.id: [org.rule()]}) for _ in range(2))
    world.meddle("UPDATE cmis.tasks SET published_at = %(at)s WHERE task_id = %(id)s", at=world.now(), id=other)
    assert [code for code, _ in why(org, task_id)] == ["unpublished"]

    with world.app.transaction(org.context) as connection:
        publishing.set_cap(connection, org.id, "rules", 1)

    [(code, message)] = why(org, task_id)
    assert (code, "has 1 tasks of the queue rules sent or running" in message) == ("org_capped", True)


def test_a_task_behind_others_of_its_org_says_how_many(world: World, org: Org) -> None:
    first, second, third = (world.enqueue({org.id: [org.rule()]}) for _ in range(3))
    world.org("other")
    assert [why(org, task_id)[0][0] for task_id in (first, second, third)] == ["unpublished", "turn", "turn"]
    assert "about 2 of its org's tasks stand before it" in why(org, third)[0][1]

    world.meddle("UPDATE cmis.tasks SET priority = 2 WHERE task_id = %(id)s", id=third)

    assert [code for code, _ in why(org, third)] == ["unpublished"]
    assert "about 2" in why(org, second)[0][1]
    world.meddle("UPDATE cmis.tasks SET publish_at = publish_at - interval '3 min' WHERE task_id = %(id)s", id=second)
    assert [code for code, _ in why(org, second)] == ["unpublished"]
    assert "about 1 of its org's tasks stands before it" in why(org, third)[0][1]
    for changed in ("published_at = now()", "queue = 'actions'", "state = 'held'"):
        world.meddle("UPDATE cmis.tasks SET queue = 'rules', state = 'ready', published_at = NULL")
        world.meddle(f"UPDATE cmis.tasks SET {changed} WHERE task_id = %(id)s", id=second)
        assert [code for code, _ in why(org, third)] == ["unpublished"], changed
    world.meddle("UPDATE cmis.tasks SET state = 'ready'")


@pytest.mark.parametrize("room", [1, 3, 7])
def test_those_that_stand_before_a_task_are_those_that_a_scheduler_takes_before_it(
    world: World, org: Org, room: int
) -> None:
    other = world.org("other")
    tasks = [world.enqueue({org.id: [org.rule()]}) for _ in range(12)]
    for one in range(4):
        world.enqueue({other.id: [other.rule()]})
        del one
    for number, task_id in enumerate(tasks):
        world.meddle(
            "UPDATE cmis.tasks SET priority = %(priority)s, publish_at = publish_at - %(waited)s * interval '1 s'"
            " WHERE task_id = %(id)s",
            priority=number % 5,
            waited=number * 7919 % 400,
            id=task_id,
        )
    with world.app.transaction(org.context) as connection:
        before = {task_id: publishing.ahead(connection, org.id, task_id, bound=1_000) for task_id in tasks}
    taken: list[UUID] = []
    while len(taken) < len(tasks):
        with world.scheduler.transaction(None) as connection:
            picked = publishing.pick(connection, {"rules": room}, {"rules": None}, cap=1_000)["rules"]
            assert publishing.take(connection, [picked], {}).messages
        taken += [task_id for owner, task_id in zip(picked.orgs, picked.tasks, strict=True) if owner == org.id]
    assert [before[task_id] for task_id in taken] == sorted(before.values())
    assert sorted(before.values()) == list(range(12))


def test_a_task_at_work_names_its_worker_and_one_whose_worker_is_silent_says_so(
    world: World, org: Org, operator: Operator
) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    operator.claim(task_id)
    assert [code for code, _ in why(org, task_id)] == ["running"]

    world.meddle("UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '9 s'")

    assert [code for code, _ in why(org, task_id)] == ["lease_expired"]
    operator.lose()
