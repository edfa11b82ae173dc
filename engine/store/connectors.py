"""Connectors: where an org's campaign changes are pushed to, and which of the pushes come before others."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from core import driver
from core.ids import uuid7_floor
from engine.store.statements import with_rows
from models import Connector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

_OLDEST: Final = timedelta(days=28)
"""How much older than now the effect may be whose push a later one waits for: actions follow and are approved so late."""
_AHEAD: Final = timedelta(minutes=1)

_ACTIVE = text("""
SELECT connector_id, platform FROM cmis.connectors WHERE org_id = :org_id AND status = 'active' ORDER BY connector_id
""")
_OF_ACTIONS = text("""
SELECT a.action_id, k.* FROM cmis.automation_actions a
  JOIN cmis.connectors k ON k.org_id = a.org_id AND k.connector_id = (a.params ->> 'connector_id')::uuid
 WHERE a.org_id = :org_id AND a.action_id = ANY (:ids) AND a.action_id BETWEEN :low AND :high AND a.channel = 'connector'
""").bindparams(bindparam("ids", type_=ARRAY(Uuid())))
# The version of the campaign orders its pushes. Ids do not: what was approved, or followed after a delay, has an older one.
_EARLIER = with_rows("""
SELECT r.action_id, e.action_id AS earlier_id
  FROM json_to_recordset(:rows) AS r(action_id uuid, entity_id uuid, connector_id text, version bigint)
 CROSS JOIN LATERAL (
   SELECT a.action_id FROM cmis.automation_actions a
    WHERE a.org_id = :org_id AND a.entity_id = r.entity_id AND a.action_id BETWEEN :low AND :high
      AND a.channel = 'connector' AND a.status IN ('queued', 'running', 'unknown')
      AND a.params ->> 'connector_id' = r.connector_id AND (a.after ->> 'version')::bigint < r.version
    ORDER BY (a.after ->> 'version')::bigint LIMIT 1) e
""")


def active(connection: Connection, org_id: UUID) -> list[tuple[str, str | None]]:
    """Return id and platform of an org's active connectors, by id."""
    return [(str(row.connector_id), row.platform) for row in driver.rows(connection, _ACTIVE, {"org_id": org_id})]


def get(connection: Connection, org_id: UUID, connector_id: UUID | str) -> Row[Any] | None:
    """Return one connector."""
    table = Connector.__table__
    query = select(table).where(table.c.org_id == org_id, table.c.connector_id == connector_id)
    return connection.execute(query).one_or_none()


def of_actions(connection: Connection, org_id: UUID, action_ids: Sequence[UUID]) -> dict[UUID, Row[Any]]:
    """Return the connector of each of the actions that is a push, as it is now, by the action's id."""
    if not action_ids:
        return {}
    key = {"org_id": org_id, "ids": list(action_ids), "low": min(action_ids), "high": max(action_ids)}
    return {row.action_id: row for row in connection.execute(_OF_ACTIONS, key)}


def earlier_open(connection: Connection, org_id: UUID, rows: Sequence[Row[Any]], *, now: datetime) -> dict[UUID, UUID]:
    """Return which of the pushes must wait, and each for which: the first open one of its campaign to its connector.

    What is older than 28 days by its id keeps nothing waiting.
    """
    asked = [
        {
            "action_id": row.action_id,
            "entity_id": row.entity_id,
            "connector_id": row.params["connector_id"],
            "version": row.after["version"],
        }
        for row in rows
    ]
    bounds = {"low": uuid7_floor(now - _OLDEST), "high": uuid7_floor(now + _AHEAD)}
    found = connection.execute(_EARLIER, {"org_id": org_id, "rows": asked} | bounds)
    return {row.action_id: row.earlier_id for row in found}


def find(connection: Connection, org_id: UUID, reference: UUID | str) -> Row[Any] | None:
    """Return the connector with this id, or with this exact name."""
    table = Connector.__table__
    column = table.c.name if isinstance(reference, str) else table.c.connector_id
    return connection.execute(select(table).where(table.c.org_id == org_id, column == reference)).one_or_none()


def lock(connection: Connection, org_id: UUID, connector_id: UUID) -> Row[Any]:
    """Lock a connector that exists until the transaction ends, and return it."""
    table = Connector.__table__
    query = select(table).where(table.c.org_id == org_id, table.c.connector_id == connector_id)
    return connection.execute(query.with_for_update(key_share=True)).one()


def listing(connection: Connection, org_id: UUID, *, status: str | None) -> Sequence[Row[Any]]:
    """Return an org's connectors by name; archived ones only if they are asked for."""
    table = Connector.__table__
    wanted = table.c.status == status if status else table.c.status != "archived"
    return connection.execute(select(table).where(table.c.org_id == org_id, wanted).order_by(table.c.name)).all()


def create(connection: Connection, row: Mapping[str, Any]) -> None:
    """Insert a connector."""
    connection.execute(insert(Connector), dict(row))


def change(
    connection: Connection, org_id: UUID, connector_id: UUID, columns: Mapping[str, Any], *, now: datetime
) -> None:
    """Give columns of a connector other values; it is not written where all are the same already."""
    differs = or_(*(getattr(Connector, column).is_distinct_from(value) for column, value in columns.items()))
    query = update(Connector).where(Connector.org_id == org_id, Connector.connector_id == connector_id, differs)
    connection.execute(query.values(**columns, updated_at=now))
