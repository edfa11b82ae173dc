"""Run a job for planned times that are past: through the same queue, worker and gates, at a rate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.errors import InputError
from core.ids import uuid7
from engine.enqueue import job_run
from engine.find import find_job
from engine.schedule.occurrences import occurrences as planned_times
from engine.schedule.stored import of_row
from engine.store import actions, audit, jobs, maintenance, occurrences, tasks
from models.audit_actions import AuditAction
from models.enums import Origin, Role

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database

MAX_TIMES: Final = 1_000
"""How many planned times one call may run."""
MAX_RATE: Final = 6_000
PER_MINUTE: Final = 60
_COUNTED: Final = 10_000
_INSTANT: Final = timedelta(microseconds=1)
_MINUTE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What one call did: of `planned` times `queued` were new, `already` were backfilled before and are left alone."""

    job_id: UUID
    start: datetime
    end: datetime
    planned: int
    queued: int
    already: int
    last_run_at: datetime | None
    """When the last of the queued ones is due; the first is due at once."""


def backfill_job(
    database: Database,
    context: Context,
    reference: UUID | str,
    start: datetime,
    end: datetime,
    *,
    per_minute: int = PER_MINUTE,
) -> Backfilled:
    """Run a job once for each time that its present schedule plans from `start` to `end` (aware, inclusive).

    Neither cursor nor counters move, and it matters not whether the schedule ran a time already. Raises NotFoundError,
    and InputError for a range that is empty or to come, or that holds more than 1,000 planned times.
    """
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.OPERATOR)
        job_id = find_job(connection, context.org_id, reference).job_id
        job = jobs.lock(connection, context.org_id, job_id)  # two backfills of a job go one after the other
        now = clock.now(connection)
        moments = _moments(job, start, end, now)
        due = _enqueue(connection, context, job, moments, now, _MINUTE / per_minute)
        already = len(moments) - len(due)
        done = Backfilled(job_id, start, end, len(moments), len(due), already, due[-1] if due else None)
        _audit(connection, job, done, now)
        maintenance.wake_schedulers(connection)
        return done


def _moments(job: Row[Any], start: datetime, end: datetime, now: datetime) -> list[datetime]:
    if end < start:
        raise InputError.of("to", "is before the start of the range", "give a later end or an earlier start")
    if end > now:
        raise InputError.of("to", f"{end.isoformat()} is still to come", "give a time that is past")
    firing = (one.at for one in planned_times(of_row(job), start - _INSTANT))
    found = list(islice(takewhile(lambda at: at <= end, firing), _COUNTED + 1))
    if len(found) > MAX_TIMES:
        counted = f"more than {_COUNTED}" if len(found) > _COUNTED else str(len(found))
        message = f"{start.isoformat()} to {end.isoformat()} holds {counted} planned times"
        raise InputError.of("range", message, f"give a range of at most {MAX_TIMES}, and several after each other")
    return found


def _enqueue(
    connection: Connection,
    context: Context,
    job: Row[Any],
    moments: Sequence[datetime],
    now: datetime,
    pause: timedelta,
) -> list[datetime]:
    """Record the runs that are new and enqueue their tasks; returns when each of these is due."""
    if not moments:
        return []
    made = [_run(context, job, moment, now) for moment in moments]
    new = occurrences.insert_new_runs(connection, context.org_id, [run for run, _ in made], now=now)
    waiting = [task for _, task in made if task["task_id"] in new]
    due = [now + position * pause for position in range(len(waiting))]
    rows = [task | {"run_at": at, "publish_at": at} for task, at in zip(waiting, due, strict=True)]
    tasks.insert(connection, rows, now=now)
    return due


def _run(context: Context, job: Row[Any], moment: datetime, now: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return one run as its row of the ledger and its task."""
    queued, task = job_run(context, job, Origin.BACKFILL, moment, now=now)
    run = {
        "job_id": job.job_id,
        "origin": Origin.BACKFILL.value,
        "scheduled_for": moment,
        "job_revision": job.revision,
        "execution_id": queued.execution_id,
        "instance_id": queued.instance_id,
        "task_id": queued.task_id,
        "actor_id": context.user_id,
    }
    return run, task


def _audit(connection: Connection, job: Row[Any], done: Backfilled, now: datetime) -> None:
    entry = {
        "audit_id": uuid7(now),
        "action": AuditAction.JOB_BACKFILLED.value,
        "entity_type": "job",
        "entity_id": done.job_id,
        "rule_id": job.rule_id,
        "details": {
            "from": done.start.isoformat(),
            "to": done.end.isoformat(),
            "planned": done.planned,
            "queued": done.queued,
            "already": done.already,
        },
    }
    audit.record(connection, job.org_id, [entry], now=now)
