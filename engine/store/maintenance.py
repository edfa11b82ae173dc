"""Upkeep that the database does itself: partitions ahead of time, what is done with behind it, and the wake-up call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

WAKE_CHANNEL: Final = "cmis_wake"

_PARTITIONS = text("SELECT cmis.maintain_partitions()")
_PURGE = text("SELECT cmis.purge_tasks(:limit)")
_FORGET = text("SELECT cmis.purge_run_changes(:limit)")
_TOLD = text("SELECT cmis.purge_notifications(:limit)")
_FORGET_EVENTS = text("SELECT cmis.purge_events(:limit)")
_WAKE = text(f"NOTIFY {WAKE_CHANNEL}")


def maintain_partitions(connection: Connection) -> int:
    """Make the partitions from two months back to three ahead; returns how many were missing."""
    made: int = connection.execute(_PARTITIONS).scalar_one()
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


def wake_schedulers(connection: Connection) -> None:
    """Wake the schedulers at commit. Never in a chunk, dispatch or import: a NOTIFY takes a lock of the whole server."""
    connection.execute(_WAKE)
