"""Rows of runs that are copied or moved whole, and what the verbs that people use read of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, text

from core import driver
from engine.store.statements import with_rows
from models import WorkflowInstance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

_ENDED: Final = text("""
SELECT step_id FROM cmis.workflow_steps
 WHERE org_id = :org_id AND instance_id = :instance_id AND status IN ('completed', 'failed', 'skipped')
 ORDER BY finished_at, position
""")
_STEP: Final = text("""
SELECT step_id, type, status, attempt, branch_taken, output_data, error, note, decided_by, finished_at
  FROM cmis.workflow_steps WHERE org_id = :org_id AND instance_id = :instance_id AND step_id = :step_id
""")
# What a step put in and out never leaves the database: 2,000 of them may be 500 MB.
_COPY: Final = with_rows("""
WITH r AS MATERIALIZED (
  SELECT * FROM json_to_recordset(:rows) AS x(step_id text, audit_id uuid, told text, details jsonb)),
copied AS (
  UPDATE cmis.workflow_steps s
     SET status = o.status, attempt = o.attempt, branch_taken = o.branch_taken, input_data = o.input_data,
         output_data = o.output_data, error = o.error, decided_by = o.decided_by, started_at = o.started_at,
         finished_at = o.finished_at, duration_ms = o.duration_ms, task_id = NULL,
         note = 'copied from ' || CAST(:source AS text) || coalesce(': ' || o.note, '')
    FROM r JOIN cmis.workflow_steps o ON o.org_id = :org_id AND o.instance_id = :source AND o.step_id = r.step_id
   WHERE s.org_id = :org_id AND s.instance_id = :target AND s.step_id = r.step_id)
INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, details, ip)
SELECT :org_id, :now, audit_id, told, nullif(current_setting('app.current_user_id', true), '')::uuid, 'instance', :target,
       details, nullif(current_setting('app.client_ip', true), '')::inet
  FROM r
""")
# Rows of steps that have ended stay as they are, their places, too.
_MOVE_STEPS: Final = text("""
WITH d AS MATERIALIZED (
  SELECT d.step ->> 'id' AS step_id, d.step ->> 'type' AS type, d.place - 1 AS position
    FROM cmis.workflow_instances i
    JOIN cmis.workflow_template_versions v
      ON v.org_id = :org_id AND v.template_id = i.template_id AND v.version = CAST(:version AS integer)
   CROSS JOIN LATERAL jsonb_array_elements(v.definition -> 'steps') WITH ORDINALITY AS d(step, place)
   WHERE i.org_id = :org_id AND i.instance_id = :instance_id),
placed AS (
  UPDATE cmis.workflow_steps s SET position = d.position, type = d.type FROM d
   WHERE s.org_id = :org_id AND s.instance_id = :instance_id AND s.step_id = d.step_id
     AND s.status NOT IN ('completed', 'failed', 'skipped', 'cancelled'))
INSERT INTO cmis.workflow_steps (org_id, instance_id, step_id, position, type, status)
SELECT :org_id, :instance_id, step_id, position, type, 'pending' FROM d
    ON CONFLICT (org_id, instance_id, step_id) DO NOTHING
""")
_MOVE: Final = text("""
UPDATE cmis.workflow_instances i
   SET version = :version,
       steps_total = (SELECT count(*) FROM cmis.workflow_steps s
                       WHERE s.org_id = :org_id AND s.instance_id = :instance_id)
 WHERE i.org_id = :org_id AND i.instance_id = :instance_id
""")


def ended_steps(connection: Connection, org_id: UUID, instance_id: UUID) -> list[str]:
    """Return the steps of an instance that completed, failed or were skipped, in the order in which they ended."""
    key = {"org_id": org_id, "instance_id": instance_id}
    return [row.step_id for row in driver.rows(connection, _ENDED, key)]


def step(connection: Connection, org_id: UUID, instance_id: UUID, step_id: str) -> Any:
    """Return what became of one step that is there."""
    [row] = driver.rows(connection, _STEP, {"org_id": org_id, "instance_id": instance_id, "step_id": step_id})
    return row


def copy_steps(
    connection: Connection,
    org_id: UUID,
    source: UUID,
    target: UUID,
    rows: Sequence[Mapping[str, Any]],
    *,
    now: datetime,
) -> None:
    """End steps of `target` as those of `source` did, each with an audit entry (step_id, audit_id, told, details)."""
    if rows:
        key = {"org_id": org_id, "source": source, "target": target, "rows": rows, "now": now}
        driver.changed(connection, _COPY, key)


def under_way(
    connection: Connection,
    org_id: UUID,
    *,
    template_id: UUID,
    version: int | None = None,
    instance_id: UUID | None = None,
    limit: int,
) -> list[UUID]:
    """Return the runs of a template that have not ended, in order of their ids."""
    table = WorkflowInstance
    query = select(table.instance_id).where(table.org_id == org_id, table.template_id == template_id)
    query = query.where(table.status.in_(["pending", "running", "paused"]))
    if version is not None:
        query = query.where(table.version == version)
    if instance_id is not None:
        query = query.where(table.instance_id == instance_id)
    return list(connection.execute(query.order_by(table.instance_id).limit(limit)).scalars())


def move(connection: Connection, org_id: UUID, instance_id: UUID, version: int) -> None:
    """Give a locked run another version: rows for the steps that it has not yet, and places anew for those to come."""
    key = {"org_id": org_id, "instance_id": instance_id, "version": version}
    driver.changed(connection, _MOVE_STEPS, key)
    driver.changed(connection, _MOVE, key)
