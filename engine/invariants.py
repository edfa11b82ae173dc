"""Check the invariants of all orgs in one snapshot: queries over the rows, and the ledger against the definitions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, Final

from engine.schedule.occurrences import next_occurrence, next_planned
from engine.schedule.past import cursor
from engine.schedule.stored import of_row
from engine.store import invariants as store
from models.enums import JobStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Row

    from core.db import Database
    from engine.schedule.definition import Schedule

_BY_DEFINITION: Final = "the ledger holds exactly the planned times of each job's definition"
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Checked:
    """One invariant and what breaks it: nothing, if it holds."""

    name: str
    offenders: tuple[str, ...]


def check(database: Database, *, drained: bool) -> list[Checked]:
    """Check every invariant as the readonly role; those of a drained system only if `drained`."""
    names = [*store.CHECKS, *(store.DRAINED if drained else ())]
    with database.snapshot() as connection:
        store.sweep(connection)
        results = [Checked(name, tuple(store.offenders(connection, name))) for name in names]
        ledgers = store.ledgers(connection)
    return [*results, Checked(_BY_DEFINITION, tuple(_against_definitions(ledgers)))]


def _against_definitions(ledgers: Sequence[Row[Any]]) -> Iterator[str]:
    jobs = groupby(ledgers, key=lambda row: (row.org_id, row.job_id))
    for (org_id, job_id), group in jobs:
        if problem := _problem(list(group)):
            yield f"{org_id} {job_id} {problem}"


def _problem(rows: Sequence[Row[Any]]) -> str | None:
    """Return what is wrong with a job, if anything; of one that has failed the times need not be computable."""
    job = rows[0]
    recorded = [row for row in rows if row.scheduled_for is not None]
    try:
        schedule = of_row(job)
        start = cursor(schedule, job.decided, job.since)
        after = recorded[-1].until if recorded else start
        return _of_times(schedule, recorded, start) or _of_state(schedule, job, after)
    except Exception as error:  # noqa: BLE001 - whatever the definition holds, the other jobs are checked
        return None if job.status == JobStatus.FAILED else f"its planned times cannot be computed: {error}"


def _of_times(schedule: Schedule, rows: Sequence[Row[Any]], start: datetime) -> str | None:
    """Return what is wrong with the times recorded for a job's present definition, which holds from `start` on."""
    if not rows:
        return None
    first = rows[0].scheduled_for
    if _next(schedule, first - _SECOND) != first:
        return f"{first} is no planned time"
    if _next(schedule, start) != first:
        return f"{first} is not the first planned time after {start}, from when on its definition holds"
    for row in rows:
        if _walk(schedule, row.scheduled_for, row.planned - 1) != row.until:
            return f"the stretch from {row.scheduled_for} has other planned times"
    for row, following in pairwise(rows):
        if _next(schedule, row.until) != following.scheduled_for:
            return f"a planned time between {row.until} and {following.scheduled_for} is missing"
    return None


def _of_state(schedule: Schedule, job: Row[Any], after: datetime) -> str | None:
    """Return what is wrong with what a job waits for, its planned times up to `after` being decided.

    It may wait for a planned time that is skipped. A paused job's next time is computed anew when it is resumed.
    """
    if job.status not in {JobStatus.ACTIVE, JobStatus.COMPLETED}:
        return None
    fires = next_occurrence(schedule, after)
    if job.next_run_at is None or job.status == JobStatus.COMPLETED:
        at_limit = job.max_executions is not None and job.run_count >= job.max_executions
        ended = fires is None or at_limit
        return None if ended else f"it is {job.status} and waits for no time, but fires after {after}"
    if job.next_run_at not in {_next(schedule, after), None if fires is None else fires.at}:
        return f"next_run_at {job.next_run_at} is not the time after {after} at which it fires"
    return None


def _walk(schedule: Schedule, start: datetime, steps: int) -> datetime | None:
    moment: datetime | None = start
    for _ in range(steps):
        moment = None if moment is None else _next(schedule, moment)
    return moment


def _next(schedule: Schedule, after: datetime) -> datetime | None:
    found = next_planned(schedule, after)
    return None if found is None else found.at
