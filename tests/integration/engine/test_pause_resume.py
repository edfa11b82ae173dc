"""A paused job does not fire, and resuming it does not make up for what went by, unless asked to."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import ConflictError, InputError, NotFoundError
from engine import settle
from engine.control_jobs import pause_job, resume_job
from engine.store import jobs
from tests.integration.engine.ledgers import Job, add_job

if TYPE_CHECKING:
    from tests.world import Org, World

MINUTE = timedelta(minutes=1)


def pause(job: Job, note: str | None = None) -> Any:
    return pause_job(job.org.world.app, job.org.context, job.id, note)


def resume(job: Job, *, catch_up: bool = False) -> Any:
    return resume_job(job.org.world.app, job.org.context, job.id, catch_up=catch_up)


def update(job: Job, statement: str) -> None:
    assert job.org.world.meddle(f"UPDATE cmis.scheduled_jobs SET {statement}") == 1


def test_a_paused_job_does_not_fire(org: Org, world: World) -> None:
    job = add_job(org)
    row = pause(job, "  until Monday ")
    assert (row.status, row.pause_note, row.next_run_at) == ("paused", "until Monday", job.row.next_run_at)
    world.advance(minutes=5)
    assert world.dispatch().jobs == 0
    assert job.ledger == []


def test_each_pause_and_resume_is_audited_once(org: Org) -> None:
    job = add_job(org)
    for _ in range(2):
        pause(job, "x")
        pause(job, "x")
        pause(job)
        resume(job)
        resume(job)
    changes = [
        ({"status": "active", "pause_note": None}, {"status": "paused", "pause_note": "x"}),
        ({"status": "paused", "pause_note": "x"}, {"status": "active", "pause_note": None}),
    ]
    assert [(before, after) for _, before, after in job.audited()] == changes * 2


def test_a_job_paused_already_takes_a_new_note_and_keeps_its_own_without_one(org: Org) -> None:
    job = add_job(org)
    pause(job, "first")
    assert pause(job).pause_note == "first"
    assert pause(job, "second").pause_note == "second"
    assert pause(job, "   ").pause_note == "second"


@pytest.mark.parametrize("note", ["x" * 501, "a\x00b"])
def test_a_note_that_cannot_be_kept_is_refused(org: Org, note: str) -> None:
    job = add_job(org)
    with pytest.raises(InputError) as error:
        pause(job, note)
    assert [problem.field for problem in error.value.problems] == ["note"]
    assert job.status == "active"


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_job_that_has_ended_is_neither_paused_nor_resumed(org: Org, status: str) -> None:
    job = add_job(org)
    update(job, f"status = '{status}', next_run_at = NULL, end_date = created_at")
    for verb in (pause, resume):
        with pytest.raises(ConflictError, match=f"is {status} and cannot be"):
            verb(job)


def test_an_unknown_job_is_not_found(org: Org, world: World) -> None:
    with pytest.raises(NotFoundError):
        pause_job(world.app, org.context, "nope")
    with pytest.raises(NotFoundError):
        resume_job(world.app, org.context, "nope")


def test_a_job_of_another_org_is_not_found(org: Org, world: World) -> None:
    job = add_job(world.org("other"))
    with pytest.raises(NotFoundError):
        pause_job(world.app, org.context, job.id)


def test_resuming_never_fires_the_past(org: Org, world: World) -> None:
    job = add_job(org)
    first = job.row.next_run_at
    pause(job)
    now = world.advance(minutes=10)
    row = resume(job)
    assert (row.status, row.pause_note, row.run_count) == ("active", None, 0)
    assert now < row.next_run_at <= now + MINUTE
    [gone] = job.ledger
    assert (gone.decision, gone.outcome, gone.scheduled_for, gone.count) == ("paused", "skipped", first, 10)
    assert (gone.until, gone.previous, gone.job_revision) == (row.last_scheduled_for, row.anchor_at, row.revision)
    assert world.dispatch().jobs == 0
    world.advance(minutes=1)
    assert world.dispatch().runs == 1
    assert job.decisions == [("paused", 10), ("run", 1)]
    assert job.ledger[1].previous == gone.until


def test_a_job_resumed_before_its_next_time_records_nothing(org: Org, world: World) -> None:
    job = add_job(org, cron_expression="0 0 1 1 *")
    before = job.row
    pause(job)
    resume(job)
    after = job.row
    assert job.ledger == []
    assert (after.next_run_at, after.last_scheduled_for) == (before.next_run_at, None)
    assert world.dispatch().jobs == 0


def test_resuming_an_active_job_changes_nothing(org: Org, world: World) -> None:
    job = add_job(org)
    world.advance(minutes=5)
    before = job.row
    assert resume(job).status == "active"
    assert (job.row, job.ledger) == (before, [])
    world.dispatch()


def test_what_a_run_decided_before_the_pause_goes_on(org: Org, world: World) -> None:
    org.campaign()
    job = add_job(org)
    world.advance(minutes=1)
    assert world.dispatch().runs == 1
    pause(job)
    assert world.run_all() == 1
    assert job.ledger[0].outcome == "success"
    world.advance(minutes=3)
    resume(job)
    assert job.decisions == [("run", 1), ("paused", 3)]


def test_times_that_the_schedule_itself_skips_are_told_apart(org: Org, world: World) -> None:
    job = add_job(org, frequency="monthly", day_of_month=31, time_of_day="09:00", month_end="skip")
    pause(job)
    world.advance(days=365)
    resume(job)
    assert sum(count for _, count in job.decisions) == 12
    assert {decision for decision, _ in job.decisions} == {"paused", "month_end_skipped"}
    assert sum(count for decision, count in job.decisions if decision == "paused") == 7


def test_a_job_without_a_time_to_come_is_completed(org: Org, world: World) -> None:
    start = world.now() + timedelta(minutes=5)
    job = add_job(org, schedule_type="once", start_date=start.isoformat())
    pause(job)
    world.advance(days=2)
    row = resume(job)
    assert (row.status, row.next_run_at, row.pause_note) == ("completed", None, None)
    assert job.decisions == [("paused", 1)]


def test_catching_up_leaves_the_past_to_the_misfire_policy(org: Org, world: World) -> None:
    job = add_job(org)
    pause(job)
    world.advance(minutes=10)
    row = resume(job, catch_up=True)
    assert (row.status, row.last_scheduled_for) == ("active", None)
    assert world.dispatch().runs == 1
    assert job.decisions == [("coalesced", 9), ("run", 1)]


def test_failures_are_forgotten_by_resuming(org: Org, world: World) -> None:
    job = add_job(org, pause_on_failure_count=2)
    for _ in range(2):
        world.advance(minutes=1)
        world.dispatch()
        world.run_all()
        world.meddle("UPDATE cmis.occurrences SET outcome = 'failure' WHERE outcome <> 'failure' AND decision = 'run'")
    world.advance(minutes=1)
    world.dispatch()
    assert (job.status, job.row.failures, job.row.pause_note) == ("paused", 2, "2 failed runs in a row")
    row = resume(job)
    assert (row.status, row.failures, row.open_from) == ("active", 0, None)
    world.advance(minutes=1)
    assert world.dispatch().runs == 1


def test_failures_that_nobody_counted_yet_are_forgotten_too(org: Org, world: World) -> None:
    job = add_job(org, pause_on_failure_count=1)
    world.advance(minutes=1)
    world.dispatch()
    world.run_all()
    world.meddle("UPDATE cmis.occurrences SET outcome = 'failure' WHERE decision = 'run'")
    pause(job)
    world.advance(minutes=1)
    resume(job)
    world.advance(minutes=1)
    assert world.dispatch().runs == 1
    assert job.status == "active"


def test_a_long_past_takes_several_transactions_and_ends_active(
    org: Org, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "STEP", 10)
    job = add_job(org)
    pause(job)
    world.advance(minutes=35)
    row = resume(job)
    assert row.status == "active"
    assert job.decisions == [("paused", 10), ("paused", 10), ("paused", 10), ("paused", 5)]


class StoppedHereError(Exception):
    """Stands for a process that died between two transactions."""


def stop_before_step(monkeypatch: pytest.MonkeyPatch, number: int, deed: Any) -> None:
    """Do `deed` before the `number`-th time that the job is locked."""
    lock, calls = jobs.lock, []

    def locking(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == number:
            deed()
        return lock(*arguments)

    monkeypatch.setattr(jobs, "lock", locking)


def die() -> None:
    raise StoppedHereError


def test_a_resume_that_dies_half_way_leaves_a_paused_job_that_can_be_resumed(
    org: Org, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "STEP", 10)
    job = add_job(org)
    pause(job, "x")
    world.advance(minutes=25)
    with monkeypatch.context() as patch:
        stop_before_step(patch, 2, die)
        with pytest.raises(StoppedHereError):
            resume(job)
    assert (job.status, job.row.pause_note, job.decisions) == ("paused", "x", [("paused", 10)])
    assert job.row.next_run_at == job.row.last_scheduled_for + MINUTE
    assert resume(job).status == "active"
    assert sum(count for _, count in job.decisions) == 25


def test_a_job_that_somebody_paused_anew_meanwhile_stays_paused(
    org: Org, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "STEP", 10)
    job = add_job(org)
    pause(job)
    world.advance(minutes=25)
    with monkeypatch.context() as patch:

        def meanwhile() -> None:
            patch.undo()
            resume(job)
            pause(job, "again")

        stop_before_step(patch, 2, meanwhile)
        with pytest.raises(ConflictError, match="was changed while it was being resumed"):
            resume(job)
    assert (job.status, job.row.pause_note) == ("paused", "again")


def test_two_resumes_at_once_record_each_time_once(org: Org, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "STEP", 7)
    job = add_job(org)
    pause(job)
    world.advance(minutes=60)
    threads = [threading.Thread(target=resume, args=(job,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert job.status == "active"
    assert sum(count for _, count in job.decisions) == 60
    assert len(job.audited()) == 2


def test_pausing_while_schedulers_dispatch_loses_and_doubles_nothing(org: Org, world: World) -> None:
    every = [add_job(org, name=f"job {n}", overlap="allow") for n in range(20)]
    world.advance(minutes=3)
    threads = [threading.Thread(target=world.dispatch) for _ in range(2)]
    threads += [threading.Thread(target=pause, args=(job,)) for job in every[:10]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for job in every[:10]:
        resume(job)
    world.dispatch()
    assert {sum(count for _, count in job.decisions) for job in every} == {3}
    assert {job.status for job in every} == {"active"}
