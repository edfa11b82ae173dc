"""Rules: definitions for people, locks and counters for the engine.

The engine's statements name no configuration column, so that they fire no audit and move no version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from core import driver
from engine.store.statements import with_rows
from models import AutomationRule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row, Select

_UUIDS = ARRAY(Uuid())

# Ascending by id: the lock order of RELIABILITY §2. The row lock is what makes limit and cooldown hold among workers.
_LOCK = text("""
SELECT rule_id, version, name, status, acted_on, acted_today, failures_in_a_row
  FROM cmis.automation_rules WHERE org_id = :org_id AND rule_id = ANY (:rule_ids) ORDER BY rule_id FOR NO KEY UPDATE
""").bindparams(bindparam("rule_ids", type_=_UUIDS))
_LOCK_ACTIVE = text("""
SELECT rule_id, priority FROM cmis.automation_rules
 WHERE org_id = :org_id AND status = 'active' AND trigger_type <> 'event' ORDER BY rule_id FOR NO KEY UPDATE
""")
_DEFINITIONS = text("""
SELECT rule_id, version, name, entity_type, entity_id, trigger_type, event_type, conditions, condition_logic, actions, stop_on_error, priority, status,
       max_executions_per_day, cooldown_minutes, guardrails, min_sample, max_data_age, delay_between_actions_seconds
  FROM cmis.automation_rules WHERE org_id = :org_id AND rule_id = ANY (:rule_ids)
""").bindparams(bindparam("rule_ids", type_=_UUIDS))
_TRIGGERED = text("""
SELECT rule_id, entity_type, entity_id, priority FROM cmis.automation_rules
 WHERE org_id = :org_id AND event_type = :event_type AND status = 'active' ORDER BY rule_id
""")
_PRIORITIES = text("""
SELECT rule_id, priority FROM cmis.automation_rules WHERE org_id = :org_id AND rule_id = ANY (:rule_ids)
""").bindparams(bindparam("rule_ids", type_=_UUIDS))
_REMEMBER = with_rows("""
INSERT INTO cmis.rule_entity_state (org_id, rule_id, entity_id, last_acted_at, execution_id)
SELECT :org_id, r.rule_id, r.entity_id, :now, r.execution_id
  FROM json_to_recordset(:rows) AS r(rule_id uuid, entity_id uuid, execution_id uuid)
ON CONFLICT (org_id, rule_id, entity_id)
DO UPDATE SET last_acted_at = excluded.last_acted_at, execution_id = excluded.execution_id
""")
_TRIP = text("SELECT rule_id FROM cmis.break_rules(:org_id, :rule_ids) AS b(rule_id)").bindparams(
    bindparam("rule_ids", type_=_UUIDS)
)

_PERFORMANCE = text("SELECT * FROM cmis.v_automation_performance WHERE org_id = :org_id ORDER BY rule_name, rule_id")


def lock(connection: Connection, org_id: UUID, rule_ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Lock rules in id order until the transaction ends; returns their versions, and what they remember."""
    return driver.rows(connection, _LOCK, {"org_id": org_id, "rule_ids": list(rule_ids)})


def definitions(connection: Connection, org_id: UUID, rule_ids: Sequence[UUID]) -> dict[UUID, Row[Any]]:
    """Return what a version fixes of each rule: all that its owner wrote."""
    rows = driver.rows(connection, _DEFINITIONS, {"org_id": org_id, "rule_ids": list(rule_ids)})
    return {row.rule_id: row for row in rows}


def lock_active(connection: Connection, org_id: UUID) -> dict[UUID, str]:
    """Lock all active rules of an org, but those that events trigger, in id order until the transaction ends.

    Returns their priorities.
    """
    rows = connection.execute(_LOCK_ACTIVE, {"org_id": org_id})
    return {row.rule_id: row.priority for row in rows}


def triggered_by(connection: Connection, org_id: UUID, event_type: str) -> Sequence[Row[Any]]:
    """Return the active rules that events of a type trigger (rule_id, entity_type, entity_id, priority), ascending."""
    return connection.execute(_TRIGGERED, {"org_id": org_id, "event_type": event_type}).all()


def priorities(connection: Connection, org_id: UUID, rule_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the priority of each rule, without a lock."""
    rows = connection.execute(_PRIORITIES, {"org_id": org_id, "rule_ids": list(rule_ids)})
    return {row.rule_id: row.priority for row in rows}


def remember(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
    """Start the cooldown of (rule, entity) pairs that were acted on; each pair once."""
    if rows:
        driver.changed(connection, _REMEMBER, {"org_id": org_id, "rows": rows, "now": now})


def trip(connection: Connection, org_id: UUID, rule_ids: Sequence[UUID]) -> set[UUID]:
    """Pause those active rules that failed as often in a row as their guardrails allow; begin to count anew. Returns them."""
    return {row.rule_id for row in driver.rows(connection, _TRIP, {"org_id": org_id, "rule_ids": list(rule_ids)})}


def create(connection: Connection, values: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Insert one rule or several."""
    connection.execute(insert(AutomationRule), values)


def listing(connection: Connection, org_id: UUID, *, status: str | None = None) -> Sequence[Row[Any]]:
    """Return the org's rules, oldest first; archived ones only when asked for."""
    query = select(AutomationRule.__table__).where(AutomationRule.org_id == org_id).order_by(AutomationRule.rule_id)
    wanted = AutomationRule.status == status if status else AutomationRule.status != "archived"
    return connection.execute(query.where(wanted)).all()


def effects_of_active(connection: Connection, org_id: UUID) -> Sequence[Row[Any]]:
    """Return what the org's active rules do and to what, oldest first."""
    table = AutomationRule
    columns = (table.rule_id, table.name, table.entity_id, table.trigger_type, table.conditions, table.condition_logic)
    query = select(*columns, table.actions).where(table.org_id == org_id, table.status == "active")
    return connection.execute(query.order_by(table.rule_id)).all()


def find(connection: Connection, org_id: UUID, reference: UUID | str) -> Sequence[Row[Any]]:
    """Return the rules with this id, or with this exact name."""
    query = select(AutomationRule.__table__).where(AutomationRule.org_id == org_id)
    column = AutomationRule.name if isinstance(reference, str) else AutomationRule.rule_id
    return connection.execute(query.where(column == reference)).all()


def some(connection: Connection, org_id: UUID, rule_ids: Sequence[UUID]) -> dict[UUID, Row[Any]]:
    """Return rules by their ids."""
    query = select(AutomationRule.__table__).where(
        AutomationRule.org_id == org_id, AutomationRule.rule_id.in_(rule_ids)
    )
    return {row.rule_id: row for row in connection.execute(query)}


def made_of(connection: Connection, org_id: UUID, workflow_id: UUID) -> Sequence[Row[Any]]:
    """Return the org's rules that were made of a bundle, oldest first."""
    table = AutomationRule.__table__
    query: Select[Any] = select(table.c.rule_id, table.c.name, table.c.status, table.c.created_at)
    query = query.where(table.c.org_id == org_id, table.c.workflow_id == workflow_id)
    return connection.execute(query.order_by(table.c.rule_id)).all()


def names(connection: Connection, org_id: UUID) -> dict[UUID, str]:
    """Return the name of each of the org's rules, archived ones too."""
    rows = connection.execute(
        select(AutomationRule.rule_id, AutomationRule.name).where(AutomationRule.org_id == org_id)
    )
    return {row.rule_id: row.name for row in rows}


def matching(
    connection: Connection,
    org_id: UUID,
    *,
    status: str | None = None,
    rule_type: str | None = None,
    priority: str | None = None,
) -> Sequence[Row[Any]]:
    """Return the org's rules that are all of what is given, oldest first; archived ones only by their status."""
    table = AutomationRule
    wanted = {table.status: status, table.rule_type: rule_type, table.priority: priority}
    query = select(table.__table__).where(table.org_id == org_id).order_by(table.rule_id)
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column == value)
    return connection.execute(query if status else query.where(table.status != "archived")).all()


def lock_whole(connection: Connection, org_id: UUID, rule_id: UUID) -> Row[Any]:
    """Lock a rule until the transaction ends, and return all of it, as it is then."""
    table = AutomationRule
    query = select(table.__table__).where(table.org_id == org_id, table.rule_id == rule_id)
    return connection.execute(query.with_for_update(key_share=True)).one()


def change(connection: Connection, org_id: UUID, rule_id: UUID, values: Mapping[str, Any]) -> None:
    """Write columns of a locked rule's definition; the triggers audit it and make a version of it."""
    table = AutomationRule
    connection.execute(update(table).where(table.org_id == org_id, table.rule_id == rule_id).values(**values))


def set_status(connection: Connection, org_id: UUID, rule_ids: Sequence[UUID], status: str) -> None:
    """Change the status of locked rules; each makes a version."""
    table = AutomationRule
    change = update(table).where(table.org_id == org_id, table.rule_id.in_(rule_ids))
    connection.execute(change.values(status=status))


def performance(connection: Connection, org_id: UUID) -> Sequence[Row[Any]]:
    """Return the org's rules with how their executions ended (`v_automation_performance`), by name."""
    return connection.execute(_PERFORMANCE, {"org_id": org_id}).all()
