"""Connectors: where an org's campaign changes are pushed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from models import Connector

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection, Row


def get(connection: Connection, org_id: UUID, connector_id: UUID | str) -> Row[Any] | None:
    """Return one connector."""
    table = Connector.__table__
    query = select(table).where(table.c.org_id == org_id, table.c.connector_id == connector_id)
    return connection.execute(query).one_or_none()
