"""Executions, their effects and notifications: written in bulk by the engine, read by people.

Both tables are partitioned on their UUIDv7 id, so that every statement carries bounds on it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from core import driver
from core.ids import uuid7_floor, uuid7_time
from core.written import lines
from engine.store.occurrences import NAMED, NAMES, names
from engine.store.statements import with_rows
from models import AutomationAction, AutomationExecution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

HELD_SEARCH = timedelta(days=28)
"""How far back an effect that is still held, or was rejected, keeps the same rule from asking again."""
_LONGEST_WAIT = timedelta(days=28)
# No id is newer; without an upper bound the months that are made ahead would be read, too.
_NEWEST = func.cmis.uuid_v7_floor(func.cmis.clock() + timedelta(minutes=1), type_=Uuid())

# Rows with an `audit_id` are audited, those with an `outcome` close their occurrence. The rows are unpacked once for all
# four tables. What each has seen, most of its
# text, comes beside them, one line a row: so it is read once, and not taken out of a document first. Rules
# are listed beside the join: without, all that a large org has were read for one of them.
_INSERT = with_rows(f"""
WITH r AS MATERIALIZED (
  SELECT r.*, r.unnest::jsonb AS conditions_evaluated FROM ROWS FROM (
         json_to_recordset(:rows) AS (error jsonb, job_id uuid, origin text, status text, attempt integer,
         context jsonb, outcome text, results jsonb, rule_id uuid, trigger text, user_id uuid, acted_on date, audit_id uuid,
         acted_today integer, duration_ms integer, skip_reason text, execution_id uuid, rule_version bigint,
         scheduled_for timestamptz, actions_executed jsonb, failures_in_a_row integer),
         unnest(string_to_array(:seen, E'\\n'))) AS r),
made AS (
  INSERT INTO cmis.automation_executions (org_id, execution_id, rule_id, rule_version, task_id, job_id, trigger,
         scheduled_for, status, skip_reason, attempt, started_at, finished_at, duration_ms, conditions_evaluated,
         actions_executed, results, error, context, acted_on)
  SELECT :org_id, r.execution_id, r.rule_id, r.rule_version, :task_id, r.job_id, r.trigger, r.scheduled_for, r.status,
         r.skip_reason, r.attempt, :now, CASE WHEN r.status <> 'running' THEN :now END, r.duration_ms,
         r.conditions_evaluated, r.actions_executed, r.results, r.error, r.context, r.acted_on FROM r),
audited AS (
  INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, rule_id,
         execution_id, details, ip)
  SELECT :org_id, :now, r.audit_id, 'rule_executed',
         coalesce(r.user_id, nullif(current_setting('app.current_user_id', true), '')::uuid), 'rule', r.rule_id, r.rule_id,
         r.execution_id, jsonb_build_object('status', r.status, 'skip_reason', r.skip_reason, 'results', r.results,
                                            'error', r.error),
         nullif(current_setting('app.client_ip', true), '')::inet
    FROM r WHERE r.audit_id IS NOT NULL),
counted AS (
  UPDATE cmis.automation_rules a
     SET success_count = a.success_count + (r.status = 'success')::integer,
         partial_count = a.partial_count + (r.status = 'partial')::integer,
         failure_count = a.failure_count + (r.status = 'failure')::integer,
         skipped_count = a.skipped_count + (r.status = 'skipped')::integer,
         acted_on = coalesce(r.acted_on, a.acted_on), acted_today = coalesce(r.acted_today, a.acted_today),
         failures_in_a_row = coalesce(r.failures_in_a_row, a.failures_in_a_row),
         last_executed_at = CASE WHEN r.status = 'skipped' THEN a.last_executed_at ELSE :now END
    FROM r WHERE a.org_id = :org_id AND a.rule_id = ANY (:rules) AND a.rule_id = r.rule_id)
UPDATE cmis.occurrences o SET outcome = r.outcome, finished_at = :now
  FROM r WHERE {NAMED} AND o.outcome IS NULL AND r.outcome IS NOT NULL
""").bindparams(bindparam("rules", type_=ARRAY(Uuid())), *NAMES)
_INSERT_ACTIONS = with_rows("""
WITH r AS MATERIALIZED (
  SELECT * FROM json_to_recordset(:rows) AS r(action_id uuid, execution_id uuid, rule_id uuid, task_id uuid, position integer,
         type text, params jsonb, entity_id uuid, before jsonb, after jsonb, idempotency_key text, status text, error jsonb,
         channel text, audit_id uuid, user_id uuid, acts boolean, entity_type text, instance_id uuid, step_id text)),
made AS (
  INSERT INTO cmis.automation_actions (org_id, action_id, execution_id, rule_id, task_id, position, type, params,
         entity_type, entity_id, before, after, idempotency_key, status, error, channel, instance_id, step_id, created_at,
         finished_at)
  SELECT :org_id, r.action_id, r.execution_id, r.rule_id, coalesce(r.task_id, :task_id), r.position, r.type, r.params,
         coalesce(r.entity_type, 'campaign'), r.entity_id, r.before, r.after, r.idempotency_key, r.status, r.error, r.channel,
         r.instance_id, r.step_id, :now,
         CASE WHEN r.status NOT IN ('held', 'queued') THEN :now END FROM r),
audited AS (
  INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, rule_id,
         execution_id, action_id, before, after, details, ip)
  SELECT :org_id, :now, r.audit_id, 'action_taken',
         coalesce(r.user_id, nullif(current_setting('app.current_user_id', true), '')::uuid),
         coalesce(r.entity_type, 'campaign'), r.entity_id,
         r.rule_id, r.execution_id, r.action_id, r.before, r.after,
         jsonb_strip_nulls(jsonb_build_object('type', r.type, 'instance_id', r.instance_id, 'step_id', r.step_id)),
         nullif(current_setting('app.client_ip', true), '')::inet
    FROM r WHERE r.audit_id IS NOT NULL)
INSERT INTO cmis.rule_entity_state (org_id, rule_id, entity_id, last_acted_at, execution_id)
SELECT DISTINCT :org_id, r.rule_id, CASE r.entity_type WHEN 'event' THEN r.rule_id ELSE r.entity_id END, :now, r.execution_id
  FROM r WHERE r.acts
ON CONFLICT (org_id, rule_id, entity_id)
DO UPDATE SET last_acted_at = excluded.last_acted_at, execution_id = excluded.execution_id
""")
_INSERT_NOTIFICATIONS = with_rows("""
INSERT INTO cmis.notifications (org_id, notification_id, channel, title, body, rule_id, execution_id, action_id, entity_id,
       position, entities, created_at)
SELECT :org_id, r.notification_id, r.channel, r.title, r.body, r.rule_id, r.execution_id, r.action_id, r.entity_id,
       r.position, coalesce(r.entities, 1), :now
  FROM json_to_recordset(:rows) AS r(notification_id uuid, channel text, title text, body text, rule_id uuid,
       execution_id uuid, action_id uuid, entity_id uuid, position integer, entities integer)
""")
_NOTIFIED = text("""
SELECT action_id, execution_id, position FROM cmis.notifications
 WHERE org_id = :org_id AND (action_id = ANY (:ids) OR action_id IS NULL AND execution_id = ANY (:executions))
""").bindparams(bindparam("ids", type_=ARRAY(Uuid())), bindparam("executions", type_=ARRAY(Uuid())))


def insert(
    connection: Connection,
    org_id: UUID,
    task_id: UUID,
    rows: Sequence[Mapping[str, Any]],
    seen: Sequence[Mapping[str, Any]],
    *,
    now: datetime,
) -> None:
    """Insert executions of different rules, with all that they leave behind: audit entries, counters, outcomes.

    `seen` are their `conditions_evaluated`, in the rows' order.

    One whose status is not `running` is final at once. Beside its columns a row may have `audit_id`, its entry's id, and
    `user_id`, who acted if not the transaction's user; `acted_today` and `failures_in_a_row`, what the rule remembers from
    now on; `origin` and `outcome`, how its occurrence ends.
    """
    if rows:
        named = names([row for row in rows if row.get("outcome")]) | {"rules": [row["rule_id"] for row in rows]}
        values = {"org_id": org_id, "task_id": task_id, "rows": rows, "seen": lines(seen), "now": now}
        driver.changed(connection, _INSERT, values | named)


def insert_actions(
    connection: Connection, org_id: UUID, task_id: UUID, rows: Sequence[Mapping[str, Any]], *, now: datetime
) -> None:
    """Insert effects, their audit entries (as `insert` does), and the cooldowns of those that act (`acts`).

    All but held and queued ones are final at once. A queued one names the task that will apply it.
    """
    if rows:
        driver.changed(connection, _INSERT_ACTIONS, {"org_id": org_id, "task_id": task_id, "rows": rows, "now": now})


def insert_notifications(
    connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]], *, now: datetime
) -> None:
    """Insert notifications into the org's own list; one that stands for many `entities` has no action and no entity."""
    connection.execute(_INSERT_NOTIFICATIONS, {"org_id": org_id, "rows": rows, "now": now})


def notified(
    connection: Connection, org_id: UUID, action_ids: Sequence[UUID], execution_ids: Sequence[UUID]
) -> Sequence[Row[Any]]:
    """Return (action_id, execution_id, position) of the actions' notifications, and of those that stand for many."""
    values = {"org_id": org_id, "ids": list(action_ids), "executions": list(execution_ids)}
    return connection.execute(_NOTIFIED, values).all()


def listing(
    connection: Connection,
    org_id: UUID,
    *,
    since: datetime,
    rule_id: UUID | None = None,
    status: str | None = None,
    limit: int = 50,
) -> Sequence[Row[Any]]:
    """Return executions newest first, none older than `since`."""
    table = AutomationExecution
    query = select(table.__table__).where(table.org_id == org_id)
    query = query.where(table.execution_id.between(uuid7_floor(since), _NEWEST))
    if rule_id:
        query = query.where(table.rule_id == rule_id)
    if status:
        query = query.where(table.status == status)
    return connection.execute(query.order_by(table.execution_id.desc()).limit(limit)).all()


def get(connection: Connection, org_id: UUID, execution_id: UUID) -> Row[Any] | None:
    """Return one execution."""
    table = AutomationExecution
    query = select(table.__table__).where(table.org_id == org_id, table.execution_id == execution_id)
    return connection.execute(query).one_or_none()


def actions_of(connection: Connection, org_id: UUID, execution_id: UUID) -> Sequence[Row[Any]]:
    """Return the effects of an execution in their order; it ran within four weeks of its id, which its task was made with."""
    table, made = AutomationAction, uuid7_time(execution_id)
    query = (
        select(table.__table__)
        .where(table.org_id == org_id, table.execution_id == execution_id)
        .where(table.action_id.between(uuid7_floor(made), uuid7_floor(made + _LONGEST_WAIT)))
        .order_by(table.entity_id, table.position)
    )
    return connection.execute(query).all()
