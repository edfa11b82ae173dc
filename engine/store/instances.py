"""Runs of workflows and their steps: made, locked, read, written. Who writes holds the lock on the instance.

What changes a step is one statement for all steps of all instances that a commit is about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT
from sqlalchemy.types import Uuid

from core import driver
from core.ids import uuid7
from engine.store import tasks
from engine.store.statements import with_rows
from models.enums import Queue, TaskKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

TIMEOUT_SECONDS: Final = 300
"""How long one task of workflows may take, unless a step that it runs is given longer."""
_IDS: Final = bindparam("ids", type_=ARRAY(Uuid()))
_ACTOR: Final = "nullif(current_setting('app.current_user_id', true), '')::uuid"
_IP: Final = "nullif(current_setting('app.client_ip', true), '')::inet"

# A second instance of a key, or of an id that was made beforehand, is not made; nor is anything that belongs to it.
_CREATE = with_rows(f"""
WITH r AS MATERIALIZED (
  SELECT * FROM json_to_recordset(:rows) AS x(instance_id uuid, template_id uuid, version integer, trigger_type text,
         triggered_by uuid, event_id uuid, job_id uuid, origin text, scheduled_for timestamptz, action_id uuid,
         parent_instance_id uuid, parent_step_id text, forked_from uuid, idempotency_key text, context_data jsonb,
         steps_total integer, timeout_at timestamptz, timeout_task_id uuid, start text, task_id uuid, audit_id uuid)),
made AS (
  INSERT INTO cmis.workflow_instances (org_id, instance_id, template_id, version, trigger_type, triggered_by, event_id, job_id,
         origin, scheduled_for, action_id, parent_instance_id, parent_step_id, forked_from, idempotency_key, context_data,
         steps_total, timeout_at, timeout_task_id, created_at)
  SELECT :org_id, instance_id, template_id, version, trigger_type, triggered_by, event_id, job_id, origin, scheduled_for,
         action_id, parent_instance_id, parent_step_id, forked_from, idempotency_key, context_data, steps_total, timeout_at,
         timeout_task_id, :now
    FROM r
  ON CONFLICT DO NOTHING
  RETURNING instance_id),
steps AS (
  INSERT INTO cmis.workflow_steps (org_id, instance_id, step_id, position, type, status, task_id)
  SELECT :org_id, r.instance_id, d.step ->> 'id', d.place - 1, d.step ->> 'type',
         CASE WHEN d.step ->> 'id' = r.start THEN 'queued' ELSE 'pending' END,
         CASE WHEN d.step ->> 'id' = r.start THEN r.task_id END
    FROM made JOIN r USING (instance_id)
    JOIN cmis.workflow_template_versions v ON v.org_id = :org_id AND v.template_id = r.template_id AND v.version = r.version
   CROSS JOIN LATERAL jsonb_array_elements(v.definition -> 'steps') WITH ORDINALITY AS d(step, place)),
told AS (
  INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, action_id,
         details, ip)
  SELECT :org_id, :now, r.audit_id, 'instance_started', {_ACTOR}, 'instance', r.instance_id, r.action_id,
         jsonb_strip_nulls(jsonb_build_object('template_id', r.template_id, 'version', r.version, 'trigger', r.trigger_type,
           'event_id', r.event_id, 'job_id', r.job_id, 'parent', r.parent_instance_id, 'forked_from', r.forked_from)), {_IP}
    FROM made JOIN r USING (instance_id))
SELECT instance_id FROM made
""")
_KNOWN = with_rows("""
SELECT r.place, i.instance_id, i.context_data = r.context_data AS same
  FROM json_to_recordset(:rows) AS r(place integer, instance_id uuid, template_id uuid, idempotency_key text, context_data jsonb)
  JOIN cmis.workflow_instances i ON i.org_id = :org_id
   AND (i.instance_id = r.instance_id OR i.template_id = r.template_id AND i.idempotency_key = r.idempotency_key)
""")
_LOCK = text("""
SELECT instance_id, template_id, version, status, revision, current_step, steps_total, steps_completed, steps_failed, steps_skipped,
       steps_cancelled, job_id, origin, scheduled_for, parent_instance_id, parent_step_id, event_id, triggered_by, timeout_at,
       timeout_task_id, created_at, started_at, action_id,
       CASE WHEN pg_column_size(context_data) <= 2000 THEN context_data END AS context
  FROM cmis.workflow_instances WHERE org_id = :org_id AND instance_id = ANY (:ids) ORDER BY instance_id FOR NO KEY UPDATE
""").bindparams(_IDS)
_STEPS = text("""
SELECT instance_id, step_id, status, branch_taken, attempt, task_id, wake_at, waits_for, action_id, child_instance_id, started_at
  FROM cmis.workflow_steps WHERE org_id = :org_id AND instance_id = ANY (:ids) AND status <> 'pending'
""").bindparams(_IDS)
_CONTEXTS = text("""
SELECT instance_id, context_data FROM cmis.workflow_instances WHERE org_id = :org_id AND instance_id = ANY (:ids)
""").bindparams(_IDS)
_OUTPUTS = text("""
SELECT step_id, output_data FROM cmis.workflow_steps
 WHERE org_id = :org_id AND instance_id = :instance_id AND step_id = ANY (:steps) AND output_data IS NOT NULL
""").bindparams(bindparam("steps", type_=ARRAY(TEXT())))
# The ids once more as an array: planned while the tables were small, the join alone would read all steps of the org.
_WRITE_STEPS = with_rows(f"""
WITH r AS MATERIALIZED (
  SELECT * FROM json_to_recordset(:rows) AS x(instance_id uuid, step_id text, status text, attempt integer, branch_taken text,
         task_id uuid, input_data jsonb, output_data jsonb, error jsonb, note text, decided_by uuid, wake_at timestamptz,
         waits_for text, event_type text, correlation text, action_id uuid, child_instance_id uuid, started_at timestamptz,
         finished_at timestamptz, duration_ms bigint, audit_id uuid, told text, details jsonb)),
written AS (
  UPDATE cmis.workflow_steps s
     SET status = r.status, attempt = coalesce(r.attempt, s.attempt), branch_taken = r.branch_taken,
         task_id = coalesce(r.task_id, s.task_id), input_data = coalesce(r.input_data, s.input_data),
         output_data = r.output_data, error = r.error, note = coalesce(r.note, s.note),
         decided_by = coalesce(r.decided_by, s.decided_by), wake_at = r.wake_at, waits_for = r.waits_for,
         event_type = r.event_type, correlation = r.correlation, action_id = coalesce(r.action_id, s.action_id),
         child_instance_id = coalesce(r.child_instance_id, s.child_instance_id),
         started_at = coalesce(s.started_at, r.started_at), finished_at = r.finished_at, duration_ms = r.duration_ms
    FROM r WHERE s.org_id = :org_id AND s.instance_id = ANY (:ids) AND s.instance_id = r.instance_id AND s.step_id = r.step_id)
INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, action_id, details, ip)
SELECT :org_id, :now, audit_id, told, coalesce(decided_by, {_ACTOR}), 'instance', instance_id, action_id, details, {_IP}
  FROM r WHERE audit_id IS NOT NULL
""").bindparams(_IDS)
_WRITE_INSTANCES = with_rows("""
UPDATE cmis.workflow_instances i
   SET status = r.status, current_step = coalesce(r.current_step, i.current_step),
       steps_completed = i.steps_completed + r.completed, steps_failed = i.steps_failed + r.failed,
       steps_skipped = i.steps_skipped + r.skipped, steps_cancelled = i.steps_cancelled + r.cancelled,
       revision = i.revision + 1,
       error = CASE WHEN i.status = 'paused' AND r.status = 'running' THEN NULL ELSE coalesce(r.error, i.error) END,
       pause_note = CASE WHEN r.status = 'paused' THEN coalesce(r.pause_note, i.pause_note) END,
       started_at = coalesce(i.started_at, r.started_at), finished_at = r.finished_at, duration_ms = r.duration_ms,
       output_data = r.output_data
  FROM json_to_recordset(:rows) AS r(instance_id uuid, status text, current_step text, completed integer, failed integer,
       skipped integer, cancelled integer, error jsonb, pause_note text, started_at timestamptz, finished_at timestamptz,
       duration_ms bigint, output_data jsonb)
 WHERE i.org_id = :org_id AND i.instance_id = ANY (:ids) AND i.instance_id = r.instance_id
""").bindparams(_IDS)
_ASSIGN = with_rows("""
UPDATE cmis.workflow_steps s SET task_id = r.task_id
  FROM json_to_recordset(:rows) AS r(instance_id uuid, step_id text, task_id uuid)
 WHERE s.org_id = :org_id AND s.instance_id = r.instance_id AND s.step_id = r.step_id
""")
_RELEASE = text("""
UPDATE cmis.tasks SET state = 'ready', publish_at = greatest(run_at, CAST(:now AS timestamptz)), published_at = NULL, delivery = 0
 WHERE org_id = :org_id AND kind = 'run_workflow' AND state = 'held'
   AND payload #>> '{items,0,instance_id}' = CAST(:instance_id AS text)
RETURNING task_id, run_at
""")
_DROP_HELD = text("""
UPDATE cmis.tasks SET state = 'cancelled', finished_at = :now
 WHERE org_id = :org_id AND kind = 'run_workflow' AND state = 'held'
   AND payload #>> '{items,0,instance_id}' = CAST(:instance_id AS text)
""")
# Whoever has one of them locked is about to lock the instance, and will see what became of it: nobody waits for anybody.
_CANCEL = text("""
WITH mine AS MATERIALIZED (
  SELECT task_id, state FROM cmis.tasks
   WHERE org_id = :org_id AND task_id = ANY (:ids) AND kind = 'run_workflow' AND state IN ('ready', 'held', 'running')
     AND jsonb_array_length(payload -> 'items') = 1 FOR NO KEY UPDATE SKIP LOCKED)
UPDATE cmis.tasks t
   SET state = CASE WHEN mine.state = 'running' THEN t.state ELSE 'cancelled' END,
       finished_at = CASE WHEN mine.state = 'running' THEN t.finished_at ELSE CAST(:now AS timestamptz) END,
       cancel_requested = t.cancel_requested OR mine.state = 'running'
  FROM mine WHERE t.org_id = :org_id AND t.task_id = mine.task_id
""").bindparams(_IDS)
_ENDED_CHILD = text("""
SELECT status, output_data, error FROM cmis.workflow_instances WHERE org_id = :org_id AND instance_id = :instance_id
""")


def create(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> set[UUID]:
    """Make instances with their steps, the first one queued for `task_id`; returns which are new."""
    found = driver.rows(connection, _CREATE, {"org_id": org_id, "rows": rows, "now": now})
    return {row.instance_id for row in found}


def known(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]]) -> dict[int, Any]:
    """Return (instance_id, same) by `place`: what is there of an id or a key, and whether its context is the same."""
    return {row.place: row for row in driver.rows(connection, _KNOWN, {"org_id": org_id, "rows": rows})}


def lock(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> list[Any]:
    """Lock instances until the transaction ends, ascending by id, and return them without what is large."""
    return driver.rows(connection, _LOCK, {"org_id": org_id, "ids": list(ids)})


def lock_with_steps(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> tuple[list[Any], list[Any]]:
    """Lock instances as `lock` does; returns them, and those of their steps that are not pending.

    Of the steps is left out what went in and came out. They are read once the locks are held.
    """
    key = {"org_id": org_id, "ids": list(ids)}
    found, steps = driver.all_rows(connection, ((_LOCK, key), (_STEPS, key)))
    return found, steps


def contexts(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """Return the contexts of instances."""
    found = driver.rows(connection, _CONTEXTS, {"org_id": org_id, "ids": list(ids)})
    return {row.instance_id: row.context_data for row in found}


def outputs(connection: Connection, org_id: UUID, instance_id: UUID, step_ids: Iterable[str]) -> dict[str, Any]:
    """Return what these steps of an instance put out, as far as they did."""
    key = {"org_id": org_id, "instance_id": instance_id, "steps": list(step_ids)}
    return {row.step_id: row.output_data for row in driver.rows(connection, _OUTPUTS, key)}


def write(
    connection: Connection,
    org_id: UUID,
    steps_: Sequence[Mapping[str, Any]],
    instances: Sequence[Mapping[str, Any]],
    *,
    now: datetime,
) -> None:
    """Write steps, with an audit entry (`told`) of each that has an `audit_id`, and then their instances."""
    if steps_:
        ids = {row["instance_id"] for row in steps_}
        driver.changed(connection, _WRITE_STEPS, {"org_id": org_id, "ids": ids, "rows": steps_, "now": now})
    if instances:
        ids = {row["instance_id"] for row in instances}
        driver.changed(connection, _WRITE_INSTANCES, {"org_id": org_id, "ids": ids, "rows": instances})


def assign(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]]) -> None:
    """Give steps (instance_id, step_id) to other tasks (task_id); they stay as they are."""
    if rows:
        driver.changed(connection, _ASSIGN, {"org_id": org_id, "rows": rows})


def task(org_id: UUID, items: Sequence[Mapping[str, Any]], *, now: datetime, **others: Any) -> dict[str, Any]:
    """Return the row of a new task that carries items: an instance each, and a step and a signal where these are meant."""
    return {
        "org_id": org_id,
        "task_id": uuid7(now),
        "kind": TaskKind.RUN_WORKFLOW.value,
        "queue": Queue.WORKFLOWS.value,
        "payload": {"items": list(items)},
        "run_at": now,
        "attempt": 0,
        "timeout_seconds": TIMEOUT_SECONDS,
    } | others


def wake(
    connection: Connection,
    org_id: UUID,
    signals: Sequence[tuple[UUID, str | None, Mapping[str, Any]]],
    *,
    now: datetime,
) -> list[UUID]:
    """Tell waiting steps (instance, step, signal) what has happened; no lock is needed, a worker looks. Returns task ids.

    A step of None means the instance as a whole.
    """
    rows = [task(org_id, [signalled(*signal)], now=now) for signal in signals]
    tasks.insert(connection, rows, now=now)
    return [row["task_id"] for row in rows]


def signalled(instance_id: UUID, step_id: str | None, signal: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item of a task that tells of a signal."""
    step = {} if step_id is None else {"step_id": step_id}
    return {"instance_id": str(instance_id), **step, "signal": dict(signal)}


def release(connection: Connection, org_id: UUID, instance_id: UUID, *, now: datetime) -> list[UUID]:
    """Let the tasks go on that an instance had waiting while it was paused; returns those that are due."""
    key = {"org_id": org_id, "instance_id": instance_id, "now": now}
    return [row.task_id for row in driver.rows(connection, _RELEASE, key) if row.run_at <= now]


def drop_held(connection: Connection, org_id: UUID, instance_id: UUID, *, now: datetime) -> None:
    """Cancel the tasks that an instance had waiting while it was paused: it does not go on."""
    driver.changed(connection, _DROP_HELD, {"org_id": org_id, "instance_id": instance_id, "now": now})


def cancel_tasks(connection: Connection, org_id: UUID, task_ids: Iterable[UUID], *, now: datetime) -> None:
    """Cancel the tasks of steps that are over, and ask those that are at work to stop."""
    if ids := list(task_ids):
        driver.changed(connection, _CANCEL, {"org_id": org_id, "ids": ids, "now": now})


def ended(connection: Connection, org_id: UUID, instance_id: UUID) -> Any | None:
    """Return (status, output_data, error) of an instance."""
    found = driver.rows(connection, _ENDED_CHILD, {"org_id": org_id, "instance_id": instance_id})
    return found[0] if found else None
