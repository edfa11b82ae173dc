"""When the work of stored jobs comes due: their definitions from the database, their times counted by the minute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.schedule import load, stored
from engine.store import load as store

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.schedule.load import Alike, Load, PileUp

MAX_DEFINITIONS: Final = 20_000
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Upcoming:
    """The load of a period, its minutes, and what is remarkable of it."""

    load: Load
    minutes: list[float]
    jobs: int
    """Active jobs that come due within the period, or are due already."""
    due: int
    """Those of them that are due already."""
    usual: float
    """Jobs a minute, on average."""
    pile_ups: tuple[PileUp, ...]
    """The worst minutes."""
    piled_up: int
    """How many minutes pile up in all."""
    orgs: dict[UUID, str]
    """The names of the orgs that the pile-ups name."""


def upcoming(connection: Connection, *, org_id: UUID | None, now: datetime, days: int) -> Upcoming:
    """Count what comes due in the next so many days; of one org, or as the readonly role of all."""
    start = now.replace(second=0, microsecond=0)
    found = load.Load(start, days * 24 * 60)
    rows = store.definitions(connection, org_id=org_id, now=now, until=found.end, limit=MAX_DEFINITIONS)
    groups = [_alike(row) for row in rows]
    load.expand(found, groups)
    jobs, due = (rows[0].all_jobs, rows[0].all_due) if rows else (0, 0)
    found.left_out += jobs - sum(group.jobs for group in groups)
    minutes = found.closed()
    worst = load.peaks(minutes)
    pile_ups = tuple(load.explain(found, minute, minutes[minute], groups) for minute in worst[:_NAMED])
    names = store.org_names(connection, {org for one in pile_ups for org, _ in one.orgs})
    return Upcoming(found, minutes, jobs, due, load.usual(minutes), pile_ups, len(worst), names)


def _alike(row: Row[Any]) -> Alike:
    orgs = tuple(zip(row.orgs, row.counts, strict=True))
    return load.Alike(stored.of_row(row), row.jobs, row.jitter_seconds, orgs)
