"""Runs of workflows as people read them, and rows of steps that are copied whole from one run to another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from core import driver
from engine.store.statements import with_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

_LARGE: Final = ("context_data", "output_data")
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
  SELECT * FROM jsonb_to_recordset(:rows) AS x(step_id text, audit_id uuid, told text, details jsonb)),
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
_EFFECTS: Final = text("""
SELECT action_id, step_id, type, status, entity_id, error, finished_at FROM cmis.automation_actions
 WHERE org_id = :org_id AND instance_id = :instance_id AND action_id BETWEEN :low AND :high ORDER BY action_id
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
