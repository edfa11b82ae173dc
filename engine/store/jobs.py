"""Scheduled jobs as people define and see them; the scheduler advances them through `store.dispatch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from models import ScheduledJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row


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
