"""Upkeep that the database does itself: partitions ahead of time, what is done with behind it, and the wake-up call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection

WAKE_CHANNEL: Final = "cmis_wake"

MONTHLY: Final = (
    "automation_executions",
    "automation_actions",
    "task_attempts",
    "occurrences",
    "automation_audit_log",
)
"""Tables whose months are dropped, in this order: effects after their executions, the log after what it tells of."""
_COUNT_SECONDS: Final = 100

_MISSING = text("SELECT relation, month, ahead FROM cmis.missing_partitions()")
_ADD = text("SELECT cmis.add_partition(:relation, :month)")
_PURGE = text("SELECT cmis.purge_tasks(:limit)")
_FORGET = text("SELECT cmis.purge_run_changes(:limit)")
_TOLD = text("SELECT cmis.purge_notifications(:limit)")
_FORGET_EVENTS = text("SELECT cmis.purge_events(:limit)")
_RUNS = text("SELECT cmis.purge_instances(:limit)")
_PLANNED = text("SELECT cmis.purge_occurrences(:limit)")
_PATIENCE = text(f"SET LOCAL statement_timeout = '{_COUNT_SECONDS}s'")
_RETIRE = text("SELECT partition, outcome, reason FROM cmis.retire_partition(:relation)")
_WAKE = text(f"NOTIFY {WAKE_CHANNEL}")


@dataclass(frozen=True, slots=True)
class Missing:
    """A month of a table that has no partition yet; `ahead`: how many months after the present one it is."""

    relation: str
    month: date
    ahead: int

    @property
    def partition(self) -> str:
        """Its name, once it is there."""
        return f"{self.relation}_{self.month:%Y%m}"


@dataclass(frozen=True, slots=True)
class Retired:
    """What became of a month that is due: `watched` (the next call drops it), `dropped`, or why not: `held`, `busy`."""

    partition: str
    outcome: str
    reason: str | None


def missing_partitions(connection: Connection) -> list[Missing]:
    """List the partitions that are missing from two months back to three ahead, the most urgent first."""
    return [Missing(*row) for row in connection.execute(_MISSING)]


def add_partition(connection: Connection, missing: Missing) -> bool:
    """Make a partition; returns whether it was this call. Commit after each.

    Raises a DBAPIError (SQLSTATE 55P03) where the table is in use for longer than a quarter of a second.
    """
    values = {"relation": missing.relation, "month": missing.month}
    made: bool = connection.execute(_ADD, values).scalar_one()
    return made


def purge_tasks(connection: Connection, limit: int) -> int:
    """Delete up to `limit` tasks that have been final for seven days; returns how many."""
    purged: int = connection.execute(_PURGE, {"limit": limit}).scalar_one()
    return purged


def forget_runs(connection: Connection, limit: int) -> int:
    """Delete up to `limit` rows of what runs changed more than 60 days ago; returns how many."""
    forgotten: int = connection.execute(_FORGET, {"limit": limit}).scalar_one()
    return forgotten


def purge_notifications(connection: Connection, limit: int) -> int:
    """Delete up to `limit` notifications that were read and are older than 90 days, or than 365; returns how many."""
    purged: int = connection.execute(_TOLD, {"limit": limit}).scalar_one()
    return purged


def forget_events(connection: Connection, limit: int) -> int:
    """Delete up to `limit` events that are older than 90 days; returns how many."""
    forgotten: int = connection.execute(_FORGET_EVENTS, {"limit": limit}).scalar_one()
    return forgotten


def purge_instances(connection: Connection, limit: int) -> int:
    """Delete up to `limit` runs of workflows, with their steps, that ended longer ago than is kept; returns how many."""
    purged: int = connection.execute(_RUNS, {"limit": limit}).scalar_one()
    return purged


def purge_occurrences(connection: Connection, limit: int) -> int:
    """Delete up to `limit` planned times of the far past, which have no month of their own; returns how many."""
    purged: int = connection.execute(_PLANNED, {"limit": limit}).scalar_one()
    return purged


def retire_partition(connection: Connection, relation: str) -> Retired | None:
    """Take one step towards dropping a table's oldest month; None if none is older than is kept. Commit after each.

    Its rows are counted first, which may take longer than other statements; the lock on the table is held for moments.
    """
    connection.execute(_PATIENCE)
    found = connection.execute(_RETIRE, {"relation": relation}).one_or_none()
    return None if found is None else Retired(*found)


def wake_schedulers(connection: Connection) -> None:
    """Wake the schedulers at commit. Never in a chunk, dispatch or import: a NOTIFY takes a lock of the whole server."""
    connection.execute(_WAKE)
