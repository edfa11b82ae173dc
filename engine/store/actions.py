"""Effects after their execution: listed for people, decided, taken back; and the end of the execution that waited.

Partitioned on its UUIDv7 id, which an effect gets when its execution runs: every statement carries bounds on it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select, text

from core.ids import uuid7_floor, uuid7_time
from models import AutomationAction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row, Select

    from models.enums import ActionStatus, PermitVerb, Role

_LONGEST_WAIT: Final = timedelta(days=28)
"""An execution runs at most so long after its id was made."""
_MILLISECOND: Final = timedelta(milliseconds=1)
_LOCK: Final = text("""
SELECT * FROM cmis.automation_actions WHERE org_id = :org_id AND action_id = :action_id FOR NO KEY UPDATE
""")
MOVED_ON: Final = "MOVED_ON"
"""Error code of a rejected effect whose campaign had moved on: it keeps nothing from being asked for again."""
_DECIDE: Final = text("""
UPDATE cmis.automation_actions
   SET status = :status, finished_at = :now, decided_by = :user_id, decided_at = :now, note = :note,
       error = CASE WHEN :moved_on THEN error || jsonb_build_object('code', 'MOVED_ON') ELSE error END
 WHERE org_id = :org_id AND action_id = :action_id AND status = 'held'
""")
_UNDO: Final = text("""
UPDATE cmis.automation_actions SET status = 'undone', undone_by = :user_id, undone_at = :now
 WHERE org_id = :org_id AND action_id = :action_id AND status = 'succeeded'
""")
_PERMIT: Final = text("SELECT cmis.permit_effect(:action_id, :verb)")
_REQUIRE_ROLE: Final = text("SELECT cmis.require_role(:least)")


def get(connection: Connection, org_id: UUID, action_id: UUID) -> Row[Any] | None:
    """Return one effect."""
    table = AutomationAction
    query = select(table.__table__).where(table.org_id == org_id, table.action_id == action_id)
    return connection.execute(query).one_or_none()


def lock(connection: Connection, org_id: UUID, action_id: UUID) -> Row[Any]:
    """Lock an effect that exists until the transaction ends, and return it; after its rule and its campaign."""
    return connection.execute(_LOCK, {"org_id": org_id, "action_id": action_id}).one()


def listing(
    connection: Connection,
    org_id: UUID,
    *,
    since: datetime,
    until: datetime,
    matching: Mapping[str, Any],
    limit: int | None = None,
) -> Sequence[Row[Any]]:
    """Return effects of executions of a period, newest first; `matching`: columns (status, rule_id …) and their values."""
    query = _of(org_id, uuid7_floor(since), uuid7_floor(until + _MILLISECOND), matching)
    return connection.execute(query.limit(limit)).all()


def of_execution(connection: Connection, org_id: UUID, execution_id: UUID) -> Sequence[Row[Any]]:
    """Return the effects of an execution, the last one first."""
    made = uuid7_time(execution_id)
    bounds = uuid7_floor(made), uuid7_floor(made + _LONGEST_WAIT)
    return connection.execute(_of(org_id, *bounds, {"execution_id": execution_id})).all()


def permit(connection: Connection, action_id: UUID, verb: PermitVerb) -> None:
    """Put on record that the transaction's user lets an effect pass the guardrails; the database refuses others (42501)."""
    connection.execute(_PERMIT, {"action_id": action_id, "verb": verb.value})


def require_role(connection: Connection, least: Role) -> None:
    """Have the database refuse (42501) a user of the transaction who has a lesser role in the org."""
    connection.execute(_REQUIRE_ROLE, {"least": least.value})


def decide(
    connection: Connection, row: Row[Any], status: ActionStatus, decided: Mapping[str, Any], *, moved_on: bool
) -> bool:
    """End a held effect as `succeeded` or `rejected`; False if it is not held. `decided`: user_id, note, now.

    `moved_on`: the campaign is not any more as the effect found it, so that the decision says nothing of another one.
    """
    values = {"org_id": row.org_id, "action_id": row.action_id, "status": status.value, "moved_on": moved_on}
    return connection.execute(_DECIDE, values | dict(decided)).rowcount == 1


def undo(connection: Connection, org_id: UUID, action_id: UUID, *, user_id: UUID, now: datetime) -> bool:
    """Mark an applied effect as undone; False if it is none."""
    values = {"org_id": org_id, "action_id": action_id, "user_id": user_id, "now": now}
    return connection.execute(_UNDO, values).rowcount == 1


def _of(org_id: UUID, low: UUID, high: UUID, matching: Mapping[str, Any]) -> Select[Any]:
    table = AutomationAction.__table__
    query = select(table).where(table.c.org_id == org_id, table.c.action_id.between(low, high))
    for column, value in matching.items():
        query = query.where(table.c[column] == value)
    # what was approved later came later; ids below the millisecond are chance
    happened = func.coalesce(table.c.finished_at, table.c.created_at)
    return query.order_by(happened.desc(), table.c.execution_id.desc(), table.c.position.desc(), table.c.action_id)
