"""Actions as steps: what a step does to a campaign, tells people or sends outside, within the org's guardrails.

A step has one effect, however often it is tried: its row is found again by its key, and says what became of it. What a
guardrail holds, or a courier is to deliver, is waited for; whoever ends it wakes the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import driver
from core.errors import PermanentError
from core.ids import uuid7
from engine import push
from engine.actions.registry import ActionSpec, kind_of
from engine.actions.start_workflow import NAME
from engine.deliver.enqueue import Parcel
from engine.deliver.outcome import Pace
from engine.run_workflow.acting import canonical, lock_campaign, planned
from engine.store import actions, audit, dead_letters, deliveries, executions, step_effects, tasks
from engine.workflows.definition import Retry
from models.audit_actions import AuditAction
from models.enums import ActionStatus
from models.queue_enums import Handling

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.actions.base import Action, Campaign, Effect
    from engine.run_workflow.acting import Acting

_OPEN: Final = frozenset({ActionStatus.HELD, ActionStatus.QUEUED, ActionStatus.RUNNING, ActionStatus.UNKNOWN})
_DONE: Final = frozenset({ActionStatus.SUCCEEDED, ActionStatus.UNDONE})


@dataclass(frozen=True, slots=True)
class Did:
    """It is done; `output` is what the step puts out."""

    output: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Waits:
    """Its effect is on its way outside, or a guardrail holds it for a person."""

    action_id: UUID


@dataclass(frozen=True, slots=True)
class Failed:
    """Its effect has ended otherwise; the attempts of its delivery are used up, or a person turned it down."""

    code: str
    message: str


def act(connection: Connection, acting: Acting, *, now: datetime) -> Did | Waits:
    """Plan and apply a step's action, or queue its delivery, in the transaction of whoever has the instance locked.

    Raises InputError for parameters that are none, PermanentError for what cannot be done, and what the database says:
    a guardrail that it alone has seen (CM010) is worth another attempt.
    """
    first = step_effects.first(connection, acting.org_id, acting.instance_id, acting.key)
    if first is not None:
        return _again(connection, acting, first, now)
    action = kind_of(acting.kind)
    if action is None:
        raise PermanentError(f"the action {acting.kind} is not known here: install the package that brings it")
    params = canonical(acting, action)
    campaign = lock_campaign(connection, acting, action)
    effect = planned(connection, acting, action, ActionSpec(action.name, params), campaign, now)
    if effect is None:
        return Did({"changed": False})
    if effect.status == "failed":
        raise PermanentError(effect.reason or f"{effect.kind} cannot be done")
    return _carry_out(connection, acting, action, effect, campaign, now)


def outcome(connection: Connection, org_id: UUID, action_id: UUID) -> Did | Failed | Waits:
    """Say what became of a step's effect."""
    row = actions.get(connection, org_id, action_id)
    if row is None:
        return Failed("GONE", f"the effect {action_id} is not on record any more")
    if row.status in _OPEN:
        return Waits(action_id)
    if row.status in _DONE:
        return Did(_output(row))
    said = (row.error or {}).get("message", "")
    if row.status == ActionStatus.REJECTED:
        return Failed("REJECTED", row.note or f"a person turned it down: {said}")
    return Failed(str(row.status).upper(), said or f"it was {row.status}")


def _again(connection: Connection, acting: Acting, first: Row[Any], now: datetime) -> Did | Waits:
    """Answer by the effect that the step has; a delivery that had failed is sent again, under its key."""
    found = outcome(connection, acting.org_id, first.action_id)
    if not isinstance(found, Failed):
        return found
    if first.channel is None or first.status not in {ActionStatus.FAILED, ActionStatus.DISCARDED}:
        raise PermanentError(found.message)
    parcel = Parcel(uuid7(now), [first.action_id], _pace(acting.retry))
    deliveries.send_again(connection, acting.org_id, parcel.action_ids, parcel.task_id, first.note, now=now)
    tasks.insert(connection, [parcel.row(acting.org_id, now=now) | {"retry_of": first.task_id}], now=now)
    dead_letters.handle(connection, acting.org_id, first.task_id, Handling.RETRIED, None, now=now)
    entry = {
        "audit_id": uuid7(now),
        "action": AuditAction.ACTION_RETRIED.value,
        "entity_type": first.entity_type,
        "entity_id": first.entity_id,
        "action_id": first.action_id,
        "details": {
            "type": first.type,
            "channel": first.channel,
            "was": first.status,
            "instance_id": str(acting.instance_id),
            "step_id": acting.step_id,
        },
    }
    audit.record(connection, acting.org_id, [entry], now=now)
    return Waits(first.action_id)


def _carry_out(
    connection: Connection, acting: Acting, action: Action, effect: Effect, campaign: Campaign, now: datetime
) -> Did | Waits:
    """Write the effect, then apply it or leave it to its courier; what is held waits for a person."""
    org_id = acting.org_id
    parcel = Parcel(uuid7(now), [effect.action_id], _pace(acting.retry)) if effect.channel is not None else None
    row = effect.row() | {"entity_type": campaign.entity_type}
    if effect.status == "succeeded":
        row |= {"audit_id": uuid7(now), "user_id": acting.requested_by}
    carrier = acting.task_id if parcel is None else parcel.task_id
    executions.insert_actions(connection, org_id, carrier, [row], now=now)
    if parcel is not None:
        tasks.insert(connection, [parcel.row(org_id, now=now)], now=now)
    if effect.status != "succeeded":
        return Waits(effect.action_id)
    action.apply(connection, org_id, [effect], now=now)
    if driver.is_aborted(connection):
        raise PermanentError("an action took no notice of a statement that failed")
    push.pushes(connection, org_id, [push.Applied.of(effect)], now=now)
    return Did(_told(action.name, effect.action_id, effect.before, effect.after))


def _output(row: Row[Any]) -> dict[str, Any]:
    """Return what a step puts out whose effect is done."""
    if row.channel is None:
        return _told(row.type, row.action_id, row.before, row.after)
    output = {"action_id": str(row.action_id), "delivered": True, "attempts": row.attempts}
    return output if row.response is None else output | {"response": row.response}


def _told(kind: str, action_id: UUID, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    output: dict[str, Any] = {"action_id": str(action_id), "changed": True}
    if kind == NAME:
        return output | {"instance_id": str(action_id)}
    return output | {"before": dict(before), "after": dict(after)}


def _pace(retry: Retry | None) -> Pace | None:
    """Return how a step's delivery is tried again, where the definition says so."""
    if retry is None or retry == Retry():
        return None
    return Pace(retry.max_retries + 1, retry.base_seconds, retry.factor, retry.cap_seconds)
