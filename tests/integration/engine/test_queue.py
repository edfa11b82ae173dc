"""The durable queue as its workers see it: claims, leases, zombies, the reaper."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy import text

from core import clock, faults
from core.clock import monotonic
from core.db import ENGINE_ACTOR, Context
from core.errors import TransientError
from dev.launch import wait_until
from engine import rescue
from engine.lease import Heartbeat, LostClaimError
from engine.run_rules import group, service, work
from engine.run_rules.ending import give_back
from engine.store import rules, tasks, unheld
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Org, World

EXPIRE = "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE state = 'running'"
LATER = {"attempt": 1}
"""A task that somebody tried before: its claim commits alone."""


def _claim(world: World, org_id: UUID, task_id: UUID, worker: str = "zombie") -> tasks.Claim:
    """Claim a task and die: nothing but the claim is committed."""
    with world.app.transaction(Context(org_id, ENGINE_ACTOR)) as connection:
        claimed = tasks.claim(connection, org_id, task_id, worker=worker, now=clock.now(connection))
    assert claimed is not None
    return claimed


def _audited(world: World) -> list[str]:
    audited = "SELECT action FROM cmis.automation_audit_log WHERE action LIKE 'task%' ORDER BY created_at"
    return [row[0] for row in world.rows(audited)]


def test_a_duplicate_message_finds_nothing_to_claim(world: World, org: Org) -> None:
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule()]})
    assert world.run(org.id, task_id) == work.Finished(evaluated=1, retried=0)
    assert world.run(org.id, task_id) == work.NotClaimed()
    assert world.one("SELECT count(*) FROM cmis.automation_executions") == 1
    assert world.one("SELECT count(*) FROM cmis.task_attempts") == 1


def test_a_duplicate_message_never_waits_for_the_claim_that_it_duplicates(world: World, org: Org) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    with world.app.transaction(org.context) as connection:
        connection.execute(text("SELECT FROM cmis.tasks FOR UPDATE"))
        started = clock.monotonic()
        assert world.run(org.id, task_id) == work.NotClaimed()
        assert clock.monotonic() - started < 2  # far below the statement timeout of 5 s
    assert world.task(task_id).state == "ready"


@pytest.mark.parametrize("take", ["claim", "peek"])
def test_a_message_that_meets_its_row_in_a_schedulers_hands_is_not_dropped(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch, take: str
) -> None:
    """Two schedulers pick the same task: the second one finds it sent, and holds its row until it commits."""
    task_id = world.enqueue({org.id: [org.rule()]})
    pauses: list[float] = []
    with ExitStack() as scheduler:
        holding = scheduler.enter_context(world.app.transaction(org.context))
        holding.execute(text("SELECT FROM cmis.tasks FOR NO KEY UPDATE"))

        def wait(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                scheduler.close()

        monkeypatch.setattr(unheld, "sleep", wait)
        with world.app.transaction(Context(org.id, ENGINE_ACTOR)) as connection:
            now = clock.now(connection)
            if take == "claim":
                found: object = tasks.claim(connection, org.id, task_id, worker="late", now=now)
            else:
                found = tasks.peek(connection, org.id, task_id, now=now)
    assert found is not None
    assert len(pauses) == 2


def test_a_task_is_not_claimed_before_its_time(world: World, org: Org) -> None:
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule()]})
    world.meddle("UPDATE cmis.tasks SET run_at = run_at + interval '1 hour'")
    assert world.run(org.id, task_id) == work.NotClaimed()
    world.advance(minutes=61)
    assert world.run(org.id, task_id) == work.Finished(evaluated=1, retried=0)


@pytest.mark.parametrize("column", ["cancel_requested = true", "state = 'held'"])
def test_a_task_that_is_cancelled_or_held_is_not_claimed(world: World, org: Org, column: str) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    world.meddle(f"UPDATE cmis.tasks SET {column}")
    assert world.run(org.id, task_id) == work.NotClaimed()


def test_the_first_delivery_is_one_transaction_and_a_crash_in_it_leaves_nothing(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = org.campaign()
    task_id = world.enqueue({org.id: [org.rule()]})

    class PowerCutError(BaseException):
        pass

    def cut(point: str) -> None:
        if point == "rules.before_commit":
            raise PowerCutError

    with monkeypatch.context() as cutting:
        cutting.setattr(faults, "crash", cut)
        with pytest.raises(PowerCutError):
            world.run(org.id, task_id)
    task = world.task(task_id)
    assert (task.state, task.attempt, task.fence) == ("ready", 0, 0)
    assert world.one("SELECT count(*) FROM cmis.task_attempts") == 0
    assert world.one("SELECT count(*) FROM cmis.automation_executions") == 0
    assert org.campaign_row(campaign).status == "active"
    assert world.run(org.id, task_id) == work.Finished(evaluated=1, retried=0)


@pytest.mark.parametrize("later", ["delivery = 2", "attempt = 1"])
def test_a_later_delivery_commits_its_claim_before_it_works(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule()]})
    world.meddle(f"UPDATE cmis.tasks SET {later}")
    seen: list[Any] = []
    original = group.run_wave

    def run_wave(*args: Any) -> Any:
        seen.append(world.task(task_id))
        return original(*args)

    monkeypatch.setattr(service, "run_wave", run_wave)
    assert world.run(org.id, task_id, worker="w1") == work.Finished(evaluated=1, retried=0)
    [during] = seen
    assert (during.state, during.fence, during.lease_owner) == ("running", 1, "w1")
    assert world.task(task_id).state == "succeeded"


def test_a_heartbeat_extends_the_lease_and_notices_that_the_task_was_taken_over(world: World, org: Org) -> None:
    task_id = world.enqueue({org.id: [org.rule()]}, **LATER)
    claimed = _claim(world, org.id, task_id)
    soon = "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() + interval '1 s'"
    world.meddle(soon)
    left = "SELECT lease_expires_at > clock_timestamp() + interval '20 s' FROM cmis.tasks"
    with Heartbeat(world.app, claimed, interval=0.05) as heartbeat:
        assert wait_until(lambda: bool(world.one(left)), 5)
        heartbeat.check()
        world.meddle(EXPIRE)
        wait_until(lambda: rescue.reap(world.scheduler) == 1 or not world.meddle(EXPIRE), 5)
        assert wait_until(heartbeat.lost.is_set, 5)
        with pytest.raises(LostClaimError):
            heartbeat.check()


def test_a_heartbeat_notices_that_the_task_is_to_be_cancelled(world: World, org: Org) -> None:
    claimed = _claim(world, org.id, world.enqueue({org.id: [org.rule()]}, **LATER))
    world.meddle("UPDATE cmis.tasks SET cancel_requested = true")
    with Heartbeat(world.app, claimed, interval=0.05) as heartbeat:
        assert wait_until(heartbeat.lost.is_set, 5)


def test_a_zombie_writes_nothing_after_another_worker_took_over(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = org.campaign(budget=100)
    task_id = world.enqueue({org.id: [org.rule(SPENT, [{"type": "increase_budget", "value": 10}])]}, **LATER)
    original = group.run_wave
    results = []

    def stopped_meanwhile(*args: Any) -> Any:
        """Stand still before the work, as a process stopped by SIGSTOP, until the successor has finished."""
        monkeypatch.setattr(service, "run_wave", original)
        world.meddle(EXPIRE)
        assert rescue.reap(world.scheduler) == 1
        results.append(world.run(org.id, task_id, worker="successor"))
        return original(*args)

    monkeypatch.setattr(service, "run_wave", stopped_meanwhile)
    assert world.run(org.id, task_id, worker="zombie") == work.NotClaimed()
    assert results == [work.Finished(evaluated=1, retried=0)]
    assert org.campaign_row(campaign).budget == 110
    attempts = world.rows("SELECT fence, worker, outcome FROM cmis.task_attempts ORDER BY fence")
    assert [tuple(one) for one in attempts] == [(1, "zombie", "lost"), (2, "successor", "succeeded")]


def test_every_write_of_a_lost_claim_is_refused(world: World, org: Org) -> None:
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule()]}, **LATER)
    zombie = _claim(world, org.id, task_id)
    world.meddle(EXPIRE)
    rescue.reap(world.scheduler)
    _claim(world, org.id, task_id, "successor")
    with world.app.transaction(Context(org.id, ENGINE_ACTOR)) as connection:
        now = clock.now(connection)
        assert tasks.heartbeat(connection, zombie) is None
        assert not tasks.hold(connection, zombie)
        assert not tasks.finish(connection, zombie, "succeeded", now=now)
        assert not tasks.retry(connection, zombie, after=now - now, now=now, error={})
    assert world.task(task_id).lease_owner == "successor"


def test_the_reaper_makes_a_task_ready_again_and_audits_it(world: World, org: Org) -> None:
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule()]}, **LATER)
    _claim(world, org.id, task_id)
    assert rescue.reap(world.scheduler) == 0  # the lease has not expired
    world.meddle(EXPIRE)
    assert rescue.reap(world.scheduler) == 1
    task = world.task(task_id)
    assert (task.state, task.published_at, task.lease_owner) == ("ready", None, None)
    assert task.publish_at <= world.now()
    assert _audited(world) == ["task_lost"]
    assert world.one("SELECT outcome FROM cmis.task_attempts") == "lost"
    assert world.run(org.id, task_id) == work.Finished(evaluated=1, retried=0)


def test_a_task_whose_attempts_are_used_up_by_crashes_is_dead_with_everything_that_an_execution_leaves(
    world: World, org: Org
) -> None:
    rule = org.rule()
    job = org.job(rule)
    world.dispatch()
    [(org_id, task_id)] = world.rows("SELECT org_id, task_id FROM cmis.tasks")
    world.meddle("UPDATE cmis.tasks SET delivery = 2")
    for _ in range(5):
        _claim(world, org_id, task_id)
        world.meddle(EXPIRE)
        rescue.reap(world.scheduler)
    task = world.task(task_id)
    assert (task.state, task.attempt, task.finished_at is not None) == ("dead", 5, True)
    assert world.run(org_id, task_id) == work.NotClaimed()
    [execution] = world.rows("SELECT status, error, trigger, job_id, attempt FROM cmis.automation_executions")
    assert (execution.status, execution.error["code"], execution.job_id) == ("failure", "LOST", job)
    assert world.one("SELECT outcome FROM cmis.occurrences") == "lost"
    assert world.one("SELECT failure_count FROM cmis.automation_rules WHERE rule_id = :id", id=rule) == 1
    assert _audited(world) == ["task_lost"] * 4 + ["task_died"]


def test_a_rule_that_kills_its_workers_again_and_again_is_paused(world: World, org: Org) -> None:
    rule = org.rule(guardrails={"max_failures_in_a_row": 2})
    for _ in range(2):
        task_id = world.enqueue({org.id: [rule]})
        world.meddle("UPDATE cmis.tasks SET max_attempts = 1 WHERE task_id = %(id)s", id=task_id)
        _claim(world, org.id, task_id)
        world.meddle(EXPIRE)
        rescue.reap(world.scheduler)
    [found] = world.rows("SELECT status, failure_count, failures_in_a_row FROM cmis.automation_rules")
    assert tuple(found) == ("paused", 2, 0)
    assert world.one("SELECT count(*) FROM cmis.notifications") == 1


def test_what_ends_with_a_rule_that_somebody_holds_is_left_and_all_else_is_reaped(world: World, org: Org) -> None:
    other = world.org("other")
    held, free = org.rule(), other.rule()
    ending, going = world.enqueue({org.id: [held]}), world.enqueue({other.id: [free]})
    world.meddle("UPDATE cmis.tasks SET max_attempts = 1 WHERE task_id = %(id)s", id=ending)
    _claim(world, org.id, ending)
    _claim(world, other.id, going)
    world.meddle(EXPIRE)
    with world.app.transaction(org.context) as connection:
        rules.lock(connection, org.id, [held])  # as an optimisation does, for as long as it takes
        began = monotonic()
        assert rescue.reap(world.scheduler) == 1
        assert rescue.reap(world.scheduler) == 0
        assert monotonic() - began < 4, "the statement's own limit was met instead"
    assert [world.task(one).state for one in (ending, going)] == ["running", "ready"]
    assert rescue.reap(world.scheduler) == 1
    assert world.task(ending).state == "dead"


def test_a_task_that_was_to_be_cancelled_is_cancelled_by_the_reaper(world: World, org: Org) -> None:
    job = org.job(org.rule())
    world.dispatch()
    [(org_id, task_id)] = world.rows("SELECT org_id, task_id FROM cmis.tasks")
    world.meddle("UPDATE cmis.tasks SET delivery = 2")
    _claim(world, org_id, task_id)
    world.meddle("UPDATE cmis.tasks SET cancel_requested = true")
    world.meddle(EXPIRE)
    rescue.reap(world.scheduler)
    assert world.task(task_id).state == "cancelled"
    assert world.one("SELECT outcome FROM cmis.occurrences WHERE job_id = :job", job=job) == "cancelled"
    assert _audited(world) == ["task_cancelled"]


def test_an_evaluation_that_was_asked_to_stop_and_then_failed_is_not_tried_again(world: World, org: Org) -> None:
    task_id = world.enqueue({org.id: [org.rule()]}, **LATER)
    claimed = _claim(world, org.id, task_id)
    world.meddle("UPDATE cmis.tasks SET cancel_requested = true")
    assert isinstance(give_back(world.app, claimed, TransientError("the database was away")), work.NotClaimed)
    assert world.task(task_id).state == "running"
    world.meddle(EXPIRE)
    rescue.reap(world.scheduler)
    assert world.task(task_id).state == "cancelled"


def test_a_chunk_that_was_asked_to_stop_and_then_took_too_long_is_not_taken_apart(world: World, org: Org) -> None:
    task_id = world.enqueue({org.id: [org.rule(), org.rule()]}, **LATER)
    claimed = _claim(world, org.id, task_id)
    world.meddle("UPDATE cmis.tasks SET cancel_requested = true, started_at = started_at - interval '1 day'")
    late = replace(claimed, started_at=claimed.started_at - timedelta(days=1))
    assert isinstance(give_back(world.app, late, SoftTimeLimitExceeded()), work.NotClaimed)
    assert world.one("SELECT count(*) FROM cmis.tasks") == 1
    world.meddle("UPDATE cmis.tasks SET cancel_requested = false")
    assert give_back(world.app, late, SoftTimeLimitExceeded()) == work.TakenApart(parts=2)


def test_of_many_workers_with_the_same_message_one_works(world: World, org: Org) -> None:
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule(SPENT, NOTIFY)]})
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: world.run(org.id, task_id, worker=f"w{n}"), range(8)))
    assert sorted(type(one).__name__ for one in results) == ["Finished"] + ["NotClaimed"] * 7
    assert world.one("SELECT count(*) FROM cmis.notifications") == 1


def test_a_limit_of_three_a_day_lets_exactly_three_of_eight_concurrent_runs_act(world: World, org: Org) -> None:
    org.campaign()
    rule = org.rule(SPENT, NOTIFY, max_executions_per_day=3)
    waiting = [world.enqueue({org.id: [rule]}) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda task_id: world.run(org.id, task_id), waiting))
    assert set(results) == {work.Finished(evaluated=1, retried=0)}
    statuses = world.rows("SELECT coalesce(skip_reason, status), count(*) FROM cmis.automation_executions GROUP BY 1")
    assert dict(map(tuple, statuses)) == {"success": 3, "daily_limit": 5}
    assert world.one("SELECT acted_today FROM cmis.automation_rules WHERE rule_id = :id", id=rule) == 3


def test_a_run_that_waited_for_its_rule_is_judged_by_the_time_after_the_wait(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.campaign()
    rule = org.rule(SPENT, NOTIFY, max_executions_per_day=2)
    first, second = (world.enqueue({org.id: [rule]}) for _ in range(2))
    original = rules.lock

    def after_another_run(*args: Any) -> Any:
        monkeypatch.setattr(rules, "lock", original)
        world.run(org.id, second)
        return original(*args)

    monkeypatch.setattr(rules, "lock", after_another_run)
    world.run(org.id, first)
    assert world.one("SELECT count(*) FROM cmis.automation_executions WHERE status = 'success'") == 2


def test_a_cooldown_lets_one_of_eight_concurrent_runs_act(world: World, org: Org) -> None:
    org.campaign()
    rule = org.rule(SPENT, NOTIFY, cooldown_minutes=60)
    waiting = [world.enqueue({org.id: [rule]}) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda task_id: world.run(org.id, task_id), waiting))
    assert world.one("SELECT count(*) FROM cmis.notifications") == 1


def test_twenty_rules_on_one_budget_at_once_never_pass_the_floor_nor_break_the_chain(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    decrease = [{"type": "decrease_budget", "value": 20}]
    waiting = [world.enqueue({org.id: [org.rule(SPENT, decrease)]}) for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda task_id: world.run(org.id, task_id), waiting))
    world.meddle("UPDATE cmis.tasks SET run_at = run_at - interval '1 minute' WHERE state = 'ready'")
    world.run_all()  # whoever found the campaign changed too often is tried again
    ledger = world.rows("SELECT before, after FROM cmis.budget_ledger ORDER BY seq")
    assert [one.before for one in ledger[1:]] == [one.after for one in ledger[:-1]]
    assert min(one.after for one in ledger) >= 10
    assert org.campaign_row(campaign).budget == ledger[-1].after
    statuses = dict(map(tuple, world.rows("SELECT status, count(*) FROM cmis.automation_executions GROUP BY 1")))
    assert statuses == {"success": 10, "running": 10}  # ten steps to 0.8 lead from 100 to 10.74; the next would pass 10
    effects = world.rows("SELECT before, after FROM cmis.automation_actions WHERE status = 'succeeded'")
    assert {(one.before["budget"], one.after["budget"]) for one in effects} == {
        (float(one.before), float(one.after)) for one in ledger[1:]
    }
