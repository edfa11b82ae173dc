"""A backfill runs past planned times through the queue like any other work, and leaves the schedule alone."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from core.errors import InputError
from engine.backfill import Backfilled, backfill_job
from engine.control_jobs import pause_job
from tests.integration.engine.ledgers import Job, add_job

if TYPE_CHECKING:
    from datetime import datetime

    from tests.world import Org, World

HOURLY = "0 * * * *"


def backfill(job: Job, start: datetime, end: datetime, **options: Any) -> Backfilled:
    return backfill_job(job.org.world.app, job.org.context, job.id, start, end, **options)


def test_each_planned_time_of_the_range_runs_once(org: Org, world: World) -> None:
    org.campaign()
    job = add_job(org, cron_expression=HOURLY, timeout_seconds=77, execution_context={"season": "spring"})
    before = job.row
    midnight = world.now().replace(hour=0, minute=0, second=0, microsecond=0)
    done = backfill(job, midnight - timedelta(hours=3), midnight)
    assert (done.planned, done.queued, done.already) == (4, 4, 0)
    rows = job.backfilled()
    assert [row.scheduled_for for row in rows] == [midnight - timedelta(hours=hours) for hours in (3, 2, 1, 0)]
    assert {(row.decision, row.outcome, row.actor_id, row.job_revision) for row in rows} == {
        ("run", None, org.context.user_id, 1)
    }
    tasks = [world.task(row.task_id) for row in rows]
    assert [task.run_at - tasks[0].run_at for task in tasks] == [timedelta(seconds=n) for n in range(4)]
    assert {(task.state, task.timeout_seconds, task.publish_at - task.run_at) for task in tasks} == {
        ("ready", 77, timedelta(0))
    }
    assert done.last_run_at == tasks[-1].run_at
    world.advance(seconds=5)
    assert world.run_all() == 4
    executions = world.rows("SELECT * FROM cmis.automation_executions ORDER BY scheduled_for")
    assert [(row.trigger, row.scheduled_for) for row in executions] == [("manual", row.scheduled_for) for row in rows]
    assert {row.outcome for row in job.backfilled()} <= {"success", "skipped"}
    assert job.row == before


def test_a_time_that_was_backfilled_before_is_left_alone(org: Org, world: World) -> None:
    job = add_job(org, cron_expression=HOURLY)
    noon = world.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=24)
    backfill(job, noon, noon + timedelta(hours=2))
    before = job.backfilled()
    done = backfill(job, noon - timedelta(hours=1), noon + timedelta(hours=3))
    assert (done.planned, done.queued, done.already) == (5, 2, 3)
    assert set(before) < set(job.backfilled())
    assert world.one("SELECT count(*) FROM cmis.tasks") == 5
    again = backfill(job, noon, noon + timedelta(hours=2))
    assert (again.queued, again.already, again.last_run_at) == (0, 3, None)
    entries = [entry for action, _, entry in _audited(job) if action == "job_backfilled"]
    assert [(entry["planned"], entry["queued"], entry["already"]) for entry in entries] == [
        (3, 3, 0),
        (5, 2, 3),
        (3, 0, 3),
    ]


def _audited(job: Job) -> list[Any]:
    query = "SELECT action, entity_id, details FROM cmis.automation_audit_log WHERE entity_id = :id ORDER BY created_at"
    return [tuple(row) for row in job.org.world.rows(query, id=job.id)]


def test_two_backfills_at_once_make_each_run_once_and_count_right(org: Org, world: World) -> None:
    job = add_job(org, cron_expression=HOURLY)
    noon = world.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=48)
    done: list[Backfilled] = []
    threads = [
        threading.Thread(target=lambda: done.append(backfill(job, noon, noon + timedelta(hours=9)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((one.queued, one.already) for one in done) == [(0, 10), (0, 10), (0, 10), (10, 0)]
    assert world.one("SELECT count(*) FROM cmis.tasks") == len(job.backfilled()) == 10


def test_the_rate_spaces_the_runs(org: Org, world: World) -> None:
    job = add_job(org, cron_expression=HOURLY)
    noon = world.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=24)
    done = backfill(job, noon, noon + timedelta(hours=5), per_minute=2)
    first, *_, last = sorted(row.run_at for row in world.rows("SELECT run_at FROM cmis.tasks"))
    assert last - first == timedelta(seconds=150)
    assert done.last_run_at == last


def test_times_that_the_schedule_skips_are_not_run(org: Org, world: World) -> None:
    job = add_job(org, frequency="monthly", day_of_month=31, time_of_day="00:00", month_end="skip")
    january = world.now().replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    done = backfill(job, january - timedelta(days=365), january - timedelta(days=1))
    assert done.planned == 7
    assert {row.scheduled_for.day for row in job.backfilled()} == {31}


def test_a_paused_job_may_be_backfilled(org: Org, world: World) -> None:
    job = add_job(org, cron_expression=HOURLY)
    pause_job(world.app, org.context, job.id)
    now = world.now()
    assert backfill(job, now - timedelta(hours=2), now).queued == 2
    assert job.status == "paused"


def test_a_range_without_a_planned_time_is_told_as_such(org: Org, world: World) -> None:
    job = add_job(org, cron_expression="0 0 1 1 *")
    noon = world.now().replace(month=6)
    assert backfill(job, noon - timedelta(days=400), noon - timedelta(days=399)).planned == 0


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (timedelta(hours=1), timedelta(hours=2), "to: is before the start"),
        (timedelta(hours=1), timedelta(hours=-1), "is still to come"),
        (timedelta(hours=24), timedelta(hours=1), "holds 1381 planned times"),
        (timedelta(days=900), timedelta(hours=1), "holds more than 10000 planned times"),
    ],
)
def test_a_range_that_cannot_be_is_refused_and_nothing_written(
    org: Org, world: World, start: timedelta, end: timedelta, said: str
) -> None:
    job = add_job(org)
    now = world.now().replace(second=0, microsecond=0)
    with pytest.raises(InputError, match=said):
        backfill(job, now - start, now - end)
    assert job.backfilled() == []
    assert [action for action, _, _ in _audited(job)] == ["job_created"]
