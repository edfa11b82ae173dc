"""What people do to tasks: deal with those that ended badly, end or hasten those that wait, ask running ones to stop.

Each is one guarded statement; no row is a normal answer: somebody else was faster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from models.queue_enums import Handling

_MINE = "WHERE org_id = :org_id AND task_id = :task_id"
# Nobody waits for a worker that has the task in its hands: it is not there for long, or cannot be stopped anyway.
_LOCK = text(f"SELECT * FROM cmis.tasks {_MINE} FOR NO KEY UPDATE SKIP LOCKED")
_HANDLE = text(f"""
UPDATE cmis.tasks
   SET handled_at = :now, handled_by = nullif(current_setting('app.current_user_id', true), '')::uuid, handled_as = :how,
       handled_note = :note
 {_MINE} AND state IN ('failed', 'dead') AND handled_at IS NULL
""")
_CANCEL = text(f"""
UPDATE cmis.tasks SET state = 'cancelled', finished_at = :now, error = :error {_MINE} AND state IN ('ready', 'held')
""").bindparams(bindparam("error", type_=JSONB))
_ASK_TO_STOP = text(
    f"UPDATE cmis.tasks SET cancel_requested = true {_MINE} AND state = 'running' AND NOT cancel_requested"
)
_HASTEN = text(f"""
UPDATE cmis.tasks SET run_at = :now, publish_at = :now, published_at = NULL, delivery = 0
 {_MINE} AND state = 'ready' AND run_at > :now
""")


def lock(connection: Connection, org_id: UUID, task_id: UUID) -> Row[Any] | None:
    """Lock a task until the transaction ends, and return it; None if it is not there, or somebody has it locked."""
    return connection.execute(_LOCK, {"org_id": org_id, "task_id": task_id}).one_or_none()


def handle(
    connection: Connection, org_id: UUID, task_id: UUID, how: Handling, note: str | None, *, now: datetime
) -> bool:
    """Note that the transaction's user has dealt with a dead letter; False if it is none, or was dealt with before."""
    values = {"org_id": org_id, "task_id": task_id, "how": how.value, "note": note, "now": now}
    return connection.execute(_HANDLE, values).rowcount == 1


def cancel(connection: Connection, org_id: UUID, task_id: UUID, error: Mapping[str, Any], *, now: datetime) -> bool:
    """End a task that nobody has begun; what hangs on it is the caller's to close."""
    values = {"org_id": org_id, "task_id": task_id, "error": dict(error), "now": now}
    return connection.execute(_CANCEL, values).rowcount == 1


def ask_to_stop(connection: Connection, org_id: UUID, task_id: UUID) -> bool:
    """Ask a running task to stop; False if it does not run, or was asked before."""
    return connection.execute(_ASK_TO_STOP, {"org_id": org_id, "task_id": task_id}).rowcount == 1


def hasten(connection: Connection, org_id: UUID, task_id: UUID, *, now: datetime) -> bool:
    """Let a task that waits for its time be due at once; False if it does not wait for that."""
    return connection.execute(_HASTEN, {"org_id": org_id, "task_id": task_id, "now": now}).rowcount == 1
