"""Optimise: every active rule of an org in one transaction, now or as the target of a job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from core import clock, faults
from core.db import ENGINE_ACTOR, Context
from core.errors import InputError
from engine import backfill, chunk, define_jobs, invariants, rescue, run_now
from engine.run_rules import optimize, work
from engine.store import campaigns, rules, tasks
from models import AutomationSchedule, OptimizationSchedule, ScheduledJob
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from tests.world import Org, World

OPTIMIZING: dict[str, Any] = {"target_type": "optimization"}
ADD = [{"type": "adjust_budget", "params": {"amount": 10}}]
DOUBLE = [{"type": "increase_budget", "value": 100}]
DUE_AGAIN = "UPDATE cmis.tasks SET run_at = %(now)s, publish_at = %(now)s WHERE state = 'ready'"
EXPIRE = "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE state = 'running'"


def optimised(org: Org, campaign_id: UUID | None = None) -> Any:
    """Optimise as `cmis optimize` does; returns the result."""
    world = org.world
    _, row = run_now.run_optimization(
        world.app, org.context, campaign_id, lambda _, org_id, task_id: world.run(org_id, task_id), seconds=0
    )
    assert row is not None
    return row


def results(world: World) -> Sequence[Any]:
    return world.rows("SELECT * FROM cmis.optimizations ORDER BY optimization_id")


def executed(world: World) -> dict[UUID, Any]:
    return {row.rule_id: row for row in world.rows("SELECT * FROM cmis.automation_executions ORDER BY execution_id")}


def outcomes(world: World, job: UUID) -> list[str | None]:
    query = "SELECT outcome FROM cmis.occurrences WHERE job_id = :job AND decision = 'run' ORDER BY scheduled_for"
    return [row.outcome for row in world.rows(query, job=job)]


def test_every_active_rule_is_evaluated_once_and_the_result_counts_them(world: World, org: Org) -> None:
    campaign, poor = org.campaign(budget=100), org.campaign(budget=None)
    held = org.rule(SPENT, [{"type": "decrease_budget", "value": 95}], entity_id=campaign)
    noted = org.rule(SPENT, NOTIFY)
    idle = org.rule([{"field": "spend", "operator": ">", "value": 1e6}])
    failing = org.rule(SPENT, ADD, entity_id=poor)
    broken = org.rule([{"field": "nonsense", "operator": ">", "value": 1}])
    for status in ("draft", "paused", "archived"):
        org.rule(status=status)
    row = optimised(org)
    made = executed(world)
    assert {rule: one.status for rule, one in made.items()} == {
        held: "running",
        noted: "success",
        idle: "skipped",
        failing: "failure",
        broken: "failure",
    }
    assert row.counts == {"evaluated": 5, "acted": 1, "held": 1, "failed": 2, "skipped": 1, "retried": 0}
    assert (row.status, row.trigger, row.requested_by) == ("partial", "manual", org.context.user_id)
    assert (row.job_id, row.campaign_id, row.error) == (None, None, None)
    assert {one.task_id for one in made.values()} == {row.task_id}
    assert {one.context["optimization_id"] for one in made.values()} == {str(row.optimization_id)}
    assert world.task(row.task_id).result == row.counts
    assert org.campaign_row(campaign).budget == 100


@pytest.mark.parametrize("size", [1, 2, 100])
def test_rules_go_by_priority_then_id_and_see_the_effects_of_the_earlier_ones(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(chunk, "MAX_ITEMS", size)
    campaign = org.campaign(budget=100)
    last = org.rule([{"field": "budget", "operator": "=", "value": 240}], [{"type": "pause"}], priority="low")
    org.rule(SPENT, DOUBLE, priority="medium")
    org.rule(SPENT, ADD, priority="critical")
    org.rule(SPENT, ADD, priority="critical")
    org.rule([{"field": "status", "operator": "=", "value": "paused"}], NOTIFY, priority="low")
    row = optimised(org)
    budgets = [tuple(one) for one in world.rows("SELECT before, after FROM cmis.budget_ledger ORDER BY seq")]
    assert budgets == [(None, 100), (100, 110), (110, 120), (120, 240)]
    assert org.campaign_row(campaign).status == "paused"
    assert executed(world)[last].status == "success"
    assert (row.status, row.counts["acted"]) == ("success", 5)


def test_all_rules_are_locked_in_the_order_of_their_ids_before_any_campaign(
    org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk, "MAX_ITEMS", 1)
    org.campaign()
    made = [org.rule(SPENT, ADD, priority=priority) for priority in ("low", "high", "medium")]
    steps: list[object] = []
    original = rules.lock_active

    def lock_active(connection: Connection, org_id: UUID) -> dict[UUID, str]:
        locked = original(connection, org_id)
        steps.append(list(locked))
        return locked

    def lock(connection: Connection, org_id: UUID, ids: Any) -> dict[UUID, int]:
        steps.append("campaigns")
        return campaigns_lock(connection, org_id, ids)

    campaigns_lock = campaigns.lock
    monkeypatch.setattr(rules, "lock_active", lock_active)
    monkeypatch.setattr(campaigns, "lock", lock)
    optimised(org)
    assert steps == [sorted(made), "campaigns", "campaigns", "campaigns"]


def test_one_campaign_alone_is_optimised(world: World, org: Org) -> None:
    mine, other = org.campaign(), org.campaign()
    everywhere, elsewhere, here = org.rule(SPENT, NOTIFY), org.rule(SPENT, entity_id=other), org.rule(entity_id=mine)
    row = optimised(org, mine)
    assert row.campaign_id == mine
    made = executed(world)
    assert {rule: (one.status, one.skip_reason) for rule, one in made.items()} == {
        everywhere: ("success", None),
        elsewhere: ("skipped", "no_entities"),
        here: ("success", None),
    }
    assert made[everywhere].conditions_evaluated["counts"] == {"true": 1, "acted": 1}
    assert (org.campaign_row(mine).status, org.campaign_row(other).status) == ("paused", "active")


def test_a_repeated_call_within_the_cooldown_changes_nothing_twice(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    org.rule(SPENT, DOUBLE, cooldown_minutes=60)
    org.rule(SPENT, ADD, cooldown_minutes=60)
    assert optimised(org).status == "success"
    again = optimised(org)
    assert (again.status, again.counts["skipped"], again.counts["acted"]) == ("skipped", 2, 0)
    assert org.campaign_row(campaign).budget == 210
    world.advance(minutes=60)
    assert optimised(org).counts["acted"] == 2
    assert org.campaign_row(campaign).budget == 430


def test_an_org_without_active_rules_is_skipped(org: Org) -> None:
    org.campaign()
    org.rule(status="paused")
    row = optimised(org)
    assert (row.status, row.counts["evaluated"]) == ("skipped", 0)


def test_a_job_optimises_in_a_task_of_its_own_and_its_outcome_is_the_result(world: World, org: Org) -> None:
    campaign, other = org.campaign(), org.campaign()
    rule = org.rule(SPENT, NOTIFY)
    of_rule = org.job(rule)
    context = {"season": "spring", "optimization_id": "not this"}
    job = org.job(None, **OPTIMIZING, campaign_id=campaign, execution_context=context, timeout_seconds=60)
    assert world.dispatch().runs == 2
    queued = world.rows("SELECT * FROM cmis.tasks ORDER BY timeout_seconds")
    assert [task.timeout_seconds for task in queued] == [60, 300]
    [item] = queued[0].payload["groups"][0]["items"]
    assert item["optimize"] == {"campaign_id": str(campaign)}
    assert "rule_id" not in item
    world.run_all()
    [row] = results(world)
    assert (row.job_id, row.campaign_id, row.trigger, row.status) == (job, campaign, "schedule", "success")
    assert (row.requested_by, row.task_id) == (None, queued[0].task_id)
    assert outcomes(world, job) == outcomes(world, of_rule) == ["success"]
    [occurrence] = world.rows("SELECT * FROM cmis.occurrences WHERE job_id = :job", job=job)
    assert (occurrence.execution_id, occurrence.scheduled_for) == (row.optimization_id, row.scheduled_for)
    query = "SELECT * FROM cmis.automation_executions WHERE task_id = :task"
    [execution] = world.rows(query, task=row.task_id)
    assert (execution.trigger, execution.job_id) == ("schedule", None)
    ids = {"optimization_id": str(row.optimization_id), "job_id": str(job), "campaign_id": str(campaign)}
    assert execution.context == {"season": "spring"} | ids
    assert org.campaign_row(other).status == "active"
    drained = {one.name: one.offenders for one in invariants.check(world.reader, drained=True) if one.offenders}
    assert drained == {}


def test_optimisations_of_one_org_share_no_task_and_in_a_crowd_wait_their_turn(world: World, org: Org) -> None:
    for _ in range(chunk.MAX_REPEATS + 2):
        org.job(None, **OPTIMIZING)
    batch = world.dispatch(chunk.MAX_REPEATS + 2)  # full, and so a crowd
    assert (batch.runs, batch.tasks, batch.more) == (chunk.MAX_REPEATS, chunk.MAX_REPEATS, True)
    assert world.dispatch().tasks == 2


def test_a_rule_that_fails_for_a_moment_gets_a_task_of_its_own_still_for_the_one_campaign(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = org.campaign(), org.campaign()
    rule = org.rule()
    job = org.job(None, **OPTIMIZING, campaign_id=mine)
    world.dispatch()
    with monkeypatch.context() as armed:
        points = {"rules.item": faults._Point.parse("rules.item", "1x1")}
        armed.setattr(faults, "_faults", faults.Faults(points))
        [(org_id, task_id)] = world.rows("SELECT org_id, task_id FROM cmis.tasks")
        assert world.run(org_id, task_id) == work.Finished(evaluated=0, retried=1)
    [row] = results(world)
    assert (row.status, row.counts["retried"], row.counts["evaluated"]) == ("partial", 1, 0)
    assert outcomes(world, job) == ["partial"]
    assert executed(world) == {}
    world.meddle(DUE_AGAIN, now=world.now())
    world.run_all()
    [execution] = executed(world).values()
    assert (execution.rule_id, execution.status, execution.attempt) == (rule, "success", 2)
    assert execution.context["optimization_id"] == str(row.optimization_id)
    assert (org.campaign_row(mine).status, org.campaign_row(other).status) == ("paused", "active")


def test_an_error_that_no_retry_mends_fails_the_whole_and_leaves_its_result(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = org.campaign()
    org.rule(SPENT, NOTIFY)
    job = org.job(None, **OPTIMIZING)
    world.dispatch()
    world.meddle("UPDATE cmis.tasks SET delivery = 2")  # not its first message: the claim commits alone

    def burst(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(optimize, "record_done", burst)
    [(org_id, task_id)] = world.rows("SELECT org_id, task_id FROM cmis.tasks")
    assert isinstance(world.run(org_id, task_id), work.GaveUp)
    [row] = results(world)
    assert (row.status, row.counts, row.job_id, row.error["message"]) == ("failure", {}, job, "a defect")
    assert (outcomes(world, job), world.task(task_id).state) == (["failure"], "failed")
    assert executed(world) == {}
    assert org.campaign_row(campaign).status == "active"
    assert world.one("SELECT count(*) FROM cmis.notifications") == 0


def test_an_optimisation_that_is_out_of_time_fails_and_changes_nothing(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign = org.campaign()
    org.rule()
    job = org.job(None, **OPTIMIZING, timeout_seconds=1)
    world.dispatch()
    [(org_id, task_id)] = world.rows("SELECT org_id, task_id FROM cmis.tasks")
    monkeypatch.setattr(work.Work, "left", timedelta(0))
    assert isinstance(world.run(org_id, task_id), work.GaveUp)
    [row] = results(world)
    assert (row.status, row.error["code"]) == ("failure", "TIMEOUT")
    assert outcomes(world, job) == ["failure"]
    assert org.campaign_row(campaign).status == "active"


def test_an_optimisation_whose_workers_all_die_is_recorded_as_lost(world: World, org: Org) -> None:
    campaign = org.campaign()
    org.rule()
    job = org.job(None, **OPTIMIZING, campaign_id=campaign)
    world.dispatch()
    [(org_id, task_id)] = world.rows("SELECT org_id, task_id FROM cmis.tasks")
    world.meddle("UPDATE cmis.tasks SET delivery = 2")
    for _ in range(5):
        with world.app.transaction(Context(org_id, ENGINE_ACTOR)) as connection:
            assert tasks.claim(connection, org_id, task_id, worker="dies", now=clock.now(connection))
        world.meddle(EXPIRE)
        rescue.reap(world.scheduler)
    assert world.task(task_id).state == "dead"
    [row] = results(world)
    assert (row.status, row.error["code"], row.job_id, row.campaign_id) == ("failure", "LOST", job, campaign)
    assert outcomes(world, job) == ["lost"]
    assert executed(world) == {}
    audited = {one.action for one in world.rows("SELECT action FROM cmis.automation_audit_log")}
    assert "task_died" in audited
    assert "rule_executed" not in audited


def test_an_optimisation_that_is_cancelled_before_it_begins_leaves_no_result(world: World, org: Org) -> None:
    org.rule()
    job = org.hourly(None, hours_due=1, overlap="cancel_other", **OPTIMIZING)
    world.dispatch()
    world.advance(hours=1)
    world.dispatch()
    world.run_all()
    assert outcomes(world, job) == ["cancelled", "skipped"]
    assert [row.status for row in results(world)] == ["skipped"]


def test_optimisations_and_tasks_of_the_same_rules_at_once_act_once_and_lose_nothing(world: World, org: Org) -> None:
    touched = [org.campaign(budget=100) for _ in range(4)]
    made = [org.rule(SPENT, ADD, cooldown_minutes=60) for _ in range(6)]
    queued = [run_now.queue_optimization(world.app, org.context, None).task_id for _ in range(3)]
    queued += [world.enqueue({org.id: list(reversed(made[start:]))}) for start in range(3)]
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda task_id: world.run(org.id, task_id), queued))
    assert {type(one) for one in done} == {work.Finished}
    assert {org.campaign_row(one).budget for one in touched} == {160}
    assert len(results(world)) == 3


def test_an_optimising_job_is_made_changed_run_by_hand_and_backfilled(world: World, org: Org) -> None:
    campaign = org.campaign(name="Spring sale")
    rule = org.rule(SPENT, NOTIFY, name="noting")
    document = {"target_type": "optimization", "campaign": "Spring sale", "cron_expression": "0 * * * *"}
    job = define_jobs.create_job(world.app, org.context, document)
    assert (job.name, job.target_type, job.rule_id, job.campaign_id) == (
        "Optimise Spring sale",
        "optimization",
        None,
        campaign,
    )
    now = world.now()
    run = run_now.run_job(world.app, org.context, job)
    hours = backfill.backfill_job(world.app, org.context, job.job_id, now.replace(hour=0, minute=0), now)
    world.advance(hours=1)
    world.run_all()
    assert [one.trigger for one in results(world)] == ["manual"] * (1 + hours.queued)
    assert run.execution_id in {one.optimization_id for one in results(world)}

    changed = define_jobs.update_job(world.app, org.context, job.job_id, {"campaign": None})
    assert (changed.campaign_id, changed.revision) == (None, job.revision + 1)
    [entry] = world.rows(
        "SELECT before, after FROM cmis.automation_audit_log WHERE action = 'job_updated' AND entity_id = :job",
        job=job.job_id,
    )
    assert (entry.before, entry.after) == ({"campaign_id": str(campaign)}, {"campaign_id": None})
    as_rule = define_jobs.update_job(world.app, org.context, job.job_id, {"rule": "noting"})
    assert (as_rule.target_type, as_rule.rule_id) == ("rule", rule)
    back = define_jobs.update_job(world.app, org.context, job.job_id, {**OPTIMIZING, "campaign": str(campaign)})
    assert (back.target_type, back.rule_id, back.campaign_id) == ("optimization", None, campaign)
    assert back.next_run_at == as_rule.next_run_at == job.next_run_at


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "rule: is required"),
        ({"target_type": "report"}, "target_type: cannot be 'report'"),
        ({"target_type": ["optimization"]}, "target_type: cannot be"),
        ({**OPTIMIZING, "rule": "r"}, "rule: means nothing here: the job runs all active rules"),
        ({**OPTIMIZING, "campaign": "nowhere"}, "campaign: there is no campaign 'nowhere'"),
        ({**OPTIMIZING, "campaign": 7}, "campaign: cannot be 7"),
        ({**OPTIMIZING, "campaign": "old"}, "campaign: the campaign 'old' is archived"),
        ({"rule": "r", "campaign": "old"}, "campaign: means nothing here: the job runs a rule"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(org: Org, document: dict[str, Any], said: str) -> None:
    org.campaign(name="old", status="archived")
    org.rule(name="r")
    with pytest.raises(InputError, match=said):
        define_jobs.create_job(org.world.app, org.context, {"cron_expression": "@daily", **document})


def test_raw_sql_can_make_no_job_with_a_target_that_is_none(org: Org) -> None:
    job = org.job(org.rule())
    campaign = org.campaign()
    for change in ("target_type = 'optimization'", "rule_id = NULL", f"campaign_id = '{campaign}'"):
        with pytest.raises(IntegrityError), org.world.app.transaction(org.context) as connection:
            connection.execute(text(f"UPDATE cmis.scheduled_jobs SET {change} WHERE job_id = '{job}'"))


def test_each_target_has_its_mapped_class(world: World, org: Org) -> None:
    of_rule, optimising = org.job(org.rule()), org.job(None, **OPTIMIZING)
    with world.app.transaction(org.context) as connection, Session(connection) as session:
        found = {job.job_id: type(job) for job in session.scalars(select(ScheduledJob))}
        assert [one.job_id for one in session.scalars(select(OptimizationSchedule))] == [optimising]
        assert [one.job_id for one in session.scalars(select(AutomationSchedule))] == [of_rule]
    assert found == {of_rule: AutomationSchedule, optimising: OptimizationSchedule}
    view = "SELECT schedule_id FROM cmis.automation_schedules"
    assert [row.schedule_id for row in world.rows(view)] == [of_rule]


def test_due_optimisations_count_the_campaigns_that_they_look_at(world: World, org: Org) -> None:
    campaign = org.campaign()
    org.campaign()
    org.job(None, **OPTIMIZING)
    org.job(None, **OPTIMIZING, campaign_id=campaign)
    with world.scheduler.transaction(None) as connection:
        claimed = connection.execute(text("SELECT * FROM cmis.claim_due_jobs(10)")).all()
    assert sorted((row.entities, row.campaign_id == campaign, row.rule_id) for row in claimed) == [
        (1, True, None),
        (2, False, None),
    ]


def test_a_pile_of_hours_is_made_up_for_one_after_another(world: World, org: Org) -> None:
    org.campaign()
    org.rule(SPENT, NOTIFY)
    job = org.hourly(None, hours_due=3, misfire="all", misfire_grace_seconds=86_400, **OPTIMIZING)
    world.dispatch()
    world.run_all()
    planned: list[datetime] = [row.scheduled_for for row in results(world)]
    assert len(planned) == len(set(planned)) == 3
    assert outcomes(world, job) == ["success"] * 3
