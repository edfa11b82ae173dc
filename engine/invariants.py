"""Check the invariants of all orgs in one snapshot: queries over the rows, and the ledger against the definitions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, Final

from engine.schedule.occurrences import next_occurrence, next_planned
from engine.schedule.stored import of_row
from engine.store import invariants as store

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
        rows = list(group)
        schedule = of_row(rows[0])
        recorded = [row for row in rows if row.scheduled_for is not None]
        if problem := _problem(schedule, recorded):
            yield f"{org_id} {job_id} {problem}"


def _problem(schedule: Schedule, rows: Sequence[Row[Any]]) -> str | None:
    """Return what is wrong with a job's recorded times, if anything."""
    if not rows:
        return None
    if _next(schedule, rows[0].scheduled_for - _SECOND) != rows[0].scheduled_for:
        return f"{rows[0].scheduled_for} is no planned time"
    for row in rows:
        if _walk(schedule, row.scheduled_for, row.planned - 1) != row.until:
            return f"the stretch from {row.scheduled_for} has other planned times"
    for row, following in pairwise(rows):
        if _next(schedule, row.until) != following.scheduled_for:
            return f"a planned time between {row.until} and {following.scheduled_for} is missing"
    last = rows[-1]
    fires = next_occurrence(schedule, last.until)
    if last.status == "active" and last.next_run_at is not None and (not fires or fires.at != last.next_run_at):
        return f"next_run_at {last.next_run_at} is not the time after {last.until} at which it fires"
    return None


def _walk(schedule: Schedule, start: datetime, steps: int) -> datetime | None:
    moment: datetime | None = start
    for _ in range(steps):
        moment = None if moment is None else _next(schedule, moment)
    return moment


def _next(schedule: Schedule, after: datetime) -> datetime | None:
    found = next_planned(schedule, after)
    return None if found is None else found.at
