"""Tasks that nobody of ours wrote: refused, audited, and no obstacle to anybody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core import clock
from core.config import Settings
from core.db import ENGINE_ACTOR, Context
from core.ids import uuid7
from engine import rescue
from engine.deliver import service as deliver
from engine.deliver.beginning import Done
from engine.deliver.outcome import Failed
from engine.deliver.post import Post
from engine.run_rules import work
from engine.run_workflow import service as workflows
from engine.run_workflow.work import GaveUp
from engine.secrets.sealing import Keys
from engine.store import tasks
from models.enums import TaskKind
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Org, World

EXPIRE = "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE state = 'running'"
GARBAGE: list[dict[str, Any]] = [
    {},
    {"groups": 7, "items": 7, "action_ids": 7},
    {"groups": [1], "items": [1], "action_ids": [1]},
]


def forge(org: Org, payload: dict[str, Any], *, kind: str = "evaluate_rules", **others: Any) -> UUID:
    """Insert a task as whoever got hold of the app's role could, in an org's name."""
    now = org.world.now()
    task_id = uuid7(now)
    row = {"org_id": org.id, "task_id": task_id, "kind": kind, "queue": "rules", "run_at": now, "attempt": 0}
    with org.world.app.transaction(Context(org.id, ENGINE_ACTOR)) as connection:
        tasks.insert(connection, [row | {"payload": payload} | others], now=now)
    return task_id


def evaluating(org: Org, rule_id: UUID, execution_id: UUID | None = None) -> dict[str, Any]:
    """Return the payload of one evaluation of an org's rule."""
    item = {"rule_id": str(rule_id), "execution_id": str(execution_id or uuid7(org.world.now())), "trigger": "manual"}
    return {"groups": [{"org_id": str(org.id), "items": [item]}]}


def claim(world: World, org_id: UUID, task_id: UUID) -> None:
    """Be a worker that claims a task and dies."""
    with world.app.transaction(Context(org_id, ENGINE_ACTOR)) as connection:
        assert tasks.claim(connection, org_id, task_id, worker="gone", now=clock.now(connection))


def told(world: World, task_id: UUID) -> list[tuple[str, str]]:
    """Return what the audit log says of a task: what happened, and the error's code."""
    query = "SELECT action, details #>> '{error,code}' FROM cmis.automation_audit_log WHERE entity_id = :id"
    return [(action, code) for action, code in world.rows(query, id=task_id)]


@pytest.mark.parametrize("delivery", [1, 2])
def test_a_task_that_names_another_orgs_evaluations_is_refused_and_nothing_of_it_is_done(
    world: World, org: Org, delivery: int
) -> None:
    other = world.org("other")
    other.campaign()
    task_id = forge(org, evaluating(other, other.rule(SPENT, NOTIFY)), delivery=delivery)
    done = world.run(org.id, task_id)
    assert isinstance(done, work.GaveUp)
    assert done.error == {"code": "PERMANENT", "message": "the task's payload names another org than its own"}
    assert (world.task(task_id).state, told(world, task_id)) == ("failed", [("task_failed", "PERMANENT")])
    assert world.one("SELECT count(*) FROM cmis.automation_executions") == 0


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize(
    "kind", [TaskKind.EVALUATE_RULES, TaskKind.APPLY_ACTIONS, TaskKind.RUN_WORKFLOW, TaskKind.DELIVER]
)
def test_a_task_whose_payload_makes_no_sense_fails_at_once(
    world: World, org: Org, kind: TaskKind, garbage: dict[str, Any]
) -> None:
    task_id = forge(org, garbage, kind=kind)
    done: object
    if kind is TaskKind.DELIVER:
        post = Post({}, Keys.load(Settings.load({})), 1)
        done = deliver.run(world.app, org.id, task_id, worker="w", post=post)
        assert isinstance(done, Done)
        assert isinstance(done.outcome, Failed)
    elif kind is TaskKind.RUN_WORKFLOW:
        done = workflows.run(world.app, org.id, task_id, worker="w", send=lambda _: None)
        assert isinstance(done, GaveUp)
    else:
        assert isinstance(world.run(org.id, task_id), work.GaveUp)
    assert (world.task(task_id).state, told(world, task_id)) == ("failed", [("task_failed", "PERMANENT")])


def test_what_makes_the_reaper_fail_is_dead_alone_and_all_others_are_rescued(world: World, org: Org) -> None:
    other = world.org("other")
    theirs = other.rule()
    done = org.evaluate(org.rule())[0].execution_id
    last: dict[str, Any] = {"max_attempts": 1, "delivery": 2}
    good = [forge(org, evaluating(org, org.rule()), **last), forge(org, evaluating(org, org.rule()), delivery=2)]
    bad = [
        forge(org, evaluating(other, theirs), **last),
        forge(org, evaluating(org, org.rule(), done), **last),
        *(
            forge(org, garbage, kind=kind, **last)
            for garbage in GARBAGE[1:]
            for kind in ("evaluate_rules", "run_workflow")
        ),
        forge(org, {"items": [{"instance_id": "x"}]}, kind="run_workflow", **last),
        forge(org, {"items": [{"start": {"job_id": 1}}]}, kind="run_workflow", **last),
        forge(org, {"action_ids": ["x"]}, kind="deliver", **last),
        forge(
            org, {"groups": [{"org_id": str(org.id), "items": [{"execution_id": "x"}]}]}, kind="apply_actions", **last
        ),
    ]
    good.append(forge(org, evaluating(org, org.rule()), **last))
    for task_id in (good[0], *bad, *good[1:]):
        claim(world, org.id, task_id)
    world.meddle(EXPIRE)

    assert rescue.reap(world.scheduler) == len(good) + len(bad)

    assert [world.task(task_id).state for task_id in good] == ["dead", "ready", "dead"]
    assert world.one("SELECT count(*) FROM cmis.automation_executions WHERE status = 'failure'") == 2
    assert [told(world, task_id) for task_id in bad[:2]] == [[("task_died", "UNREADABLE")]] * 2
    assert {world.task(task_id).state for task_id in bad} == {"dead"}
    assert {action for task_id in bad for action, _ in told(world, task_id)} == {"task_died"}
    assert world.one("SELECT count(*) FROM cmis.task_attempts WHERE outcome IS NULL") == 0
    assert world.one("SELECT count(*) FROM cmis.automation_executions WHERE org_id = :id", id=other.id) == 0


def test_a_rule_that_does_not_exist_keeps_no_other_of_its_task_from_running(world: World, org: Org) -> None:
    org.campaign()
    payload = evaluating(org, uuid7(world.now()))
    payload["groups"][0]["items"] += evaluating(org, org.rule(SPENT, NOTIFY))["groups"][0]["items"]
    task_id = forge(org, payload)
    world.run(org.id, task_id)
    assert world.task(task_id).state == "succeeded"
    assert world.one("SELECT status FROM cmis.automation_executions") == "success"
