"""What people decide about deliveries: send again what failed or is in doubt, give up what waits, say that one arrived.

Each is one transaction, by an operator or more, on record. What is decided so already is left as it is. The task that
had failed to deliver is dealt with thereby.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core import clock
from core.db import repeat_on_conflict
from core.errors import ConflictError
from core.ids import uuid7
from engine import effects, urgency
from engine.deliver.enqueue import Parcel
from engine.store import actions, audit, dead_letters, deliveries, tasks
from models.audit_actions import AuditAction
from models.enums import ActionStatus, Role
from models.queue_enums import Handling

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database


@dataclass(frozen=True, slots=True)
class Redelivered:
    """A delivery with what was decided. `already`: it was so before, and nothing was done now."""

    action_id: UUID
    status: ActionStatus
    already: bool


@dataclass(frozen=True, slots=True)
class _Decision:
    """One decision about one delivery that is locked."""

    connection: Connection
    row: Row[Any]
    parcel: Sequence[Row[Any]]
    """All that went out with it as one message and is as it is; it is one of them."""
    note: str | None
    now: datetime

    def record(self, row: Row[Any], action: AuditAction, **details: Any) -> dict[str, Any]:
        """Return what is put on record of a delivery."""
        told = {"type": row.type, "channel": row.channel} | effects.of_step(row) | details
        told |= {} if self.note is None else {"note": self.note}
        return {
            "audit_id": uuid7(self.now),
            "action": action.value,
            "entity_type": row.entity_type,
            "entity_id": row.entity_id,
            "rule_id": row.rule_id,
            "execution_id": row.execution_id,
            "action_id": row.action_id,
            "details": told,
        }


def retry(database: Database, context: Context, action_id: UUID, *, note: str | None = None) -> Redelivered:
    """Send a delivery again, under its key: one that failed, was discarded, or of which nobody knows.

    All that went out with it as one message goes out as one again. One that waits is due at once. It has all its
    attempts again; how its execution ended stays, if it has ended.
    Raises NotFoundError; ConflictError if it is being sent now, was delivered, or is no delivery.
    """
    return _decide(database, context, action_id, note, _retry)


def discard(database: Database, context: Context, action_id: UUID, *, note: str | None = None) -> Redelivered:
    """Give a delivery up that waits, or of which nobody knows.

    Raises NotFoundError; ConflictError if it is being sent now, has ended otherwise, or is no delivery.
    """
    return _decide(database, context, action_id, note, _discard)


def confirm(database: Database, context: Context, action_id: UUID, *, note: str | None = None) -> Redelivered:
    """Say of a delivery of which nobody knew that it arrived, and with it all of its message.

    Raises NotFoundError; ConflictError if it is not in doubt, or is no delivery.
    """
    return _decide(database, context, action_id, note, _confirm)


def _decide(
    database: Database,
    context: Context,
    action_id: UUID,
    note: str | None,
    verdict: Callable[[_Decision], Redelivered],
) -> Redelivered:
    effects.check_note(note)

    def body() -> Redelivered:
        with database.transaction(context) as connection:
            return _decide_in(connection, context.org_id, action_id, note, verdict)

    return repeat_on_conflict(body)


def retry_in(connection: Connection, org_id: UUID, action_id: UUID, note: str | None) -> Redelivered:
    """Do what `retry` does, in the caller's transaction."""
    return _decide_in(connection, org_id, action_id, note, _retry)


def discard_in(connection: Connection, org_id: UUID, action_id: UUID, note: str | None) -> Redelivered:
    """Do what `discard` does, in the caller's transaction."""
    return _decide_in(connection, org_id, action_id, note, _discard)


def _decide_in(
    connection: Connection,
    org_id: UUID,
    action_id: UUID,
    note: str | None,
    verdict: Callable[[_Decision], Redelivered],
) -> Redelivered:
    actions.require_role(connection, Role.OPERATOR)
    seen = effects.find(connection, org_id, action_id)
    if seen.channel is None:
        message = f"action {action_id} is no delivery: {seen.type} changes only what is inside"
        raise ConflictError.of("ACTION", message, "see `cmis actions undo`")
    tasks.lock(connection, org_id, seen.task_id)  # the task before its effects, as workers do
    row = actions.lock(connection, org_id, action_id)
    parcel = [one for one in deliveries.lock_parcel(connection, row) if one.status == row.status]
    return verdict(_Decision(connection, row, parcel, note, clock.now(connection)))


def _retry(decision: _Decision) -> Redelivered:
    row, connection, now = decision.row, decision.connection, decision.now
    if row.status == ActionStatus.QUEUED:
        tasks.postpone(connection, row.org_id, row.task_id, until=now, reserved=False)
        return Redelivered(row.action_id, ActionStatus.QUEUED, already=True)
    parcel = Parcel(uuid7(now), [one.action_id for one in decision.parcel])
    if not deliveries.send_again(connection, row.org_id, parcel.action_ids, parcel.task_id, decision.note, now=now):
        raise _refused(row)
    tasks.insert(
        connection, [parcel.row(row.org_id, now=now) | {"retry_of": row.task_id, "priority": urgency.MANUAL}], now=now
    )
    dead_letters.handle(connection, row.org_id, row.task_id, Handling.RETRIED, decision.note, now=now)
    entries = [decision.record(one, AuditAction.ACTION_RETRIED, was=one.status) for one in decision.parcel]
    audit.record(connection, row.org_id, entries, now=now)
    return Redelivered(row.action_id, ActionStatus.QUEUED, already=False)


def _discard(decision: _Decision) -> Redelivered:
    row = decision.row
    entry = decision.record(row, AuditAction.ACTION_DISCARDED, was=row.status)
    return _end(decision, [row], ActionStatus.DISCARDED, [entry])


def _confirm(decision: _Decision) -> Redelivered:
    how = "a person says that it arrived"
    resolved = [decision.record(one, AuditAction.ACTION_RESOLVED, how=how) for one in decision.parcel]
    taken = [decision.record(one, AuditAction.ACTION_TAKEN) for one in decision.parcel]
    return _end(decision, decision.parcel, ActionStatus.SUCCEEDED, [*resolved, *taken])


def _end(
    decision: _Decision, rows: Sequence[Row[Any]], status: ActionStatus, entries: Sequence[dict[str, Any]]
) -> Redelivered:
    row, connection, now = decision.row, decision.connection, decision.now
    if row.status == status:
        return Redelivered(row.action_id, status, already=True)
    ids = [one.action_id for one in rows]
    if not deliveries.decide(connection, row.org_id, ids, status, decision.note, now=now):
        raise _refused(row)
    audit.record(connection, row.org_id, entries, now=now)
    effects.settle(connection, row.org_id, row, now=now)
    if len(rows) == len(decision.parcel):  # nothing of it is left in doubt
        how = Handling.RESOLVED if status == ActionStatus.SUCCEEDED else Handling.DISCARDED
        dead_letters.handle(connection, row.org_id, row.task_id, how, decision.note, now=now)
    return Redelivered(row.action_id, status, already=False)


def _refused(row: Row[Any]) -> ConflictError:
    return ConflictError.of("ACTION", f"action {row.action_id} is {row.status}", "see `cmis actions show`")
