"""Tasks that nobody of ours wrote, in people's hands: shown, asked why, refused or given up, and in nobody's way."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from sqlalchemy.exc import DBAPIError

from core.db import RESERVED_ORG
from core.errors import NotFoundError
from core.ids import uuid7
from engine.control_tasks import look
from engine.control_tasks.discard import discard
from engine.control_tasks.frame import Dealt, deal
from engine.control_tasks.retry import retry
from engine.store import task_lists
from engine.store.task_lists import Wanted
from models.enums import TaskKind, TaskState
from tests.integration.engine.test_forged_tasks import GARBAGE, forge

if TYPE_CHECKING:
    from engine.control_tasks.frame import Case
    from tests.integration.control_tasks.conftest import Operator
    from tests.posting import Desk
    from tests.receiver.web import Receiver
    from tests.world import Org, World

KINDS = [TaskKind.EVALUATE_RULES, TaskKind.APPLY_ACTIONS, TaskKind.RUN_WORKFLOW, TaskKind.DELIVER]
BEYOND = "ffffffff-ffff-ffff-ffff-ffffffffffff"
FORGED: list[Any] = [
    *GARBAGE,
    [1],
    7,
    {"groups": {}, "items": {}, "action_ids": {}, "position": "x"},
    {"groups": [], "items": [], "action_ids": []},
    {"groups": [{"items": [{"execution_id": "x"}]}], "items": [{"instance_id": "x"}], "action_ids": ["x"]},
    {"items": [{"instance_id": BEYOND, "start": {"job_id": 1}}], "action_ids": [BEYOND], "position": 1.5},
]
LIMITS = look.Limits(org_in_flight=500, queue_waiting=2_000)
END = "UPDATE cmis.tasks SET state = 'failed', finished_at = run_at WHERE task_id = %(id)s"


def forged(org: Org, kind: TaskKind, payload: Any, *, ended: bool = False) -> UUID:
    """Leave a task with a payload of any shape."""
    task_id = forge(org, {}, kind=kind)
    org.world.meddle(
        "UPDATE cmis.tasks SET payload = %(payload)s::jsonb WHERE task_id = %(id)s",
        payload=json.dumps(payload),
        id=task_id,
    )
    if ended:
        org.world.meddle(END, id=task_id)
    return task_id


def codes(org: Org, task_id: UUID) -> list[str]:
    told = look.why(org.world.app, org.context, task_id, LIMITS, lambda _: look.Surroundings())
    return [reason.code for reason in told.reasons]


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_shown_and_says_why_it_is_not_done(world: World, org: Org, kind: TaskKind) -> None:
    for payload in FORGED:
        task_id = forged(org, kind, payload)
        seen = look.show(world.app, org.context, task_id)
        assert all(set(one) == {"unreadable"} for one in seen.carries if payload in GARBAGE), payload
        world.meddle(
            "UPDATE cmis.tasks SET state = 'held', publish_at = NULL WHERE task_id = %(id)s AND kind = 'apply_actions'",
            id=task_id,
        )
        assert codes(org, task_id)[0] in {"unpublished", "turn", "held"}, payload
    world.meddle("DELETE FROM cmis.tasks WHERE state = 'held'")


@pytest.mark.parametrize("kind", KINDS)
def test_as_a_dead_letter_it_is_not_done_again_and_given_up_without_its_payload(
    world: World, org: Org, operator: Operator, kind: TaskKind
) -> None:
    for payload in FORGED:
        task_id = forged(org, kind, payload, ended=True)
        again = operator.do(retry, task_id)
        assert again.outcome in {"failed", "refused"}, (payload, again)
        assert codes(org, task_id) == ["failed", "dead_letter"]
        assert operator.do(discard, task_id, "no").outcome == "discarded", payload
        assert world.task(task_id).handled_as == "discarded"
    assert world.one("SELECT count(*) FROM cmis.tasks WHERE state = 'ready'") == 0


def test_one_that_waits_keeps_no_other_from_being_given_up(world: World, org: Org) -> None:
    good = [world.enqueue({org.id: [org.rule()]}) for _ in range(2)]
    bad = forged(org, TaskKind.EVALUATE_RULES, {"groups": 7})

    done = list(deal(world.app, org.context, discard, [good[0], bad, good[1]], note="no"))

    assert [one.outcome for one in done] == ["cancelled", "failed", "cancelled"]
    assert "cannot be read" in (done[1].reason or "")
    assert "cmis tasks discard" in (done[1].reason or "")
    assert world.task(bad).state == "ready"


def test_one_keeps_nobody_from_finding_the_tasks_of_a_rule_or_a_run(
    world: World, desk: Desk, receiver: Receiver
) -> None:
    desk.org.campaign()
    hook = {"url": f"{receiver.url}/hook", "signing_secret": "secret://signing"}
    rule = desk.org.rule(actions=[{"type": "trigger_webhook", "params": hook}])
    desk.org.evaluate(rule)
    delivery = world.one("SELECT task_id FROM cmis.tasks WHERE kind = 'deliver'")
    for payload in FORGED:
        forged(desk.org, TaskKind.DELIVER, payload)
    with world.app.transaction(desk.org.context) as connection:
        for wanted, found in (
            (Wanted(states=[TaskState.READY], rule_id=rule), [delivery]),
            (Wanted(states=[TaskState.READY], instance_id=uuid7(world.now())), []),
        ):
            rows = task_lists.page(connection, desk.org.id, wanted, limit=50)
            assert [row.task_id for row in rows if row.kind == "deliver"] == found


def test_a_dead_delivery_that_does_not_say_what_it_carried_leaves_that_in_doubt(
    world: World, desk: Desk, receiver: Receiver, operator: Operator
) -> None:
    task_id = desk.webhook(f"{receiver.url}/hook")
    world.meddle("UPDATE cmis.automation_actions SET status = 'running', attempts = 1")
    operator.die_of(task_id)
    world.meddle("UPDATE cmis.tasks SET payload = payload || '{\"action_ids\": 7}' WHERE task_id = %(id)s", id=task_id)

    done = operator.do(discard, task_id, "no")

    assert (done.outcome, done.reason) == ("discarded", "what it was to deliver cannot be read")
    assert world.one("SELECT status FROM cmis.automation_actions") == "unknown"


def test_one_whose_id_is_of_no_time_is_shown_and_given_up(world: World, org: Org, operator: Operator) -> None:
    with pytest.raises(NotFoundError, match="there is no task"):
        look.show(world.app, org.context, UUID(BEYOND))
    task_id = forged(org, TaskKind.DELIVER, {}, ended=True)
    world.meddle("UPDATE cmis.tasks SET task_id = %(new)s WHERE task_id = %(id)s", new=BEYOND, id=task_id)
    assert look.show(world.app, org.context, UUID(BEYOND)).attempts == []
    assert codes(org, UUID(BEYOND)) == ["failed", "dead_letter"]
    assert operator.do(discard, UUID(BEYOND), "no").outcome == "discarded"


def test_a_shared_one_that_cannot_be_read_is_nobodys(world: World, org: Org) -> None:
    for payload in [*FORGED, {"groups": [{"org_id": 1}, 7]}]:
        task_id = forged(org, TaskKind.EVALUATE_RULES, payload)
        world.meddle("UPDATE cmis.tasks SET org_id = %(org)s WHERE task_id = %(id)s", org=RESERVED_ORG, id=task_id)
        with pytest.raises(NotFoundError, match="there is no task"):
            look.show(world.app, org.context, task_id)


def test_a_task_that_waits_too_long_for_a_lock_fails_alone(world: World, org: Org) -> None:
    tasks = [world.enqueue({org.id: [org.rule()]}) for _ in range(3)]

    def slow(case: Case) -> Dealt:
        if case.task_id == tasks[1]:
            case.connection.exec_driver_sql("SET LOCAL statement_timeout = 1")
            case.connection.exec_driver_sql("SELECT pg_sleep(5)")
        return discard(case)

    done = list(deal(world.app, org.context, slow, tasks, note="no"))

    assert [one.outcome for one in done] == ["cancelled", "failed", "cancelled"]
    assert "statement timeout" in (done[1].reason or "")
    assert [world.task(one).state for one in tasks] == ["cancelled", "ready", "cancelled"]


def test_an_outage_is_no_tasks_own_and_what_was_done_before_it_stays(world: World, org: Org) -> None:
    tasks = [world.enqueue({org.id: [org.rule()]}) for _ in range(2)]

    def cut(case: Case) -> Dealt:
        if case.task_id == tasks[1]:
            case.connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")
        return discard(case)

    done: list[Dealt] = []
    with pytest.raises(DBAPIError):
        done.extend(deal(world.app, org.context, cut, tasks, note="no"))

    assert [world.task(one).state for one in tasks] == ["cancelled", "ready"]
