"""What people decide about deliveries: send again what failed or is in doubt, give up what waits, say that one arrived.

Each is one transaction, by an operator or more, on record. What is decided so already is left as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.db import repeat_on_conflict
from core.errors import ConflictError, InputError
from core.ids import uuid7
from engine import effects
from engine.deliver.enqueue import Parcel
from engine.store import actions, audit, deliveries, tasks
from models.audit_actions import AuditAction
from models.enums import ActionStatus, Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database

MAX_NOTE: Final = 2_000


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
    note: str | None
    now: datetime

    def record(self, action: AuditAction, **details: Any) -> dict[str, Any]:
        """Return what is put on record of it."""
        row = self.row
        told = {"type": row.type, "channel": row.channel} | details | ({} if self.note is None else {"note": self.note})
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

    One that waits is due at once. It has all its attempts again; how its execution ended stays, if it has ended.
    Raises NotFoundError; ConflictError if it is being sent now, was delivered, or is no delivery.
    """
    return _decide(database, context, action_id, note, _retry)


def discard(database: Database, context: Context, action_id: UUID, *, note: str | None = None) -> Redelivered:
    """Give a delivery up that waits, or of which nobody knows.

    Raises NotFoundError; ConflictError if it is being sent now, has ended otherwise, or is no delivery.
    """
    return _decide(database, context, action_id, note, _discard)


def confirm(database: Database, context: Context, action_id: UUID, *, note: str | None = None) -> Redelivered:
    """Say of a delivery of which nobody knew that it arrived.

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
    if note is not None and not 0 < len(note.strip()) <= MAX_NOTE:
        raise InputError.of("--note", f"must be a text of 1 to {MAX_NOTE} characters", "shorten it, or leave it out")

    def body() -> Redelivered:
        with database.transaction(context) as connection:
            actions.require_role(connection, Role.OPERATOR)
            seen = effects.find(connection, context.org_id, action_id)
            if seen.channel is None:
                message = f"action {action_id} is no delivery: {seen.type} changes only what is inside"
                raise ConflictError.of("ACTION", message, "see `cmis actions undo`")
            tasks.lock(connection, context.org_id, seen.task_id)  # the task before its effects, as workers do
            row = actions.lock(connection, context.org_id, action_id)
            return verdict(_Decision(connection, row, note, clock.now(connection)))

    return repeat_on_conflict(body)


def _retry(decision: _Decision) -> Redelivered:
    row, connection, now = decision.row, decision.connection, decision.now
    if row.status == ActionStatus.QUEUED:
        tasks.postpone(connection, row.org_id, row.task_id, until=now, reserved=False)
        return Redelivered(row.action_id, ActionStatus.QUEUED, already=True)
    parcel = Parcel(uuid7(now), (row.action_id,))
    if not deliveries.send_again(connection, row.org_id, row.action_id, parcel.task_id, decision.note, now=now):
        raise _refused(row)
    tasks.insert(connection, [parcel.row(row.org_id, now=now)], now=now)
    audit.record(connection, row.org_id, [decision.record(AuditAction.ACTION_RETRIED, was=row.status)], now=now)
    return Redelivered(row.action_id, ActionStatus.QUEUED, already=False)


def _discard(decision: _Decision) -> Redelivered:
    return _end(
        decision, ActionStatus.DISCARDED, decision.record(AuditAction.ACTION_DISCARDED, was=decision.row.status)
    )


def _confirm(decision: _Decision) -> Redelivered:
    resolved = decision.record(AuditAction.ACTION_RESOLVED, how="a person says that it arrived")
    return _end(decision, ActionStatus.SUCCEEDED, resolved, decision.record(AuditAction.ACTION_TAKEN))


def _end(decision: _Decision, status: ActionStatus, *entries: dict[str, Any]) -> Redelivered:
    row, connection, now = decision.row, decision.connection, decision.now
    if row.status == status:
        return Redelivered(row.action_id, status, already=True)
    if not deliveries.decide(connection, row.org_id, row.action_id, status, decision.note, now=now):
        raise _refused(row)
    audit.record(connection, row.org_id, list(entries), now=now)
    if row.execution_id is not None:
        effects.settle(connection, row.org_id, row, now=now)
    return Redelivered(row.action_id, status, already=False)


def _refused(row: Row[Any]) -> ConflictError:
    return ConflictError.of("ACTION", f"action {row.action_id} is {row.status}", "see `cmis actions show`")
