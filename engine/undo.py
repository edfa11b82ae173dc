"""Take effects back, newest first, where what they did is still there; each is put back exactly as it was before.

What cannot be undone is told with the difference, and the rest is undone. A dry run does the same and leaves nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from core import clock
from core.db import repeat_on_conflict
from core.errors import ConflictError, PermanentError
from core.ids import uuid7
from engine import effects, push
from engine.actions.registry import PUSH
from engine.store import actions, audit, campaigns
from models.audit_actions import AuditAction
from models.enums import ActionStatus, PermitVerb, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database

logger = logging.getLogger(__name__)

_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one effect that was to be undone."""

    action_id: UUID
    type: str
    entity_id: UUID
    outcome: Literal["undone", "already", "refused"]
    reason: str | None = None
    """Why it is refused."""
    difference: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Per column what the effect had left (`expected`) and what is there (`found`), where it has moved on."""


def undo(database: Database, context: Context, action_ids: Sequence[UUID], *, dry_run: bool = False) -> list[Outcome]:
    """Undo effects in the order given, as the context's user (an operator or more); returns an outcome for each.

    One that is in the way of another may come later: what is refused is tried again once its campaign has moved.
    """
    if dry_run:
        with database.transaction(context) as connection, connection.begin_nested() as savepoint:
            outcomes = _until_nothing_moves(lambda ids: _undo_all(connection, context, ids), action_ids)
            savepoint.rollback()
        return outcomes

    def committed(ids: Sequence[UUID]) -> list[Outcome]:
        slices = [ids[first : first + _BATCH] for first in range(0, len(ids), _BATCH)]
        return [outcome for some in slices for outcome in _undo_batch(database, context, some)]

    return _until_nothing_moves(committed, action_ids)


def _until_nothing_moves(
    attempt: Callable[[Sequence[UUID]], list[Outcome]], action_ids: Sequence[UUID]
) -> list[Outcome]:
    found: dict[UUID, Outcome] = {}
    left = list(dict.fromkeys(action_ids))
    while left:
        outcomes = attempt(left)
        found |= {one.action_id: one for one in outcomes}
        moved = {one.entity_id for one in outcomes if one.outcome == "undone"}
        left = [one.action_id for one in outcomes if one.difference and one.entity_id in moved]
    return list(found.values())


def _undo_batch(database: Database, context: Context, action_ids: Sequence[UUID]) -> list[Outcome]:
    def body() -> list[Outcome]:
        with database.transaction(context) as connection:
            return _undo_all(connection, context, action_ids)

    return repeat_on_conflict(body)


def _undo_all(connection: Connection, context: Context, action_ids: Sequence[UUID]) -> list[Outcome]:
    actions.require_role(connection, Role.OPERATOR)
    rows = [effects.find(connection, context.org_id, action_id) for action_id in action_ids]
    campaigns.lock(connection, context.org_id, [row.entity_id for row in rows])
    now = clock.now(connection)
    return [_undo_one(connection, context, row, now) for row in rows]


def _undo_one(connection: Connection, context: Context, seen: Row[Any], now: datetime) -> Outcome:
    refused = Outcome(seen.action_id, seen.type, seen.entity_id, "refused")
    row = actions.lock(connection, context.org_id, seen.action_id)
    if row.status == ActionStatus.UNDONE:
        return replace(refused, outcome="already")
    if row.status != ActionStatus.SUCCEEDED:
        return replace(refused, reason=f"it is {row.status}: there is nothing to undo")
    try:
        with connection.begin_nested():
            difference = _revert(connection, context, row, now)
    except (ConflictError, PermanentError) as error:
        return replace(refused, reason=str(error))
    except Exception as error:
        said = effects.failure(error)
        logger.exception("action %s could not be undone", row.action_id)
        return replace(refused, reason=f"{row.type} failed: {said}")
    if difference:
        return replace(refused, reason="its campaign has moved on since", difference=difference)
    return replace(refused, outcome="undone")


def _revert(connection: Connection, context: Context, row: Row[Any], now: datetime) -> Mapping[str, Mapping[str, Any]]:
    """Put back what was there before an effect, on record; returns how things differ from it if it is not there."""
    if row.type == PUSH:
        message = "it tells a connector of a change: undo that one, and the connector is told"
        raise PermanentError(message)
    if row.channel is not None:
        message = f"{row.type} has left by {row.channel}: it cannot be taken back"
        raise PermanentError(message)
    org_id, action, effect = context.org_id, effects.handler(row), effects.read(row)
    if not action.reversible:
        message = f"{row.type} cannot be taken back"
        raise PermanentError(message)
    found = action.verify(connection, org_id, [effect]).get(row.action_id)
    if found is not None:
        pairs = {key: {"expected": row.after.get(key), "found": is_now} for key, is_now in found.items()}
        differing = {key: pair for key, pair in pairs.items() if pair["expected"] != pair["found"]}
        if not differing:
            message = f"{row.type} does not find what it did any more"
            raise PermanentError(message)
        return differing
    actions.permit(connection, row.action_id, PermitVerb.UNDO)
    action.revert(connection, org_id, [effect], now=now)
    if effects.moved_on(connection, org_id, row):
        message = f"{row.type} did not put back what was there before"
        raise PermanentError(message)
    actions.undo(connection, org_id, row.action_id, user_id=context.user_id, now=now)
    push.pushes(connection, org_id, [push.Applied.undoing(row, now=now)], now=now)
    audit.record(connection, org_id, [_entry(row, now)], now=now)
    return {}


def _entry(row: Row[Any], now: datetime) -> dict[str, Any]:
    return {
        "audit_id": uuid7(now),
        "action": AuditAction.ACTION_UNDONE.value,
        "entity_type": "campaign",
        "entity_id": row.entity_id,
        "rule_id": row.rule_id,
        "execution_id": row.execution_id,
        "action_id": row.action_id,
        "before": row.after,
        "after": row.before,
        "details": {"type": row.type} | effects.of_step(row),
    }
