"""Scheduled jobs as people define, steer and see them; the scheduler advances them through `store.dispatch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from models import ScheduledJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import ColumnElement, Connection, Row


def create(connection: Connection, values: Mapping[str, Any]) -> None:
    """Insert a job."""
    connection.execute(insert(ScheduledJob), values)


def listing(connection: Connection, org_id: UUID) -> Sequence[Row[Any]]:
    """Return the org's jobs, next due first."""
    table = ScheduledJob.__table__
    query = select(table).where(table.c.org_id == org_id)
    return connection.execute(query.order_by(table.c.next_run_at.nulls_last(), table.c.job_id)).all()


def find(connection: Connection, org_id: UUID, reference: UUID | str) -> Row[Any] | None:
    """Return the job with this id, or with this name (unique in its org)."""
    table = ScheduledJob.__table__
    column = table.c.name if isinstance(reference, str) else table.c.job_id
    return connection.execute(select(table).where(table.c.org_id == org_id, column == reference)).one_or_none()


def names(connection: Connection, org_id: UUID, job_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the names of jobs by their ids."""
    table = ScheduledJob
    query = select(table.job_id, table.name).where(table.org_id == org_id, table.job_id.in_(job_ids))
    return {row.job_id: row.name for row in connection.execute(query)} if job_ids else {}


def lock(connection: Connection, org_id: UUID, job_id: UUID) -> Row[Any]:
    """Lock a job until the transaction ends, and return it as it is then: whoever held it before has committed.

    Schedulers pass a locked job by. Job rows come first in the lock order, and the time is read after the lock.
    """
    table = ScheduledJob.__table__
    query = select(table).where(table.c.org_id == org_id, table.c.job_id == job_id)
    return connection.execute(query.with_for_update(key_share=True)).one()


def pause(connection: Connection, org_id: UUID, job_id: UUID, *, note: str | None, now: datetime) -> bool:
    """Pause a job if it is active; says whether it was."""
    values = {"status": "paused", "pause_note": note, "updated_at": now}
    return _update(connection, org_id, job_id, values, ScheduledJob.status == "active")


def pause_of_rules(
    connection: Connection, org_id: UUID, rule_ids: Sequence[UUID], *, note: str, now: datetime
) -> Sequence[Row[Any]]:
    """Pause the active jobs of some rules; returns the rule and the name of each."""
    table = ScheduledJob.__table__
    mine = (table.c.org_id == org_id, table.c.rule_id.in_(rule_ids), table.c.status == "active")
    locked = select(table.c.job_id).where(*mine).order_by(table.c.job_id).with_for_update(key_share=True)
    change = update(ScheduledJob).where(ScheduledJob.org_id == org_id, ScheduledJob.job_id.in_(locked))
    values = {"status": "paused", "pause_note": note, "updated_at": now}
    return connection.execute(change.values(**values).returning(table.c.rule_id, table.c.name)).all()


def renote(connection: Connection, org_id: UUID, job_id: UUID, *, note: str, now: datetime) -> bool:
    """Replace the note of a paused job; says whether it is paused."""
    values = {"pause_note": note, "updated_at": now}
    return _update(connection, org_id, job_id, values, ScheduledJob.status == "paused")


def move_cursor(
    connection: Connection, org_id: UUID, job_id: UUID, *, last: datetime, next_run_at: datetime | None
) -> None:
    """Move the cursor of a locked job. It names no audited column: this is no change by a person."""
    _update(connection, org_id, job_id, {"last_scheduled_for": last, "next_run_at": next_run_at})


def change(connection: Connection, org_id: UUID, job_id: UUID, values: Mapping[str, Any]) -> None:
    """Write columns of a locked job; the triggers audit what differs, and move the revision where the plan changes."""
    _update(connection, org_id, job_id, values)


def _update(
    connection: Connection, org_id: UUID, job_id: UUID, values: Mapping[str, Any], *guards: ColumnElement[bool]
) -> bool:
    where = (ScheduledJob.org_id == org_id, ScheduledJob.job_id == job_id, *guards)
    return connection.execute(update(ScheduledJob).where(*where).values(**values)).rowcount == 1
