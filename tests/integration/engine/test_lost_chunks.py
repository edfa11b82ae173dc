"""A chunk whose workers die is split until what kills them is alone: that is dead, and all else is done."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from engine import rescue
from engine.run_rules import service, work
from models.enums import TaskState
from tests.integration.engine import dying
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from tests.world import Org, World

SENT = "UPDATE cmis.tasks SET delivery = delivery + 1 WHERE task_id = %(id)s"
READY = "SELECT org_id, task_id FROM cmis.tasks WHERE state = 'ready' AND run_at <= cmis.clock() ORDER BY task_id"
ENDED = "SELECT rule_id, status, error FROM cmis.automation_executions"


def drain(world: World, poison: Mapping[UUID, Callable[[], None]]) -> list[int]:
    """Send messages, and rescue what their workers left, until nothing is ready; returns how workers died."""
    deaths = []
    while waiting := world.rows(READY):
        for org_id, task_id in waiting:
            world.meddle(SENT, id=task_id)
            code = dying.message(world, org_id, task_id, poison)
            if code == dying.LIVED:
                continue
            deaths.append(code)
            if world.task(task_id).state == TaskState.RUNNING:
                world.meddle(dying.EXPIRE, id=task_id)
                assert rescue.reap(world.scheduler) == 1
    return deaths


def test_of_64_rules_of_two_orgs_the_one_that_kills_its_workers_is_dead_and_all_others_succeed(
    world: World, org: Org
) -> None:
    orgs = [org, world.org("other")]
    for one in orgs:
        one.campaign()
    rules = [one.rule(SPENT, NOTIFY) for one in orgs for _ in range(32)]
    for position, rule in enumerate(rules):
        orgs[position // 32].job(rule)
    world.dispatch()
    [(_, whole)] = world.rows("SELECT org_id, task_id FROM cmis.tasks")
    world.meddle("UPDATE cmis.tasks SET priority = 3")
    before = dict(map(tuple, world.rows("SELECT job_id, execution_id FROM cmis.occurrences")))
    poison = rules[17]

    deaths = drain(world, {poison: dying.kill})

    # the first message leaves nothing, the second a lost claim; five halves; five attempts of the one that is alone
    assert deaths == [-signal.SIGKILL] * (2 + 5 + 5)
    ended = {row.rule_id: row for row in world.rows(ENDED)}
    assert {rule for rule, row in ended.items() if row.status != "success"} == {poison}
    assert (len(ended), ended[poison].error["code"]) == (64, "LOST")
    outcomes = "SELECT outcome, count(*) FROM cmis.occurrences GROUP BY 1"
    assert dict(map(tuple, world.rows(outcomes))) == {"success": 63, "lost": 1}
    after = (
        "SELECT o.job_id, e.execution_id FROM cmis.occurrences o JOIN cmis.automation_executions e USING (execution_id)"
    )
    assert dict(map(tuple, world.rows(after))) == before, "each execution keeps its id"
    assert world.one("SELECT count(*) FROM cmis.notifications WHERE title NOT LIKE 'Rule%'") == 63
    died = "SELECT count(*) FROM cmis.automation_audit_log WHERE action = 'task_died'"
    assert world.one(died) == 1
    split = world.task(whole)
    assert (split.state, split.error["code"], len(split.result["split"])) == ("cancelled", "SPLIT", 2)
    assert world.one("SELECT count(*) FROM cmis.tasks WHERE state = 'dead'") == 1
    urgencies = world.rows("SELECT DISTINCT priority FROM cmis.tasks WHERE kind = 'evaluate_rules'")
    assert [row.priority for row in urgencies] == [3], "each part is as urgent as the whole was"


@pytest.mark.parametrize(("poison", "by"), [(dying.spin, signal.SIGALRM), (dying.hoard, signal.SIGABRT)])
def test_a_rule_that_spins_or_hoards_until_its_worker_is_killed_harms_no_other(
    world: World, org: Org, poison: Callable[[], None], by: signal.Signals
) -> None:
    org.campaign()
    rules = [org.rule(SPENT, NOTIFY) for _ in range(3)]
    world.enqueue({org.id: rules})
    deaths = drain(world, {rules[1]: poison})
    assert deaths == [-by] * (2 + 1 + 5)
    assert {row.rule_id: row.status for row in world.rows(ENDED)} == {
        rules[0]: "success",
        rules[1]: "failure",
        rules[2]: "success",
    }


def test_a_chunk_whose_attempts_are_used_up_is_not_dead_but_split_too(world: World, org: Org) -> None:
    org.campaign()
    rules = [org.rule(SPENT, NOTIFY) for _ in range(2)]
    task_id = world.enqueue({org.id: rules}, attempt=4)
    assert dying.message(world, org.id, task_id, {rules[0]: dying.kill}) == -signal.SIGKILL
    world.meddle(dying.EXPIRE, id=task_id)
    rescue.reap(world.scheduler)
    task = world.task(task_id)
    assert (task.state, task.attempt, task.max_attempts) == ("ready", 5, 6)
    assert world.run(org.id, task_id) == work.TakenApart(parts=2)
    world.run_all()
    assert {row.status for row in world.rows(ENDED)} == {"success"}


def test_a_chunk_whose_message_was_lost_is_run_as_it_is(world: World, org: Org) -> None:
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule(SPENT, NOTIFY) for _ in range(2)]})
    for _ in range(3):
        world.meddle(SENT, id=task_id)
    assert world.run(org.id, task_id) == work.Finished(evaluated=2, retried=0)


def test_a_chunk_that_fails_transiently_until_its_attempts_are_used_up_is_taken_apart(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule(SPENT, NOTIFY) for _ in range(2)]}, attempt=4)
    with monkeypatch.context() as failing:

        def away(*_: Any) -> None:
            raise ConnectionError("away")

        failing.setattr(service, "run_wave", away)
        assert world.run(org.id, task_id) == work.TakenApart(parts=2)
    world.run_all()
    assert {row.status for row in world.rows(ENDED)} == {"success"}
