"""Events: told once, kept for 90 days; read by whoever evaluates the rules that they trigger, and by people."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import Uuid

from core import driver
from core.ids import uuid7_floor
from models import AutomationEvent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.chunk import Item

# Whoever is second waits for the first to commit. The time of creation is the database's.
_INSERT = text("""
INSERT INTO cmis.automation_events (org_id, event_id, type, payload, source, idempotency_key, triggered, occurred_at, created_at)
VALUES (:org_id, :event_id, :type, :payload, :source, :idempotency_key, :triggered, :occurred_at, :created_at)
ON CONFLICT (org_id, idempotency_key) DO NOTHING
RETURNING event_id
""").bindparams(bindparam("payload", type_=JSONB))
# Compared by the database: it holds numbers as it does, and not as JSON was written.
_TOLD = text("""
SELECT event_id, type, triggered, created_at, type = :type AND payload = :payload AS same FROM cmis.automation_events
 WHERE org_id = :org_id AND idempotency_key = :idempotency_key
""").bindparams(bindparam("payload", type_=JSONB))
_SOME = text("""
SELECT event_id, type, payload FROM cmis.automation_events WHERE org_id = :org_id AND event_id = ANY (:ids)
""").bindparams(bindparam("ids", type_=ARRAY(Uuid())))

# The ids of executions are made, and dated, with the event's.
_EXECUTIONS = text("""
SELECT e.execution_id, e.rule_id, r.name AS rule, e.status, e.skip_reason, e.started_at
  FROM cmis.automation_executions e JOIN cmis.automation_rules r ON r.org_id = e.org_id AND r.rule_id = e.rule_id
 WHERE e.org_id = :org_id AND e.execution_id BETWEEN :low AND :high AND e.trigger = 'event'
   AND e.context ->> 'event_id' = :event_id
 ORDER BY e.execution_id
""").bindparams(bindparam("low", type_=Uuid()), bindparam("high", type_=Uuid()))
_MADE_WITHIN = timedelta(seconds=1)


def insert(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Insert an event; False if the org has one of this idempotency key."""
    return connection.execute(_INSERT, row).one_or_none() is not None


def told(connection: Connection, org_id: UUID, key: str, event_type: str, payload: Mapping[str, Any]) -> Row[Any]:
    """Return the event of an idempotency key, with whether its type and payload are the `same`."""
    wanted = {"org_id": org_id, "idempotency_key": key, "type": event_type, "payload": payload}
    return connection.execute(_TOLD, wanted).one()


def of_items(connection: Connection, org_id: UUID, items: Sequence[Item]) -> dict[UUID, Row[Any]]:
    """Return the events that triggered evaluations, by id; no statement is made where none did."""
    ids = {item.event_id for item in items if item.event_id is not None}
    if not ids:
        return {}
    return {row.event_id: row for row in driver.rows(connection, _SOME, {"org_id": org_id, "ids": list(ids)})}


def get(connection: Connection, org_id: UUID, event_id: UUID) -> Row[Any] | None:
    """Return an event, whole."""
    table = AutomationEvent
    query = select(table.__table__).where(table.org_id == org_id, table.event_id == event_id)
    return connection.execute(query).one_or_none()


def executions_of(connection: Connection, org_id: UUID, event: Row[Any]) -> Sequence[Row[Any]]:
    """Return the executions that an event triggered; their ids are as old as its own."""
    bounds = {"low": uuid7_floor(event.created_at), "high": uuid7_floor(event.created_at + _MADE_WITHIN)}
    wanted = {"org_id": org_id, "event_id": str(event.event_id), **bounds}
    return connection.execute(_EXECUTIONS, wanted).all()


def listing(connection: Connection, org_id: UUID, *, event_type: str | None, limit: int) -> Sequence[Row[Any]]:
    """Return the org's newest events, of all types or of one."""
    table = AutomationEvent
    query = select(table.__table__).where(table.org_id == org_id).order_by(table.event_id.desc()).limit(limit)
    return connection.execute(query if event_type is None else query.where(table.type == event_type)).all()
