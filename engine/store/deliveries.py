"""Effects on their way outside: what a delivery's task carries, what became of it, what waits for what.

An effect's id has the time of its execution's evaluation; every statement carries bounds on the ids it asks for.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import Uuid

from core.ids import uuid7_floor, uuid7_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from models.enums import ActionStatus

_MILLISECOND: Final = timedelta(milliseconds=1)
_OPTIONAL: Final = JSONB(none_as_null=True)
_IDS: Final = bindparam("ids", type_=ARRAY(Uuid()))
_MINE: Final = "org_id = :org_id AND action_id = ANY (:ids) AND action_id BETWEEN :low AND :high"
_LOCK = text(f"""
SELECT * FROM cmis.automation_actions WHERE {_MINE} ORDER BY action_id FOR NO KEY UPDATE
""").bindparams(_IDS)
_SOME = text(f"SELECT * FROM cmis.automation_actions WHERE {_MINE} ORDER BY action_id").bindparams(_IDS)
_BEGIN = text(f"""
UPDATE cmis.automation_actions
   SET status = 'running', task_id = :task_id, attempts = attempts + 1, waits_for = NULL, next_attempt_at = NULL
 WHERE {_MINE} AND status IN ('queued', 'running', 'unknown')
""").bindparams(_IDS)
_WAIT = text(f"""
UPDATE cmis.automation_actions SET waits_for = :waits_for, next_attempt_at = :next_attempt_at
 WHERE {_MINE} AND status = 'queued'
""").bindparams(_IDS)
_FINISH = text(f"""
UPDATE cmis.automation_actions
   SET status = :status, error = :error, response = :response, waits_for = :waits_for, next_attempt_at = :next_attempt_at,
       finished_at = CASE WHEN :status NOT IN ('queued', 'unknown') THEN CAST(:now AS timestamptz) END
 WHERE {_MINE} AND status IN ('queued', 'running', 'unknown')
""").bindparams(_IDS, bindparam("error", type_=_OPTIONAL), bindparam("response", type_=_OPTIONAL))
_RETRY = text(f"""
UPDATE cmis.automation_actions
   SET status = 'queued', task_id = :task_id, retried_at = :now, finished_at = NULL, waits_for = NULL, next_attempt_at = NULL,
       note = :note
 WHERE {_MINE} AND channel IS NOT NULL AND status IN ('failed', 'discarded', 'unknown')
""").bindparams(_IDS)
# What goes out as one message was planned in one moment: the ids of its effects lie within its millisecond.
_LOCK_PARCEL = text("""
SELECT * FROM cmis.automation_actions
 WHERE org_id = :org_id AND task_id = :task_id AND channel IS NOT NULL AND action_id >= :low AND action_id < :high
 ORDER BY action_id FOR NO KEY UPDATE
""")
_SETTLE = text(f"""
UPDATE cmis.automation_actions
   SET status = :status, finished_at = :now, waits_for = NULL, next_attempt_at = NULL, note = :note,
       error = CASE WHEN :status = 'succeeded' THEN NULL ELSE error END
 WHERE {_MINE} AND channel IS NOT NULL
   AND (status = 'unknown' OR status = 'queued' AND :status = 'discarded')
""").bindparams(_IDS)


def lock(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Lock a delivery's effects until the transaction ends, and return them by id."""
    return connection.execute(_LOCK, _of(org_id, ids)).all()


def some(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Return a delivery's effects by id, as they are."""
    return connection.execute(_SOME, _of(org_id, ids)).all()


def begin(connection: Connection, org_id: UUID, ids: Sequence[UUID], task_id: UUID) -> None:
    """Note that they are about to be sent: what is found so by another attempt may have been."""
    connection.execute(_BEGIN, _of(org_id, ids) | {"task_id": task_id})


def wait(connection: Connection, org_id: UUID, ids: Sequence[UUID], *, waits_for: str, until: datetime) -> None:
    """Note why they are not tried now, and when they will be asked for again."""
    connection.execute(_WAIT, _of(org_id, ids) | {"waits_for": waits_for, "next_attempt_at": until})


def finish(
    connection: Connection, org_id: UUID, ids: Sequence[UUID], ending: Mapping[str, Any], *, now: datetime
) -> None:
    """Write what became of them. `ending`: status, and error, response, waits_for, next_attempt_at where there is one."""
    nothing = dict.fromkeys(("error", "response", "waits_for", "next_attempt_at"))
    connection.execute(_FINISH, _of(org_id, ids) | nothing | dict(ending) | {"now": now})


def lock_parcel(connection: Connection, row: Row[Any]) -> Sequence[Row[Any]]:
    """Lock all that goes out with a locked effect as one message, itself too, and return it by id."""
    made = uuid7_time(row.action_id)
    bounds = {"low": uuid7_floor(made), "high": uuid7_floor(made + _MILLISECOND)}
    return connection.execute(_LOCK_PARCEL, {"org_id": row.org_id, "task_id": row.task_id} | bounds).all()


def send_again(
    connection: Connection, org_id: UUID, ids: Sequence[UUID], task_id: UUID, note: str | None, *, now: datetime
) -> bool:
    """Queue deliveries anew that failed, were given up, or of which nobody knows; False if one is none of these."""
    values = {"task_id": task_id, "note": note, "now": now}
    return connection.execute(_RETRY, _of(org_id, ids) | values).rowcount == len(ids)


def decide(
    connection: Connection, org_id: UUID, ids: Sequence[UUID], status: ActionStatus, note: str | None, *, now: datetime
) -> bool:
    """End deliveries that wait (as discarded), or of which nobody knows; False if one is neither."""
    values = {"status": status.value, "note": note, "now": now}
    return connection.execute(_SETTLE, _of(org_id, ids) | values).rowcount == len(ids)


def _of(org_id: UUID, ids: Sequence[UUID]) -> dict[str, Any]:
    return {"org_id": org_id, "ids": list(ids), "low": min(ids), "high": max(ids)}
