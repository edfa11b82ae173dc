"""Decide held effects: a person lets one pass the guardrails, or turns it down. Each is one transaction, on record.

What is approved is exactly what was held: if the campaign has moved on since, there is nothing to approve any more.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.db import repeat_on_conflict
from core.errors import ConflictError
from core.ids import uuid7
from engine import effects, push
from engine.store import actions, audit, rules, step_effects
from models.audit_actions import AuditAction
from models.enums import ActionStatus, ExecutionStatus, PermitVerb, Role
from models.workflow_enums import StepStatus

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database

logger = logging.getLogger(__name__)

_BROKEN: Final = "reject it, or mend the package that brings this kind"
_APPROVED: Final = frozenset({ActionStatus.SUCCEEDED, ActionStatus.UNDONE})


@dataclass(frozen=True, slots=True)
class Decided:
    """A held effect with its decision. `already`: it had been decided so before, and nothing was done now."""

    action_id: UUID
    status: ActionStatus
    execution_id: UUID | None
    """None = it is the effect of a workflow's step."""
    execution_status: ExecutionStatus | None
    """How the execution stands after it; None where nothing was done, or there is none."""
    already: bool
    instance_id: UUID | None = None
    """The run of a workflow whose step goes on now, if it is one's effect."""


def approve(database: Database, context: Context, action_id: UUID, *, note: str | None = None) -> Decided:
    """Apply a held effect, whatever the guardrails say, as the context's user (an operator or more).

    Raises ConflictError, with the difference, if the campaign is not as the effect found it, or if its kind fails or it
    was decided otherwise; NotFoundError. It consumes no daily limit, and starts the cooldown now.
    """
    return _decide(database, context, action_id, ActionStatus.SUCCEEDED, note)


def reject(database: Database, context: Context, action_id: UUID, *, note: str | None = None) -> Decided:
    """Turn a held effect down, as the context's user (an operator or more); the rule asks no second time for 28 days.

    If the campaign has moved on meanwhile, the rule may ask anew for what is right now.
    Raises ConflictError if it was decided otherwise; NotFoundError.
    """
    return _decide(database, context, action_id, ActionStatus.REJECTED, note)


def _decide(database: Database, context: Context, action_id: UUID, status: ActionStatus, note: str | None) -> Decided:
    effects.check_note(note)

    def body() -> Decided:
        with database.transaction(context) as connection:
            return _in_transaction(connection, context, action_id, status, note)

    return repeat_on_conflict(body)


def _in_transaction(
    connection: Connection, context: Context, action_id: UUID, status: ActionStatus, note: str | None
) -> Decided:
    org_id = context.org_id
    actions.require_role(connection, Role.OPERATOR)
    seen = effects.find(connection, org_id, action_id)
    if seen.instance_id is not None:
        step_effects.lock_instance(connection, org_id, seen.instance_id)
    if seen.rule_id is not None:  # a push of a person's change has none, and nothing of it is decided
        rules.lock(connection, org_id, [seen.rule_id])
    row = effects.lock_campaign(connection, org_id, seen)
    now = clock.now(connection)  # only now: the locks may have been waited for
    if row.status != ActionStatus.HELD:
        return _already(row, status)
    moved_on = effects.moved_on(connection, org_id, row)
    entries = [_entry(row, AuditAction.ACTION_APPROVED, now, note)]
    if status is ActionStatus.REJECTED:
        entries = [_entry(row, AuditAction.ACTION_REJECTED, now, note)]
    else:
        _require_step(connection, org_id, row)
        if moved_on:
            raise effects.conflict(row.action_id, row.before, moved_on)
        _apply(connection, org_id, row, now)
        entries.append(_entry(row, AuditAction.ACTION_TAKEN, now) | {"before": row.before, "after": row.after})
        if row.rule_id is not None:
            acted = {"rule_id": row.rule_id, "entity_id": row.entity_id, "execution_id": row.execution_id}
            rules.remember(connection, org_id, [acted], now=now)
        push.pushes(connection, org_id, [push.Applied.of(effects.read(row))], now=now)
    decided = {"user_id": context.user_id, "note": note, "now": now}
    actions.decide(connection, row, status, decided, moved_on=bool(moved_on))
    audit.record(connection, org_id, entries, now=now)
    ended = effects.settle(connection, org_id, row, now=now)
    return Decided(action_id, status, row.execution_id, ended, already=False, instance_id=row.instance_id)


def _already(row: Row[Any], status: ActionStatus) -> Decided:
    """Say that an effect was decided so before; raises ConflictError if it was not."""
    same = row.status in _APPROVED if status is ActionStatus.SUCCEEDED else row.status == status
    if row.decided_at is None or not same:
        message = f"action {row.action_id} is {row.status}, not held"
        raise ConflictError.of("ACTION", message, "see `cmis actions list --status held`")
    status = ActionStatus(row.status)
    return Decided(row.action_id, status, row.execution_id, None, already=True, instance_id=row.instance_id)


def _require_step(connection: Connection, org_id: UUID, row: Row[Any]) -> None:
    """Raise ConflictError for the effect of a step that does not wait for it any more: its instance is locked."""
    if row.instance_id is None:
        return
    step = step_effects.step(connection, org_id, row.instance_id, row.step_id)
    if step is None or step.status != StepStatus.WAITING or step.action_id != row.action_id:
        state = "is gone" if step is None else f"is {step.status}"
        message = f"the step {row.step_id} of {row.instance_id}, whose effect it is, {state}"
        raise ConflictError.of(str(row.action_id), message, "reject it")


def _apply(connection: Connection, org_id: UUID, row: Row[Any], now: datetime) -> None:
    action, effect = effects.handler(row), effects.read(row)
    actions.permit(connection, row.action_id, PermitVerb.APPLY)
    try:
        action.apply(connection, org_id, [effect], now=now)
        done = not action.verify(connection, org_id, [effect])
    except Exception as error:
        said = effects.failure(error)
        logger.exception("action %s could not be applied", row.action_id)
        raise ConflictError.of(str(row.action_id), f"{row.type} failed: {said}", _BROKEN) from error
    if not done:
        raise ConflictError.of(str(row.action_id), f"{row.type} did not do what it had planned", _BROKEN)


def _entry(row: Row[Any], action: AuditAction, now: datetime, note: str | None = None) -> dict[str, Any]:
    return {
        "audit_id": uuid7(now),
        "action": action.value,
        "entity_type": "campaign",
        "entity_id": row.entity_id,
        "rule_id": row.rule_id,
        "execution_id": row.execution_id,
        "action_id": row.action_id,
        "details": {"type": row.type} | effects.of_step(row) | ({} if note is None else {"note": note}),
    }
