"""A job's policies, end to end in the database: what runs, what does not, and what the ledger says of it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from core import faults
from engine import chunk, run_now
from engine.decide_job import LATEST_REVIEW
from engine.run_rules import group, service
from engine.schedule.jitter import jitter
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Org, World

HOUR = timedelta(hours=1)
LEDGER = "SELECT * FROM cmis.occurrences WHERE job_id = :job AND origin = 'schedule' ORDER BY scheduled_for"
JOB = "SELECT * FROM cmis.scheduled_jobs WHERE job_id = :job"


def ledger(world: World, job: UUID) -> list[tuple[str, int, str | None]]:
    return [(row.decision, row.count, row.outcome) for row in world.rows(LEDGER, job=job)]


def decisions(world: World, job: UUID) -> list[str]:
    return [row.decision for row in world.rows(LEDGER, job=job)]


def row_of(world: World, job: UUID) -> Any:
    [row] = world.rows(JOB, job=job)
    return row


def tasks_of(world: World) -> list[Any]:
    return list(world.rows("SELECT * FROM cmis.tasks WHERE kind = 'evaluate_rules' ORDER BY task_id"))


def failing(org: Org) -> UUID:
    """Make a rule each of whose evaluations ends as a failure: its stored conditions cannot be read."""
    return org.rule({"all": [{"field": "no such field", "operator": ">", "value": 1}]})


def test_misfire_all_runs_each_missed_time_once_and_in_order(world: World, org: Org) -> None:
    job = org.hourly(org.rule(SPENT, NOTIFY), hours_due=5, misfire="all", misfire_grace_seconds=86_400)
    assert world.dispatch().runs == 5
    assert ledger(world, job) == [("run", 1, None)] * 5
    [task] = tasks_of(world)
    [group] = chunk.groups(task.payload)
    assert [item.scheduled_for for item in group.items] == [row.scheduled_for for row in world.rows(LEDGER, job=job)]
    world.run_all()
    assert ledger(world, job) == [("run", 1, "skipped")] * 5  # no campaign: nothing to do
    assert (row_of(world, job).run_count, row_of(world, job).last_run_for) == (5, group.items[-1].scheduled_for)


def test_misfire_skip_leaves_out_what_was_missed(world: World, org: Org) -> None:
    job = org.job(org.rule(), due_for=timedelta(minutes=2), misfire="skip")
    assert world.dispatch().runs == 0
    assert ledger(world, job) == [("misfired", 1, "skipped")]
    assert row_of(world, job).status == "completed"


def test_overlap_allow_runs_beside_the_open_run_and_counts_outcomes_in_order(world: World, org: Org) -> None:
    job = org.hourly(org.rule(), hours_due=1, overlap="allow")
    for _ in range(3):
        world.dispatch()
        world.advance(hours=1)
    assert decisions(world, job) == ["run", "run", "run"]
    first = world.rows(LEDGER, job=job)[0]
    assert row_of(world, job).open_from == first.scheduled_for
    second = world.rows(LEDGER, job=job)[1]
    world.run(second.org_id, second.task_id)
    world.dispatch()
    assert row_of(world, job).open_from == first.scheduled_for  # still the first that is open
    world.run_all()
    world.advance(hours=1)
    world.dispatch()
    assert row_of(world, job).open_from == world.rows(LEDGER, job=job)[-1].scheduled_for


def test_overlap_buffer_one_buffers_one_time_and_runs_it_when_the_run_is_over(world: World, org: Org) -> None:
    job = org.hourly(org.rule(), hours_due=1, overlap="buffer_one")
    for _ in range(3):
        world.dispatch()
        world.advance(hours=1)
    assert decisions(world, job) == ["run", "buffered", "overlap_skipped"]
    buffered = world.rows(LEDGER, job=job)[1]
    assert (buffered.outcome, buffered.execution_id, row_of(world, job).buffered_for) == (
        None,
        None,
        buffered.scheduled_for,
    )
    world.run_all()
    world.advance(seconds=LATEST_REVIEW.total_seconds() + 1)
    world.dispatch()
    # the buffered time runs, so that the one of this hour, which is due with it, finds a run open
    assert decisions(world, job) == ["run", "run", "overlap_skipped", "buffered"]
    assert row_of(world, job).run_count == 2
    world.run_all()
    world.advance(seconds=LATEST_REVIEW.total_seconds() + 1)
    world.dispatch()
    world.run_all()
    assert decisions(world, job) == ["run", "run", "overlap_skipped", "run"]
    assert row_of(world, job).buffered_for is None


def test_a_buffered_time_waits_as_long_as_the_run_is_open(world: World, org: Org) -> None:
    job = org.hourly(org.rule(), hours_due=1, overlap="buffer_one")
    world.dispatch()
    world.advance(hours=1)
    world.dispatch()
    for _ in range(3):
        world.advance(seconds=LATEST_REVIEW.total_seconds() + 1)
        assert world.dispatch().runs == 0
        assert decisions(world, job) == ["run", "buffered"]
    assert world.dispatch().jobs == 0  # looked at now and then, not all the time


def test_a_buffered_time_under_another_policy_runs_beside_or_never(world: World, org: Org) -> None:
    jobs = {overlap: org.hourly(org.rule(), hours_due=1, overlap="buffer_one") for overlap in ("allow", "skip")}
    world.dispatch()
    world.advance(hours=1)
    world.dispatch()
    for overlap, job in jobs.items():
        set_overlap = "UPDATE cmis.scheduled_jobs SET overlap = %(overlap)s WHERE job_id = %(job)s"
        world.meddle(set_overlap, overlap=overlap, job=job)
    world.advance(seconds=LATEST_REVIEW.total_seconds() + 1)
    world.dispatch()
    assert decisions(world, jobs["allow"]) == ["run", "run"]
    assert decisions(world, jobs["skip"]) == ["run", "cancelled"]
    assert row_of(world, jobs["allow"]).open_from == world.rows(LEDGER, job=jobs["allow"])[0].scheduled_for


def test_cancelling_is_read_between_the_runs_of_one_task(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = org.hourly(org.rule(), hours_due=5, misfire="all", misfire_grace_seconds=86_400)
    world.dispatch()
    original, waves_run = group.run_wave, list[int]()

    def run_wave(*args: Any) -> Any:
        waves_run.append(1)
        if len(waves_run) == 2:
            late = "scheduled_for IN (SELECT scheduled_for FROM cmis.occurrences ORDER BY scheduled_for DESC LIMIT 3)"
            world.meddle(f"UPDATE cmis.occurrences SET cancel_requested = true WHERE {late}")
        return original(*args)

    monkeypatch.setattr(service, "run_wave", run_wave)
    world.run_all()
    assert [row.outcome for row in world.rows(LEDGER, job=job)] == ["skipped"] * 2 + ["cancelled"] * 3
    assert world.one("SELECT count(*) FROM cmis.automation_executions") == 2


def test_a_job_whose_schedule_is_over_waits_for_its_buffered_time(world: World, org: Org) -> None:
    end = world.now() + timedelta(minutes=61)
    job = org.hourly(org.rule(), hours_due=1, overlap="buffer_one", end_date=end)
    world.dispatch()
    world.advance(hours=1)
    world.dispatch()
    assert (row_of(world, job).status, row_of(world, job).next_run_at) == ("active", None)
    world.run_all()
    world.advance(seconds=LATEST_REVIEW.total_seconds() + 1)
    assert world.dispatch().runs == 1
    assert decisions(world, job) == ["run", "run"]
    assert row_of(world, job).status == "completed"


def test_the_buffered_time_of_a_paused_job_never_runs(world: World, org: Org) -> None:
    job = org.hourly(org.rule(), hours_due=1, overlap="buffer_one")
    world.dispatch()
    world.advance(hours=1)
    world.dispatch()
    world.meddle("UPDATE cmis.scheduled_jobs SET status = 'paused' WHERE job_id = %(job)s", job=job)
    next_run_at = row_of(world, job).next_run_at
    world.advance(seconds=LATEST_REVIEW.total_seconds() + 1)
    world.dispatch()
    assert ledger(world, job) == [("run", 1, None), ("cancelled", 1, "skipped")]
    paused = row_of(world, job)
    assert (paused.status, paused.buffered_for, paused.next_run_at) == ("paused", None, next_run_at)


def test_overlap_cancel_other_runs_and_the_other_ends_as_cancelled_without_an_execution(world: World, org: Org) -> None:
    job = org.hourly(org.rule(), hours_due=1, overlap="cancel_other")
    world.dispatch()
    world.advance(hours=1)
    world.dispatch()
    first, second = world.rows(LEDGER, job=job)
    assert (first.cancel_requested, second.cancel_requested) == (True, False)
    world.run_all()
    assert ledger(world, job) == [("run", 1, "cancelled"), ("run", 1, "skipped")]
    executions = world.rows("SELECT execution_id FROM cmis.automation_executions")
    assert [one.execution_id for one in executions] == [second.execution_id]
    results = world.rows("SELECT result FROM cmis.tasks WHERE task_id = :id", id=first.task_id)
    assert results[0].result == {"evaluated": 0, "retried": 0, "cancelled": 1}


def test_in_a_shared_chunk_only_the_run_that_is_cancelled_is_left_out(world: World, org: Org) -> None:
    cancelled = org.hourly(org.rule(), hours_due=1, overlap="cancel_other")
    other = org.hourly(org.rule(), hours_due=1, overlap="allow")
    world.dispatch()
    world.advance(hours=1)
    world.dispatch()
    world.run_all()
    assert ledger(world, cancelled) == [("run", 1, "cancelled"), ("run", 1, "skipped")]
    assert ledger(world, other) == [("run", 1, "skipped")] * 2


def test_a_run_that_is_over_is_not_cancelled(world: World, org: Org) -> None:
    job = org.hourly(org.rule(), hours_due=1, overlap="cancel_other")
    world.dispatch()
    world.run_all()
    world.advance(hours=1)
    world.dispatch()
    assert [row.cancel_requested for row in world.rows(LEDGER, job=job)] == [False, False]


def test_max_executions_completes_the_job(world: World, org: Org) -> None:
    job = org.hourly(org.rule(), hours_due=1, max_executions=2)
    for _ in range(4):
        world.dispatch()
        world.run_all()
        world.advance(hours=1)
    assert decisions(world, job) == ["run", "run"]
    done = row_of(world, job)
    assert (done.status, done.next_run_at, done.run_count) == ("completed", None, 2)


def test_what_a_catch_up_would_run_beyond_the_limit_is_recorded_as_such(world: World, org: Org) -> None:
    job = org.hourly(org.rule(), hours_due=5, max_executions=2, misfire="all", misfire_grace_seconds=86_400)
    world.dispatch()
    assert ledger(world, job) == [("run", 1, None), ("run", 1, None), ("limit_reached", 3, "skipped")]
    assert row_of(world, job).status == "completed"


def test_a_run_by_hand_counts_neither_towards_the_limit_nor_as_a_failure(world: World, org: Org) -> None:
    job = org.hourly(failing(org), hours_due=1, max_executions=2, pause_on_failure_count=2)
    world.dispatch()
    for _ in range(3):
        run_now.run_job(world.app, org.context, row_of(world, job))
        world.run_all()
        world.advance(seconds=1)
    world.advance(hours=1)
    world.dispatch()
    assert decisions(world, job) == ["run", "run"]
    assert (row_of(world, job).run_count, row_of(world, job).failures) == (2, 1)


def test_failed_runs_in_a_row_pause_the_job_with_a_note_and_an_audit(world: World, org: Org) -> None:
    job = org.hourly(failing(org), hours_due=1, pause_on_failure_count=2)
    for _ in range(3):
        world.dispatch()
        world.run_all()
        world.advance(hours=1)
    assert ledger(world, job) == [("run", 1, "failure"), ("run", 1, "failure"), ("paused", 1, "skipped")]
    paused = row_of(world, job)
    assert (paused.status, paused.failures, paused.pause_note) == ("paused", 2, "2 failed runs in a row")
    assert paused.next_run_at > paused.last_scheduled_for
    [entry] = world.rows("SELECT after FROM cmis.automation_audit_log WHERE action = 'job_paused'")
    assert entry.after == {"status": "paused", "pause_note": "2 failed runs in a row"}
    assert world.dispatch().jobs == 0


def test_a_run_that_does_not_fail_starts_the_count_of_failures_anew(world: World, org: Org) -> None:
    rule = failing(org)
    job = org.hourly(rule, hours_due=1, pause_on_failure_count=2)
    world.dispatch()
    world.run_all()
    org.update_rule(rule, conditions=SPENT)
    for _ in range(2):
        world.advance(hours=1)
        world.dispatch()
        world.run_all()
    assert (row_of(world, job).failures, row_of(world, job).status) == (0, "active")


def test_one_failed_run_does_not_stop_a_job(world: World, org: Org) -> None:
    job = org.hourly(failing(org), hours_due=1)
    for _ in range(3):
        world.dispatch()
        world.run_all()
        world.advance(hours=1)
    assert decisions(world, job) == ["run"] * 3
    assert row_of(world, job).failures == 2


def test_jitter_puts_a_run_off_by_the_same_time_whoever_asks(world: World, org: Org) -> None:
    due = timedelta(0)
    job = org.job(org.rule(), due_for=due, jitter_seconds=3_600)
    world.dispatch()
    [occurrence] = world.rows(LEDGER, job=job)
    [task] = tasks_of(world)
    expected = occurrence.scheduled_for + jitter(job, occurrence.scheduled_for, 3_600)
    assert task.run_at == task.publish_at == expected
    assert timedelta(0) < expected - occurrence.scheduled_for <= HOUR  # 1 in 3,601 that it is 0: then of no use here
    assert world.run_all() == 0
    world.advance(hours=1)
    world.run_all()
    assert ledger(world, job) == [("run", 1, "skipped")]


def test_runs_of_other_starts_and_other_time_limits_share_no_task(world: World, org: Org) -> None:
    rule = org.rule()
    for _ in range(3):
        org.job(rule)
        org.job(rule, timeout_seconds=7)
        org.job(rule, due_for=timedelta(0), jitter_seconds=3_600)
    world.dispatch()
    found = [(task.timeout_seconds, len(task.payload["groups"][0]["items"])) for task in tasks_of(world)]
    assert sorted(found) == [(7, 3)] + [(300, 1)] * 3 + [(300, 3)]


def test_what_a_job_gives_to_its_runs_is_kept_with_the_execution_and_names_nobody_as_asker(
    world: World, org: Org
) -> None:
    given = {"season": "spring", "limits": [1, 2]}
    org.job(org.rule(), execution_context=given | {"requested_by": "somebody"})
    world.dispatch()
    world.run_all()
    assert world.one("SELECT context FROM cmis.automation_executions") == given
    users = world.rows("SELECT user_id FROM cmis.automation_audit_log WHERE action = 'rule_executed'")
    assert [str(one.user_id)[-1] for one in users] == ["1"]  # the engine


def test_a_month_that_lacks_the_day_is_recorded_and_not_run(world: World, org: Org) -> None:
    start = world.now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    monthly: dict[str, Any] = {
        "schedule_type": "recurring",
        "frequency": "monthly",
        "day_of_month": "31",
        "time_of_day": start.time(),
        "month_end": "skip",
        "misfire_grace_seconds": 2_592_000,
        "anchor_at": start,
        "start_date": start,
        "created_at": start,
    }
    first = _next_31st(start)
    job = org.job(org.rule(), **(monthly | {"next_run_at": first}))
    lasting = 0
    while lasting < 8:
        world.advance(days=20)
        world.dispatch()
        world.run_all()
        lasting += 1
    rows = world.rows(LEDGER, job=job)
    assert {row.decision for row in rows} == {"run", "month_end_skipped"}
    assert all((row.scheduled_for.day == 31) == (row.decision == "run") for row in rows)


def _next_31st(moment: Any) -> Any:
    while moment.day != 31:
        moment += timedelta(days=1)
    return moment


def test_a_planned_time_is_decided_once_though_the_scheduler_dies_before_its_commit(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = org.hourly(org.rule(), hours_due=1)

    def die(name: str) -> None:
        if name == "dispatch.before_commit":
            raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(faults, "crash", die)
        with pytest.raises(KeyboardInterrupt):
            world.dispatch()
    assert ledger(world, job) == []
    world.dispatch()
    assert decisions(world, job) == ["run"]
