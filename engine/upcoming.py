"""When the work of stored jobs comes due: their definitions from the database, their times counted by the minute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import clock
from engine.schedule import stored
from engine.schedule.load import Alike, Load, expand, explain, peaks, usual
from engine.store import load as store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.schedule.load import PileUp

MAX_DEFINITIONS: Final = 20_000
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Definitions:
    """The definitions of the jobs that come due in a period that is not counted yet."""

    load: Load
    rows: Sequence[Row[Any]]


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
    """The names of orgs."""


def read(connection: Connection, *, org_id: UUID | None, days: int) -> Definitions:
    """Read what is planned for the next so many days; of one org, or as the readonly role of all."""
    now = clock.now(connection)
    load = Load(now.replace(second=0, microsecond=0), days * 24 * 60)
    rows = store.definitions(connection, org_id=org_id, now=now, until=load.end, limit=MAX_DEFINITIONS)
    return Definitions(load, rows)


def count(definitions: Definitions) -> Upcoming:
    """Count what was read by the minute. That may take seconds: no transaction is open meanwhile."""
    load, rows = definitions.load, definitions.rows
    groups = [_alike(row) for row in rows]
    expand(load, groups)
    jobs, due = (rows[0].all_jobs, rows[0].all_due) if rows else (0, 0)
    load.left_out += jobs - sum(group.jobs for group in groups)
    minutes = load.closed()
    worst = peaks(minutes)
    pile_ups = tuple(explain(load, minute, minutes[minute], groups) for minute in worst[:_NAMED])
    names = {org_id: name for row in rows for org_id, name in zip(row.orgs, row.names, strict=True)}
    return Upcoming(load, minutes, jobs, due, usual(minutes), pile_ups, len(worst), names)


def _alike(row: Row[Any]) -> Alike:
    orgs = tuple(zip(row.orgs, row.counts, strict=True))
    return Alike(stored.of_row(row), row.jobs, row.jitter_seconds, orgs)
