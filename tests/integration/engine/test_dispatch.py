"""Due jobs are found, decided, recorded and enqueued: each planned time once, whoever looks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError

import models
from core.clock import monotonic
from core.db import RESERVED_ORG
from engine import chunk, decide_job, dispatch
from engine.dispatch import Dispatched
from engine.run_rules import work
from engine.store import dispatch as store
from tests.integration.engine.bulk import bulk

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Org, World

LEDGER = """
SELECT decision, count, scheduled_for, until, previous, outcome FROM cmis.occurrences WHERE job_id = :job
 ORDER BY scheduled_for
"""
JOB = "SELECT * FROM cmis.scheduled_jobs WHERE job_id = :job"
HOUR = timedelta(hours=1)


def _chunks(world: World) -> list[tuple[UUID, list[tuple[UUID, int]]]]:
    found = world.rows("SELECT org_id, payload FROM cmis.tasks ORDER BY task_id")
    return [(row.org_id, [(one.org_id, len(one.items)) for one in chunk.groups(row.payload)]) for row in found]


def test_a_due_job_is_recorded_once_advanced_and_carried_by_a_task(world: World, org: Org) -> None:
    rule = org.rule()
    job = org.hourly(rule, hours_due=1)
    assert world.dispatch() == Dispatched(jobs=1, runs=1, tasks=1, more=False)
    assert world.dispatch() == Dispatched(jobs=0, runs=0, tasks=0, more=False)
    [(decision, count, planned, until, previous, outcome)] = world.rows(LEDGER, job=job)
    assert (decision, count, until, previous, outcome) == ("run", 1, planned, planned - HOUR, None)
    [row] = world.rows(JOB, job=job)
    assert (row.last_scheduled_for, row.last_run_for, row.next_run_at) == (planned, planned, planned + HOUR)
    assert (row.run_count, row.status) == (1, "active")
    [(org_id, state, payload)] = world.rows("SELECT org_id, state, payload FROM cmis.tasks")
    [group] = chunk.groups(payload)
    [item] = group.items
    assert (org_id, group.org_id, state) == (org.id, org.id, "ready")
    assert (item.rule_id, item.job_id, item.scheduled_for, item.trigger) == (rule, job, planned, "schedule")
    world.run_all()
    execution = world.rows("SELECT execution_id, scheduled_for FROM cmis.automation_executions")
    assert [tuple(one) for one in execution] == [(item.execution_id, planned)]


def test_planned_times_of_an_outage_become_stretches_and_only_the_latest_runs(world: World, org: Org) -> None:
    this_minute = world.now().replace(second=0, microsecond=0)
    first = this_minute - timedelta(minutes=180)
    every_minute: dict[str, Any] = {
        "cron_expression": "* * * * *",
        "anchor_at": first - timedelta(minutes=1),
        "created_at": first - timedelta(minutes=1),
        "next_run_at": first,
    }
    job = org.job(org.rule(), schedule_type="cron", start_date=None, **every_minute)
    world.dispatch()
    ledger = world.rows(LEDGER, job=job)
    assert [row.decision for row in ledger] == ["misfired", "coalesced", "run"]
    assert [row.outcome for row in ledger] == ["skipped", "skipped", None]
    assert sum(row.count for row in ledger) in {181, 182}  # 182 where the minute turned meanwhile
    assert [row.previous for row in ledger] == [first - timedelta(minutes=1), ledger[0].until, ledger[1].until]


def test_a_planned_time_is_skipped_while_a_run_is_open_and_runs_again_after(world: World, org: Org) -> None:
    job = org.hourly(org.rule(), hours_due=1)
    decisions = []
    for finish in (False, True, True):
        world.dispatch()
        if finish:
            world.run_all()
        decisions = [row.decision for row in world.rows(LEDGER, job=job)]
        world.advance(hours=1)
    assert decisions == ["run", "overlap_skipped", "run"]


def test_a_run_by_hand_does_not_make_the_schedule_skip(world: World, org: Org) -> None:
    job = org.hourly(org.rule(), hours_due=1)
    world.dispatch()
    world.run_all()
    [row] = world.rows("SELECT * FROM cmis.occurrences WHERE job_id = :job", job=job)
    by_hand = {"origin": "manual", "scheduled_for": row.scheduled_for + timedelta(minutes=1), "actor_id": row.org_id}
    columns = {**row._mapping, **by_hand, "until": by_hand["scheduled_for"], "outcome": None, "finished_at": None}
    task_id = world.enqueue({org.id: []})
    with world.app.transaction(org.context) as connection:
        connection.execute(insert(models.Occurrence), columns | {"task_id": task_id, "previous": None})
    world.advance(hours=1)
    world.dispatch()
    scheduled = "SELECT decision FROM cmis.occurrences WHERE origin = 'schedule' ORDER BY scheduled_for"
    assert [row[0] for row in world.rows(scheduled)] == ["run", "run"]


def test_a_job_that_fires_once_is_completed_and_audited(world: World, org: Org) -> None:
    job = org.job(org.rule())
    world.dispatch()
    [row] = world.rows(JOB, job=job)
    assert (row.status, row.next_run_at, row.run_count) == ("completed", None, 1)
    assert world.one("SELECT count(*) FROM cmis.automation_audit_log WHERE action = 'job_completed'") == 1


def test_a_job_is_completed_by_its_end_date(world: World, org: Org) -> None:
    end = world.now().replace(minute=0, second=0, microsecond=0) + timedelta(minutes=30)
    job = org.hourly(org.rule(), hours_due=2, end_date=end)
    world.dispatch()
    [row] = world.rows(JOB, job=job)
    assert (row.status, row.next_run_at) == ("completed", None)
    assert [one.decision for one in world.rows(LEDGER, job=job)][-1] == "run"


def test_a_job_whose_times_cannot_be_computed_fails_alone_with_its_reason(world: World, org: Org) -> None:
    rule = org.rule()
    bad = org.hourly(rule, hours_due=1, timezone="Mars/Olympus")
    good = org.hourly(rule, hours_due=1)
    assert world.dispatch().jobs == 2
    [row] = world.rows(JOB, job=bad)
    assert (row.status, row.next_run_at, row.run_count) == ("failed", None, 0)
    assert "Mars/Olympus" in row.last_error
    audited = world.rows("SELECT entity_id, after FROM cmis.automation_audit_log WHERE action = 'job_failed'")
    assert [(one.entity_id, one.after) for one in audited] == [(bad, {"status": "failed"})]
    assert [one.decision for one in world.rows(LEDGER, job=good)] == ["run"]
    world.meddle("UPDATE cmis.scheduled_jobs SET timezone = 'UTC' WHERE job_id = %(job)s", job=bad)


def test_a_job_that_the_database_refuses_fails_alone(world: World, org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = org.rule()
    bad, *good = [org.hourly(rule, hours_due=1) for _ in range(3)]
    original = decide_job._occurrence

    def occurrence(row: Any, *rest: Any) -> dict[str, Any]:
        made = original(row, *rest)
        return made | ({"decision": "no such decision"} if made["job_id"] == bad else {})

    monkeypatch.setattr(decide_job, "_occurrence", occurrence)
    assert world.dispatch().jobs == 3
    [row] = world.rows(JOB, job=bad)
    assert row.status == "failed"
    assert "occurrences_decision_check" in row.last_error
    assert world.rows(LEDGER, job=bad) == []
    assert [one.decision for job in good for one in world.rows(LEDGER, job=job)] == ["run", "run"]
    assert world.dispatch().jobs == 0


def test_a_job_that_changed_under_its_lock_is_left_as_it_is_and_stops_no_other(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved, other = (org.hourly(org.rule(), hours_due=1) for _ in range(2))
    original = dispatch._decide

    def decide(rows: Any, now: Any, **how: Any) -> list[Any]:
        decided = original(rows, now, **how)
        for one in decided:
            if one.row.job_id == moved:
                one.job["revision"] = 99
        return list(decided)

    with monkeypatch.context() as lost:
        lost.setattr(dispatch, "_decide", decide)
        world.dispatch()
    assert [one.decision for one in world.rows(LEDGER, job=other)] == ["run"]
    assert world.rows(LEDGER, job=moved) == []
    assert [row.status for row in world.rows(JOB, job=moved)] == ["active"]
    world.dispatch()
    assert [one.decision for one in world.rows(LEDGER, job=moved)] == ["run"]


def test_a_job_whose_buffered_time_is_gone_fails_alone(world: World, org: Org) -> None:
    broken = org.hourly(org.rule(), hours_due=1, overlap="buffer_one")
    world.dispatch()
    world.advance(hours=1)
    world.dispatch()
    world.run_all()
    with psycopg.connect(world.site.urls.migration) as administrator:
        administrator.execute("DELETE FROM cmis.occurrences WHERE decision = 'buffered'")
    other = org.hourly(org.rule(), hours_due=1)
    world.advance(minutes=1)
    world.dispatch()
    # In an hour's last minute two of its times are due, and the first of them is too late.
    assert [one.decision for one in world.rows(LEDGER, job=other)][-1] == "run"
    [row] = world.rows(JOB, job=broken)
    assert (row.status, row.buffered_for) == ("failed", None)
    assert "buffered" in row.last_error
    with psycopg.connect(world.site.urls.migration) as administrator:  # as the invariants want it
        administrator.execute("SET session_replication_role = replica")
        administrator.execute("UPDATE cmis.scheduled_jobs SET last_scheduled_for = last_run_for")


@pytest.mark.parametrize("state", ["57014", "53100", "55P03"])
def test_a_refusal_that_passes_stops_no_job(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    job = org.hourly(org.rule(), hours_due=1)

    def record(connection: Any, **_: Any) -> None:
        connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '{state}'; END $$"))

    with monkeypatch.context() as busy:
        busy.setattr(store, "record", record)
        with pytest.raises(DBAPIError, match="not now"):
            world.dispatch()
    assert world.dispatch().runs == 1
    assert [row.status for row in world.rows(JOB, job=job)] == ["active"]


def test_a_run_that_its_worker_is_just_finishing_is_not_cancelled_and_not_waited_for(world: World, org: Org) -> None:
    job = org.hourly(org.rule(), hours_due=1, overlap="cancel_other")
    world.dispatch()
    world.advance(hours=1)
    with psycopg.connect(world.site.urls.migration) as worker:
        worker.execute("SELECT FROM cmis.occurrences FOR NO KEY UPDATE")
        begun = monotonic()
        assert world.dispatch().runs == 1
        assert monotonic() - begun < 4  # the statement's timeout is 5 s
    assert [row.status for row in world.rows(JOB, job=job)] == ["active"]
    assert world.one("SELECT count(*) FROM cmis.occurrences WHERE cancel_requested") == 0


def test_paused_jobs_do_not_run(world: World, org: Org) -> None:
    for status in ("paused", "completed", "failed"):
        org.hourly(org.rule(), hours_due=1, status=status, end_date=world.now() - timedelta(hours=2))
    assert world.dispatch().jobs == 0
    assert world.one("SELECT count(*) FROM cmis.occurrences") == 0


def test_more_planned_times_than_a_batch_computes_go_on_in_the_next_with_an_unbroken_chain(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch, "COMPUTED", 25)
    first, second = (org.hourly(org.rule(), hours_due=40) for _ in range(2))
    batches = [world.dispatch()]
    while batches[-1].more:
        batches.append(world.dispatch())
    assert len(batches) > 3
    for job in (first, second):
        ledger = world.rows(LEDGER, job=job)
        assert sum(row.count for row in ledger) == 40
        assert [row.decision for row in ledger].count("run") == 1
        assert ledger[-1].decision == "run"
        assert [row.previous for row in ledger[1:]] == [row.until for row in ledger[:-1]]


def test_two_schedulers_dispatch_each_of_300_jobs_once(world: World, org: Org) -> None:
    bulk(org, rules=30, jobs=300)

    def until_done(_: int) -> int:
        return sum(batch.jobs for batch in iter(lambda: world.dispatch(20), Dispatched()))

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(until_done, range(2))) == 300
    assert world.one("SELECT count(*) FROM cmis.occurrences") == 300
    assert sum(count for _, groups in _chunks(world) for _, count in groups) == 300
    world.run_all()
    assert world.one("SELECT count(DISTINCT job_id) FROM cmis.automation_executions") == 300


def test_more_than_100_rules_are_split(world: World, org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "SECONDS", 60.0)  # one batch, on however slow a machine
    bulk(org, rules=250, jobs=250)
    world.dispatch()
    assert sorted(count for _, [(_, count)] in _chunks(world)) == [50, 100, 100]


def test_more_than_20_000_pairs_of_rule_and_campaign_are_split(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunk, "MAX_PAIRS", 200)
    bulk(org, rules=5, jobs=5, campaigns=90)
    world.dispatch()
    assert sorted(count for _, [(_, count)] in _chunks(world)) == [1, 2, 2]


def test_what_is_left_over_of_up_to_ten_orgs_shares_a_task_of_the_reserved_org(world: World) -> None:
    orgs = [world.org(f"org {number}") for number in range(12)]
    for org in orgs:
        bulk(org, rules=1, jobs=2)
    world.dispatch()
    chunks = sorted(_chunks(world), key=lambda one: -len(one[1]))
    assert [(owner, len(groups)) for owner, groups in chunks] == [(RESERVED_ORG, 10), (RESERVED_ORG, 2)]
    shared = [org_id for _, groups in chunks for org_id, _ in groups]
    assert sorted(shared) == sorted(org.id for org in orgs)
    [(owner, task_id), _] = world.rows(
        "SELECT org_id, task_id FROM cmis.tasks ORDER BY jsonb_array_length(payload -> 'groups') DESC"
    )
    assert world.run(owner, task_id) == work.Finished(evaluated=20, retried=0)


def test_the_scheduler_reads_no_table(world: World) -> None:
    with (
        pytest.raises(Exception, match="permission denied") as refused,
        world.scheduler.transaction(None) as connection,
    ):
        connection.exec_driver_sql("SELECT * FROM cmis.scheduled_jobs")
    assert isinstance(getattr(refused.value, "orig", None), errors.InsufficientPrivilege)


def test_nothing_is_claimed_while_nothing_is_due(world: World, org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    org.hourly(org.rule(), hours_due=-1)
    with monkeypatch.context() as patch:
        patch.setattr(store, "claim_due_jobs", lambda *_: pytest.fail("claimed"))
        assert world.dispatch() == Dispatched()
    world.advance(hours=2)
    assert world.dispatch().jobs == 1
