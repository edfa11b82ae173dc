"""Actions that wait for their delay: what a task is to apply, what became of it, and the end of their execution.

An execution's actions are made in one moment, its evaluation's (`started_at`): their ids lie within its millisecond.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from core.ids import uuid7_floor, uuid7_time
from engine.store.statements import with_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

_MILLISECOND: Final = timedelta(milliseconds=1)
_QUEUED = text("""
SELECT action_id, entity_id, position, type, params FROM cmis.automation_actions
 WHERE org_id = :org_id AND execution_id = :execution_id AND task_id = :task_id AND status = 'queued'
   AND action_id BETWEEN :low AND :high ORDER BY entity_id
""")
# A campaign counts as changed as it does for the database (cmis.run_changes): also where that was undone since, and not
# where a person let it pass. What tells a connector of a change is no action of the rule.
_BEFORE = text("""
SELECT entity_id, bool_or(status = 'failed') AS failed,
       bool_or(status IN ('succeeded', 'undone') AND decided_at IS NULL AND before <> '{}') AS changed
  FROM cmis.automation_actions
 WHERE org_id = :org_id AND execution_id = :execution_id AND task_id <> :task_id
   AND status IN ('failed', 'succeeded', 'undone') AND channel IS DISTINCT FROM 'connector'
   AND action_id BETWEEN :low AND :high GROUP BY entity_id
""")
_FINISH = with_rows("""
UPDATE cmis.automation_actions a
   SET status = r.status, before = r.before, after = r.after, error = r.error, channel = r.channel,
       task_id = coalesce(r.task_id, a.task_id),
       finished_at = CASE WHEN r.status NOT IN ('held', 'queued') THEN CAST(:now AS timestamptz) END
  FROM json_to_recordset(:rows) AS r(action_id uuid, status text, before jsonb, after jsonb, error jsonb, channel text,
       task_id uuid)
 WHERE a.org_id = :org_id AND a.action_id = r.action_id AND a.status = 'queued' AND a.action_id BETWEEN :low AND :high
""")
_SETTLE = text("SELECT cmis.settle_execution(:org_id, :execution_id, :now)")


def queued(connection: Connection, org_id: UUID, execution_id: UUID, task_id: UUID) -> Sequence[Row[Any]]:
    """Return the actions that a task is to apply, by entity; the task was made with them."""
    key = {"org_id": org_id, "execution_id": execution_id, "task_id": task_id}
    return connection.execute(_QUEUED, key | _bounds(task_id)).all()


def before(connection: Connection, org_id: UUID, execution_id: UUID, task_id: UUID) -> Sequence[Row[Any]]:
    """Return (entity_id, failed, changed): of which entities an execution's other actions failed, which they changed."""
    key = {"org_id": org_id, "execution_id": execution_id, "task_id": task_id}
    return connection.execute(_BEFORE, key | _bounds(task_id)).all()


def finish(
    connection: Connection, org_id: UUID, task_id: UUID, rows: Sequence[Mapping[str, Any]], *, now: datetime
) -> int:
    """Write what became of queued actions (action_id, status, before, after, error); returns of how many.

    One that is to be delivered names its channel, and the task that will do so (`task_id`).
    """
    if not rows:
        return 0
    values = {"org_id": org_id, "rows": rows, "now": now}
    return connection.execute(_FINISH, values | _bounds(task_id)).rowcount


def settle(connection: Connection, org_id: UUID, execution_id: UUID, *, now: datetime) -> str | None:
    """Release the next action that waits; else give the execution its occurrence's outcome, its status and its counters.

    Returns the status that it is closed with; None while an action of it is queued or held, and once it is closed.
    """
    values = {"org_id": org_id, "execution_id": execution_id, "now": now}
    status: str | None = connection.execute(_SETTLE, values).scalar_one()
    return status


def _bounds(task_id: UUID) -> dict[str, UUID]:
    made = uuid7_time(task_id)
    return {"low": uuid7_floor(made), "high": uuid7_floor(made + _MILLISECOND)}
