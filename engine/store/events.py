"""Events: told once, kept for 90 days; read by whoever is started or woken by them, and by people."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import Text, Uuid

from core import driver
from core.ids import uuid7_floor
from engine.workflows import correlation
from models import AutomationEvent

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.chunk import Item

# Whoever is second waits for the first to commit. The time of creation is the database's.
_INSERT = text("""
INSERT INTO cmis.automation_events (org_id, event_id, type, payload, source, idempotency_key, triggered, started, woken,
       instance_id, occurred_at, created_at)
VALUES (:org_id, :event_id, :type, :payload, :source, :idempotency_key, :triggered, :started, :woken, :instance_id, :occurred_at,
        :created_at)
ON CONFLICT (org_id, idempotency_key) DO NOTHING
RETURNING event_id
""").bindparams(bindparam("payload", type_=JSONB))
# Compared by the database: it holds numbers as it does, and not as JSON was written.
_TOLD = text("""
SELECT event_id, type, triggered, started, woken, created_at,
       type = :type AND payload = :payload AND instance_id IS NOT DISTINCT FROM :instance_id AS same FROM cmis.automation_events
 WHERE org_id = :org_id AND idempotency_key = :idempotency_key
""").bindparams(bindparam("payload", type_=JSONB), bindparam("instance_id", type_=Uuid()))
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
# By the key that an emission gives to its instances: of each template there is one at most.
_INSTANCES = text("""
SELECT i.instance_id, t.name AS workflow, i.status, i.created_at FROM cmis.workflow_templates t
  JOIN cmis.workflow_instances i ON i.org_id = t.org_id AND i.template_id = t.template_id AND i.idempotency_key = :key
 WHERE t.org_id = :org_id ORDER BY i.instance_id
""")

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('cmis.event ' || :org_id || ' ' || :type, 0))")
_LOCK_SHARED = text(
    "SELECT pg_advisory_xact_lock_shared(hashtextextended('cmis.event ' || :org_id || ' ' || :type, 0))"
)
_TEMPLATES = text("""
SELECT template_id, name, event_conditions FROM cmis.workflow_templates
 WHERE org_id = :org_id AND event_type = :type AND status = 'active' ORDER BY template_id
""")
_WAITING = text("""
SELECT instance_id, step_id FROM cmis.workflow_steps
 WHERE org_id = :org_id AND event_type = :type AND status = 'waiting' AND correlation IS NULL
UNION ALL
SELECT instance_id, step_id FROM cmis.workflow_steps
 WHERE org_id = :org_id AND event_type = :type AND status = 'waiting' AND correlation = ANY (:keys)
 ORDER BY 1, 2
""").bindparams(bindparam("keys", type_=ARRAY(Text())))
_WAITING_OF = text("""
SELECT instance_id, step_id FROM cmis.workflow_steps
 WHERE org_id = :org_id AND instance_id = :instance_id AND event_type = :type AND status = 'waiting' ORDER BY step_id
""")
# What a step took is in its output. The event that started the instance is none that it waited for.
_AWAITED = text("""
SELECT e.event_id, e.type, e.payload FROM cmis.automation_events e
 WHERE e.org_id = :org_id AND e.type = :type AND e.event_id > :after AND (e.instance_id IS NULL OR e.instance_id = :instance_id)
   AND e.event_id <> ALL (:taken)
   AND e.event_id IS DISTINCT FROM (
     SELECT i.event_id FROM cmis.workflow_instances i WHERE i.org_id = :org_id AND i.instance_id = :instance_id)
   AND e.event_id <> ALL (ARRAY(
     SELECT (s.output_data #>> '{event,id}')::uuid FROM cmis.workflow_steps s
      WHERE s.org_id = :org_id AND s.instance_id = :instance_id AND s.type = 'wait_for_event'
        AND s.output_data #>> '{event,id}' IS NOT NULL))
   AND (CAST(:path AS text[]) IS NULL OR CASE WHEN CAST(:value AS jsonb) IS NULL
          THEN length(CAST(e.payload #> CAST(:path AS text[]) AS text)) > :longest
          ELSE e.payload #> CAST(:path AS text[]) = CAST(:value AS jsonb) END)
 ORDER BY e.event_id LIMIT :limit
""").bindparams(
    bindparam("taken", type_=ARRAY(Uuid())),
    bindparam("path", type_=ARRAY(Text())),
)
_PAGE: Final = 20
_CERTAINLY_SHORT: Final = correlation.LONGEST_VALUE // 2
"""Characters of a value that is not told by its hash, however JSON is written."""


def insert(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Insert an event; False if the org has one of this idempotency key."""
    return connection.execute(_INSERT, row).one_or_none() is not None


def told(connection: Connection, row: Mapping[str, Any]) -> Row[Any]:
    """Return the event that has the idempotency key of a row, with whether its content is the `same`."""
    return connection.execute(_TOLD, row).one()


def lock_type(connection: Connection, org_id: UUID, event_type: str, *, exclusive: bool) -> None:
    """Keep events of a type from being told beside a step's look for them, until the transaction ends.

    Who tells one shares the lock with others that do. Who begins to wait has it alone, looks for events that came
    already, and commits that it waits: no event is told to nobody in between.
    """
    statement = _LOCK if exclusive else _LOCK_SHARED
    driver.rows(connection, statement, {"org_id": str(org_id), "type": event_type})


def started_by(connection: Connection, org_id: UUID, event_type: str) -> list[Any]:
    """Return (template_id, name, event_conditions) of the active workflows that events of a type start."""
    return driver.rows(connection, _TEMPLATES, {"org_id": org_id, "type": event_type})


def waiting(connection: Connection, org_id: UUID, event_type: str, payload: Mapping[str, Any]) -> list[Any]:
    """Return (instance_id, step_id) of the steps that wait for just such an event."""
    key = {"org_id": org_id, "type": event_type, "keys": correlation.keys(payload)}
    return driver.rows(connection, _WAITING, key)


def waiting_of(connection: Connection, org_id: UUID, event_type: str, instance_id: UUID) -> list[Any]:
    """Return (instance_id, step_id) of the steps of an instance that wait for events of a type, whatever their payload."""
    return driver.rows(connection, _WAITING_OF, {"org_id": org_id, "type": event_type, "instance_id": instance_id})


def awaited(
    connection: Connection,
    org_id: UUID,
    instance_id: UUID,
    event_type: str,
    key: str | None,
    since: datetime,
    *,
    taken: Collection[UUID] = (),
) -> Any | None:
    """Return the first event (event_id, type, payload) since a time that a step of an instance waits for, if any.

    `key` is the step's correlation; None = any event of the type. Left out are the event that started the instance,
    those that its steps have taken, and `taken`, what others of them took in this transaction.
    """
    field, _, value = ("", "", None) if key is None else key.partition("=")
    wanted = {
        "org_id": org_id,
        "instance_id": instance_id,
        "type": event_type,
        "taken": list(taken),
        "path": None if key is None else field.split("."),
        "value": None if value is None or value.startswith(correlation.HASHED) else value,
        "longest": _CERTAINLY_SHORT,
        "limit": _PAGE,
        "after": uuid7_floor(since),
    }
    while found := driver.rows(connection, _AWAITED, wanted):
        for row in found:
            if key is None or key in correlation.keys(row.payload):
                return row
        wanted["after"] = found[-1].event_id
    return None


def instances_of(connection: Connection, org_id: UUID, event_id: UUID) -> Sequence[Row[Any]]:
    """Return the instances that an event started."""
    return connection.execute(_INSTANCES, {"org_id": org_id, "key": key_of(event_id)}).all()


def key_of(event_id: UUID) -> str:
    """Return the idempotency key of the instances that an event starts."""
    return f"event:{event_id}"


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
