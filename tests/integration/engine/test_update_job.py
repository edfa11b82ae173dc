"""Another schedule holds from now on; what the old one left undecided is in the ledger."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import ConflictError, InputError
from engine import settle
from engine.control_jobs import pause_job, resume_job
from engine.define_jobs import update_job
from tests.integration.engine.ledgers import EVERY_MINUTE, Job, add_job

if TYPE_CHECKING:
    from tests.world import Org, World

MINUTE = timedelta(minutes=1)


def update(job: Job, **changes: object) -> Any:
    return update_job(job.org.world.app, job.org.context, job.id, changes)


def refused(job: Job, **changes: object) -> list[str]:
    before = job.row
    with pytest.raises(InputError) as error:
        update(job, **changes)
    assert job.row == before
    return [str(problem) for problem in error.value.problems]


def test_another_name_or_policy_leaves_the_cursor_alone(org: Org, world: World) -> None:
    job = add_job(org)
    world.advance(minutes=2)
    before = job.row
    row = update(job, name="new", misfire="all", jitter_seconds=5, timeout_seconds=60, execution_context={"a": [1]})
    assert (row.name, row.misfire, row.jitter_seconds, row.timeout_seconds) == ("new", "all", 5, 60)
    assert row.execution_context == {"a": [1]}
    kept = ("next_run_at", "last_scheduled_for", "revision", "revised_at", "anchor_at", "status")
    assert [row._mapping[name] for name in kept] == [before._mapping[name] for name in kept]
    assert job.ledger == []
    assert world.dispatch().runs == 2


def test_what_is_the_same_changes_nothing(org: Org, world: World) -> None:
    job = add_job(org, name="same", max_executions=9)
    world.advance(minutes=2)
    before = job.row
    update(job, name="same", cron_expression=EVERY_MINUTE, timezone="UTC", max_executions=9, dst_gap=None)
    assert (job.row, job.ledger, job.audited()) == (before, [], [])
    world.dispatch()


def test_another_rule_keeps_the_times_and_moves_the_revision(org: Org, world: World) -> None:
    job, rule = add_job(org), org.rule(name="other")
    world.advance(minutes=2)
    before = job.row
    row = update(job, rule="other")
    assert (row.rule_id, row.revision, row.next_run_at) == (rule, before.revision + 1, before.next_run_at)
    world.dispatch()
    assert [gone.job_revision for gone in job.ledger] == [2, 2]


def test_another_schedule_holds_from_now_on_and_cancels_what_was_due(org: Org, world: World) -> None:
    job = add_job(org)
    now = world.advance(minutes=5)
    row = update(job, cron_expression="*/10 * * * *")
    assert (row.status, row.revision, row.failures) == ("active", 2, 0)
    assert now <= row.revised_at < row.next_run_at
    assert row.next_run_at.minute % 10 == 0
    [gone] = job.ledger
    assert (gone.decision, gone.outcome, gone.count, gone.job_revision) == ("cancelled", "skipped", 5, 1)
    world.advance(minutes=10)
    assert world.dispatch().runs == 1
    ran = job.ledger[-1]
    assert (ran.decision, ran.previous, ran.job_revision) == ("run", gone.until, 2)


def test_a_change_is_audited_with_what_differs(org: Org) -> None:
    job = add_job(org)
    update(job, cron_expression="*/10 * * * *")
    [(action, before, after)] = job.audited()
    assert (action, before, after) == (
        "job_updated",
        {"cron_expression": EVERY_MINUTE},
        {"cron_expression": "*/10 * * * *"},
    )


def test_what_a_paused_job_had_due_is_recorded_as_paused_and_it_stays_so(org: Org, world: World) -> None:
    job = add_job(org)
    pause_job(world.app, org.context, job.id, "x")
    world.advance(minutes=5)
    row = update(job, frequency="daily", time_of_day="09:00")
    assert (row.status, row.pause_note, row.schedule_type, row.cron_expression) == ("paused", "x", "recurring", None)
    assert job.decisions == [("paused", 5)]
    world.advance(days=3)
    resume_job(world.app, org.context, job.id)
    assert [gone.job_revision for gone in job.ledger] == [1, 2]
    assert job.decisions == [("paused", 5), ("paused", 3)]


def test_a_long_past_takes_several_transactions(org: Org, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "STEP", 10)
    job = add_job(org)
    world.advance(minutes=25)
    assert update(job, cron_expression="@daily").next_run_at.hour == 0
    assert job.decisions == [("cancelled", 10), ("cancelled", 10), ("cancelled", 5)]
    assert {gone.job_revision for gone in job.ledger} == {1}


def test_a_job_that_has_ended_is_active_again_with_times_to_come(org: Org, world: World) -> None:
    org.campaign()
    start = world.now() + timedelta(seconds=30)
    job = add_job(org, schedule_type="once", start_date=start.isoformat())
    world.advance(minutes=2)
    world.dispatch()
    world.run_all()
    assert job.status == "completed"
    row = update(job, start_date=(world.now() + MINUTE).isoformat())
    assert (row.status, row.schedule_type) == ("active", "once")
    world.advance(minutes=2)
    assert world.dispatch().runs == 1
    assert job.status == "completed"
    assert job.decisions == [("run", 1), ("run", 1)]


def test_renaming_a_job_that_has_ended_leaves_it_ended(org: Org, world: World) -> None:
    job = add_job(org, schedule_type="once", start_date=(world.now() + timedelta(seconds=30)).isoformat())
    world.advance(minutes=2)
    world.dispatch()
    row = update(job, name="over", timeout_seconds=9)
    assert (row.status, row.name) == ("completed", "over")
    assert world.dispatch().jobs == 0


def test_a_job_that_failed_is_mended_by_another_schedule(org: Org, world: World) -> None:
    job = add_job(org)
    world.meddle("UPDATE cmis.scheduled_jobs SET timezone = 'Mars/Base'")
    world.advance(minutes=2)
    world.dispatch()
    assert job.status == "failed"
    row = update(job, timezone="Europe/Berlin")
    assert (row.status, row.last_error, row.next_run_at > row.revised_at) == ("active", None, True)
    world.advance(minutes=1)
    assert world.dispatch().runs == 1


def test_a_late_once_time_that_was_decided_already_is_refused(org: Org, world: World) -> None:
    start = world.now() + timedelta(seconds=30)
    job = add_job(org, schedule_type="once", start_date=start.isoformat())
    world.advance(minutes=2)
    world.dispatch()
    [said] = refused(job, start_date=(start - MINUTE).isoformat())
    assert said.startswith("start_date:")
    assert "is decided already" in said


def test_a_late_once_time_after_those_decided_still_fires(org: Org, world: World) -> None:
    job = add_job(org, schedule_type="once", start_date=(world.now() + timedelta(seconds=30)).isoformat())
    world.advance(minutes=20)
    world.dispatch()
    row = update(job, start_date=(world.now() - 5 * MINUTE).isoformat())
    assert row.status == "active"
    assert world.dispatch().jobs == 1
    assert len(job.ledger) == 2


def test_recurrences_go_on_counting_where_nothing_changes_that_they_count_with(org: Org, world: World) -> None:
    job = add_job(org, frequency="hourly")
    world.advance(minutes=50)
    row = update(job, end_date=(world.now() + timedelta(days=9)).isoformat())
    assert row.next_run_at == row.anchor_at + timedelta(hours=1)
    assert update(job, interval=2).anchor_at > row.anchor_at


@pytest.mark.parametrize(
    ("made", "changes", "kept", "gone"),
    [
        (
            {"frequency": "weekly", "interval": 2, "days_of_week": [1], "time_of_day": "09:00"},
            {"frequency": "monthly", "day_of_month": 5},
            {"time_of_day": "09:00:00", "day_of_month": "5", "interval": 1},
            {"days_of_week"},
        ),
        (
            {"frequency": "daily", "interval": 3, "time_of_day": "09:00"},
            {"cron_expression": "0 9 * * *"},
            {"interval": 1, "schedule_type": "cron"},
            {"time_of_day", "frequency"},
        ),
        (
            {"cron_expression": "0 9 * * *", "end_date": "2190-01-01"},
            {"schedule_type": "once", "start_date": "2100-01-01"},
            {"schedule_type": "once"},
            {"cron_expression", "end_date"},
        ),
        (
            {"schedule_type": "once", "start_date": "2100-01-01"},
            {"frequency": "hourly"},
            {"schedule_type": "recurring"},
            {"start_date"},
        ),
        (
            {"cron_expression": "0 9 * * *", "end_date": "2190-01-01", "max_executions": 5},
            {"end_date": None, "max_executions": None},
            {"cron_expression": "0 9 * * *"},
            {"end_date", "max_executions"},
        ),
    ],
)
def test_another_kind_of_schedule_takes_the_fields_of_the_old_one_away(
    org: Org, made: dict[str, Any], changes: dict[str, object], kept: dict[str, object], gone: set[str]
) -> None:
    row = update(add_job(org, **made), **changes)
    assert {name: _text(row._mapping[name]) for name in kept} == kept
    assert {row._mapping[name] for name in gone} == {None}


def _text(value: object) -> object:
    return value if isinstance(value, int) else str(value)


def test_all_that_is_wrong_with_the_whole_is_told_at_once_and_nothing_changes(org: Org, world: World) -> None:
    job = add_job(org)
    world.advance(minutes=2)
    said = refused(job, rule="nope", cron_expression="61 * * * *", overlap="maybe", timeout_seconds=0, name="x" * 201)
    fields = {text.partition(":")[0] for text in said}
    assert fields == {"rule", "cron_expression", "overlap", "timeout_seconds", "name"}
    assert refused(job, frequncy="daily")[0].startswith("frequncy: is no field of a schedule")
    assert refused(job, day_of_month=3)[0].startswith("day_of_month: does not belong to a cron schedule")
    assert refused(job, end_date="2001-01-01")[0].startswith("end_date:")
    assert refused(job, execution_context=[1])[0].startswith("execution_context:")
    assert refused(job, execution_context={"a": "x" * 16384})[0].startswith("execution_context: has")
    assert job.ledger == []
    world.dispatch()


def test_a_job_whose_rule_is_archived_may_be_changed_but_no_job_may_get_such_a_rule(org: Org) -> None:
    job, archived = add_job(org), org.rule(name="archived", status="archived")
    org.update_rule(job.row.rule_id, status="archived")
    assert update(job, name="kept").name == "kept"
    assert update(job, cron_expression="0 9 * * *").cron_expression == "0 9 * * *"
    [problem] = refused(job, rule_id=str(archived))
    assert "is archived" in problem


def test_an_unknown_field_is_told_with_all_that_a_job_has(org: Org) -> None:
    [problem] = refused(add_job(org), wen="noon")
    assert problem.startswith("wen: ")
    for name in ("cron_expression", "misfire", "execution_context", "rule"):
        assert name in problem


def test_a_taken_name_is_a_conflict(org: Org) -> None:
    add_job(org, name="taken")
    job = add_job(org, name="free")
    with pytest.raises(ConflictError, match="there is a job of this name already"):
        update(job, name="taken")


def test_a_limit_that_is_reached_already_is_refused(org: Org, world: World) -> None:
    job = add_job(org, overlap="allow")
    for _ in range(2):
        world.advance(minutes=1)
        world.dispatch()
    for limit in (1, 2):
        [said] = refused(job, max_executions=limit)
        assert said.startswith(f"max_executions: is {limit}, and the job has run 2 times already")
    assert update(job, max_executions=3).status == "active"


def test_a_higher_limit_lets_a_completed_job_go_on(org: Org, world: World) -> None:
    job = add_job(org, max_executions=1)
    world.advance(minutes=1)
    world.dispatch()
    assert (job.status, job.row.run_count) == ("completed", 1)
    world.advance(minutes=5)
    row = update(job, max_executions=2)
    assert (row.status, row.revision) == ("active", 1)
    assert job.decisions == [("run", 1), ("limit_reached", 5)]
    world.advance(minutes=1)
    world.run_all()
    assert world.dispatch().runs == 1
    assert (job.status, job.row.run_count) == ("completed", 2)


def test_a_completed_job_needs_a_higher_limit_for_another_schedule(org: Org, world: World) -> None:
    job = add_job(org, max_executions=1)
    world.advance(minutes=1)
    world.dispatch()
    [said] = refused(job, cron_expression="@daily")
    assert said.startswith("max_executions: is 1, and the job has run 1 times already")
    row = update(job, cron_expression="@daily", max_executions=None)
    assert (row.status, row.max_executions) == ("active", None)


def test_updating_while_schedulers_dispatch_loses_and_doubles_nothing(org: Org, world: World) -> None:
    every = [add_job(org, name=f"job {n}", overlap="allow") for n in range(20)]
    world.advance(minutes=3)
    threads = [threading.Thread(target=world.dispatch) for _ in range(2)]
    threads += [
        threading.Thread(target=update, args=(job,), kwargs={"cron_expression": "*/2 * * * *"}) for job in every
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {sum(count for _, count in job.decisions) for job in every} == {3}
    assert {job.row.revision for job in every} == {2}


def test_two_updates_at_once_both_hold(org: Org, world: World) -> None:
    job = add_job(org)
    world.advance(minutes=3)
    changes: list[dict[str, Any]] = [{"cron_expression": "*/2 * * * *"}, {"timezone": "Europe/Berlin"}]
    threads = [threading.Thread(target=update, args=(job,), kwargs=change) for change in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    row = job.row
    assert (row.cron_expression, row.timezone, row.revision) == ("*/2 * * * *", "Europe/Berlin", 3)
    assert job.decisions == [("cancelled", 3)]


def test_times_before_the_change_are_none_of_the_new_schedules(org: Org, world: World) -> None:
    job = add_job(org, cron_expression="0 0 29 2 *")
    world.advance(minutes=10)
    update(job, cron_expression=EVERY_MINUTE)
    pause_job(world.app, org.context, job.id)
    world.advance(minutes=3)
    resume_job(world.app, org.context, job.id)
    assert job.decisions == [("paused", 3)]
