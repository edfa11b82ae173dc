"""The audit log: the engine's own entries (triggers write the rest), and queries for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from core import driver
from engine.store.statements import with_rows
from models import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

_INSERT = with_rows("""
INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, rule_id,
       execution_id, action_id, before, after, details, ip)
SELECT :org_id, :now, r.audit_id, r.action,
       coalesce(r.user_id, nullif(current_setting('app.current_user_id', true), '')::uuid), r.entity_type, r.entity_id, r.rule_id, r.execution_id, r.action_id, r.before, r.after, r.details,
       nullif(current_setting('app.client_ip', true), '')::inet
  FROM json_to_recordset(:rows) AS r(audit_id uuid, action text, user_id uuid, entity_type text, entity_id uuid, rule_id uuid,
       execution_id uuid, action_id uuid, before jsonb, after jsonb, details jsonb)
""")


def record(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
    """Append entries; who acted and from where come from the transaction's context, unless a row has a `user_id`."""
    if rows:
        driver.changed(connection, _INSERT, {"org_id": org_id, "rows": rows, "now": now})


def listing(
    connection: Connection,
    org_id: UUID,
    *,
    since: datetime,
    until: datetime,
    matching: Mapping[str, Any],
    limit: int,
) -> Sequence[Row[Any]]:
    """Return entries newest first in a period; `matching` holds columns (rule_id, action, user_id …) and their values."""
    table = AuditEntry.__table__
    query = select(table).where(table.c.org_id == org_id, table.c.created_at >= since, table.c.created_at <= until)
    for column, value in matching.items():
        query = query.where(table.c[column] == value)
    return connection.execute(query.order_by(table.c.created_at.desc(), table.c.audit_id.desc()).limit(limit)).all()


def pause_notes(connection: Connection, org_id: UUID, job_id: UUID, since: datetime) -> Sequence[Row[Any]]:
    """Return (until, note) of each pause of a job that ended, or whose note was replaced, since a time; in order."""
    table = AuditEntry.__table__
    before = table.c.before
    query = select(table.c.created_at.label("until"), before["pause_note"].astext.label("note"))
    query = query.where(table.c.org_id == org_id, table.c.entity_id == job_id, table.c.entity_type == "job")
    query = query.where(table.c.created_at >= since, table.c.created_at <= func.cmis.clock())
    replaced = before.has_key("pause_note") & ~before.has_key("status")
    query = query.where((before["status"].astext == "paused") | replaced)
    return connection.execute(query.order_by(table.c.created_at)).all()
