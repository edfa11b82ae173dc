"""Actions as steps: what a step does to a campaign, tells people or sends outside, within the org's guardrails.

A step has one effect, however often it is tried: its row is found again by its key, and says what became of it. What a
guardrail holds, or a courier is to deliver, is waited for; whoever ends it wakes the step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core import driver
from core.errors import InputError, NotFoundError, PermanentError
from core.ids import uuid7
from engine import push
from engine.actions.base import Campaign, Change, Effect, Scope, WorkflowStep
from engine.actions.bounded import bounded
from engine.actions.registry import ActionSpec, kind_of
from engine.actions.start_workflow import MAX_CHAIN, NAME, unstartable
from engine.actions.texts import as_written
from engine.deliver.enqueue import Parcel
from engine.deliver.outcome import Pace
from engine.find import find_campaign
from engine.rules.guardrails import Guardrails, Situation, stored, strictest
from engine.schedule.zones import local_day, zone
from engine.secrets import references as secrets
from engine.store import (
    actions,
    audit,
    campaigns,
    deliveries,
    executions,
    instances,
    orgs,
    startable,
    step_effects,
    tasks,
)
from engine.workflows.definition import Retry
from models.audit_actions import AuditAction
from models.enums import ActionStatus, EntityType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from engine.actions.base import Action, Plan

_OPEN: Final = frozenset({ActionStatus.HELD, ActionStatus.QUEUED, ActionStatus.RUNNING, ActionStatus.UNKNOWN})
_DONE: Final = frozenset({ActionStatus.SUCCEEDED, ActionStatus.UNDONE})


@dataclass(frozen=True, slots=True)
class Acting:
    """An attempt of a step that is an action."""

    org_id: UUID
    instance_id: UUID
    step_id: str
    template_id: UUID
    task_id: UUID
    attempt: int
    kind: str
    """As it is written: a kind or an alias."""
    params: Mapping[str, Any]
    """With values in the place of references."""
    campaign: Any
    """The campaign's id, name or external id, or None."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What the step sees."""
    retry: Retry | None = None
    """How its delivery is tried again; None or the usual one = as any delivery is."""
    written: Mapping[str, Any] = field(default_factory=dict)
    """The parameters as the definition has them: no value may name a secret that they do not name."""
    requested_by: UUID | None = None
    """The person who started the instance, if one did."""

    @property
    def path(self) -> str:
        """Where its parameters stand."""
        return f"steps.{self.step_id}.config"


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
    first = step_effects.first(connection, acting.org_id, acting.instance_id, _key(acting))
    if first is not None:
        return _again(connection, acting, first, now)
    action = kind_of(acting.kind)
    if action is None:
        raise PermanentError(f"the action {acting.kind} is not known here: install the package that brings it")
    params = _params(acting, action)
    campaign = _campaign(connection, acting, action)
    if campaign.entity_type == EntityType.CAMPAIGN:
        campaigns.lock(connection, acting.org_id, [campaign.campaign_id])
        campaign = _as_it_is(connection, acting.org_id, campaign)
    effect = _planned(connection, acting, action, ActionSpec(action.name, params), campaign, now)
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


def _key(acting: Acting) -> str:
    return f"{acting.instance_id}:{acting.step_id}"


def _again(connection: Connection, acting: Acting, first: Row[Any], now: datetime) -> Did | Waits:
    """Answer by the effect that the step has; a delivery that had failed is sent again, under its key."""
    found = outcome(connection, acting.org_id, first.action_id)
    if not isinstance(found, Failed):
        return found
    if first.channel is None or first.status not in {ActionStatus.FAILED, ActionStatus.DISCARDED}:
        raise PermanentError(found.message)
    parcel = Parcel(uuid7(now), [first.action_id], _pace(acting.retry))
    deliveries.send_again(connection, acting.org_id, parcel.action_ids, parcel.task_id, first.note, now=now)
    tasks.insert(connection, [parcel.row(acting.org_id, now=now)], now=now)
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


def _params(acting: Acting, action: Action) -> Mapping[str, Any]:
    """Return canonical parameters; a text that a reference brought is no reference itself, and names no secret."""
    path = f"{acting.path}.params"
    named = {name for _, name in secrets.found(acting.written, path)}
    brought = [where for where, name in secrets.found(acting.params, path) if name not in named]
    if brought:
        message = "names a secret, which only the definition itself may"
        raise InputError.of(brought[0], message, "write secret://name there, in full")
    return action.validate(as_written(acting.params, action.texts), spelling=acting.kind, path=path)


def _campaign(connection: Connection, acting: Acting, action: Action) -> Campaign:
    """Return the campaign that the step names, or what stands for the instance where it names none."""
    path = f"{acting.path}.campaign"
    if acting.campaign is None:
        if not action.for_events:
            raise InputError.of(path, f"is missing: {action.name} changes one", "give its id, name or external id")
        names = step_effects.workflows(connection, acting.org_id, [acting.instance_id])
        return Campaign(acting.instance_id, names[acting.instance_id], "", None, None, entity_type="instance")
    if not isinstance(acting.campaign, str | int | UUID) or isinstance(acting.campaign, bool):
        raise InputError.of(path, "is no campaign", "give its id, name or external id")
    reference = str(acting.campaign)
    try:
        return Campaign.of(find_campaign(connection, acting.org_id, reference, path))
    except NotFoundError:
        found = campaigns.named(connection, acting.org_id, external_id=reference)
        if len(found) != 1:
            raise
        return Campaign.of(find_campaign(connection, acting.org_id, found[0], path))


def _as_it_is(connection: Connection, org_id: UUID, seen: Campaign) -> Campaign:
    """Return a locked campaign as it is now: the lock may have been waited for."""
    rows = campaigns.some(connection, org_id, [seen.campaign_id])
    if not rows:
        raise PermanentError(f"the campaign {seen.name} is archived")
    return Campaign.of(rows[0])


def _planned(
    connection: Connection, acting: Acting, action: Action, spec: ActionSpec, campaign: Campaign, now: datetime
) -> Effect | None:
    if spec.kind == NAME:
        _check_chain(connection, acting)
    org = orgs.moment(connection, acting.org_id)
    plan = action.plan(spec.params, campaign, _scope(connection, acting, spec, org))
    bounds = strictest(stored(org.guardrails), Guardrails())
    situation = _situation(connection, acting, campaign, plan, bounds, org, now)
    planned = bounded(spec.kind, plan, bounds, situation)
    if planned is None:
        return None
    ids = (uuid7(now), None, None, 0, spec.kind, spec.params, campaign.campaign_id)
    return Effect(*ids, **planned._asdict(), instance_id=acting.instance_id, step_id=acting.step_id)


def _scope(connection: Connection, acting: Acting, spec: ActionSpec, org: Row[Any]) -> Scope:
    context = acting.values.get("context")
    if context is None:
        context = instances.contexts(connection, acting.org_id, [acting.instance_id])[acting.instance_id]
    names = step_effects.workflows(connection, acting.org_id, [acting.instance_id])
    return Scope(
        acting.template_id,
        names[acting.instance_id],
        acting.org_id,
        org.name,
        acting.instance_id,
        step=WorkflowStep(acting.instance_id, acting.step_id, context),
        unstartable=unstartable(connection, acting.org_id, [spec]),
    )


def _situation(
    connection: Connection,
    acting: Acting,
    campaign: Campaign,
    plan: Plan,
    bounds: Guardrails,
    org: Row[Any],
    now: datetime,
) -> Situation:
    """Return what a change meets; the org's budget day is locked where its sum is bounded, as the last of all locks."""
    if not isinstance(plan, Change) or not plan.before:
        return Situation()
    others = 0
    if bounds.max_entities_per_run is not None:
        others = step_effects.others_changed(connection, acting.org_id, acting.instance_id, campaign.campaign_id)
    net: Mapping[str | None, Any] = {}
    if bounds.max_daily_net_change is not None and "budget" in plan.after:
        today = local_day(now, zone(org.timezone))
        campaigns.lock_budget_day(connection, acting.org_id, today)
        net = campaigns.net_changes(connection, acting.org_id, today)
    untouchable = campaign.campaign_id in org.never_touch
    return Situation(untouchable, others, *([net[campaign.currency]] if campaign.currency in net else []))


def _check_chain(connection: Connection, acting: Acting) -> None:
    if startable.depth(connection, acting.org_id, acting.instance_id, most=MAX_CHAIN) >= MAX_CHAIN:
        raise PermanentError(f"workflows have started one another {MAX_CHAIN} times: that goes no further")


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
