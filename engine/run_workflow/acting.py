"""What a step that is an action would do: its parameters, its campaign, its effect within the guardrails of the org."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from core.errors import InputError, NotFoundError, PermanentError
from core.ids import uuid7
from engine.actions.base import Campaign, Change, Effect, Scope, WorkflowStep
from engine.actions.bounded import bounded
from engine.actions.start_workflow import MAX_CHAIN, NAME, unstartable
from engine.actions.texts import as_written
from engine.find import find_campaign
from engine.rules.guardrails import Guardrails, Situation, stored, strictest
from engine.schedule.zones import local_day, zone
from engine.secrets import references as secrets
from engine.store import campaigns, instances, orgs, startable, step_effects
from models.enums import EntityType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from engine.actions.base import Action, Plan
    from engine.actions.registry import ActionSpec
    from engine.workflows.definition import Retry


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
    def key(self) -> str:
        """The idempotency key of its effect."""
        return f"{self.instance_id}:{self.step_id}"

    @property
    def path(self) -> str:
        """Where its parameters stand."""
        return f"steps.{self.step_id}.config"


def canonical(acting: Acting, action: Action) -> Mapping[str, Any]:
    """Return canonical parameters; a text that a reference brought is no reference itself, and names no secret."""
    path = f"{acting.path}.params"
    named = {name for _, name in secrets.found(acting.written, path)}
    brought = [where for where, name in secrets.found(acting.params, path) if name not in named]
    if brought:
        message = "names a secret, which only the definition itself may"
        raise InputError.of(brought[0], message, "write secret://name there, in full")
    return action.validate(as_written(acting.params, action.texts), spelling=acting.kind, path=path)


def lock_campaign(connection: Connection, acting: Acting, action: Action) -> Campaign:
    """Lock the campaign that the step names and return it as it is; or what stands for the instance."""
    campaign = _campaign(connection, acting, action)
    if campaign.entity_type != EntityType.CAMPAIGN:
        return campaign
    campaigns.lock(connection, acting.org_id, [campaign.campaign_id])
    return _as_it_is(connection, acting.org_id, campaign)


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


def planned(
    connection: Connection, acting: Acting, action: Action, spec: ActionSpec, campaign: Campaign, now: datetime
) -> Effect | None:
    """Plan the step's effect on a locked campaign, bounded as any effect is; None if there is nothing to do."""
    if spec.kind == NAME:
        _check_chain(connection, acting)
    org = orgs.moment(connection, acting.org_id)
    plan = action.plan(spec.params, campaign, _scope(connection, acting, spec, org))
    bounds = strictest(stored(org.guardrails), Guardrails())
    situation = _situation(connection, acting, campaign, plan, bounds, org, now)
    columns = bounded(spec.kind, plan, bounds, situation)
    if columns is None:
        return None
    ids = (uuid7(now), None, None, 0, spec.kind, spec.params, campaign.campaign_id)
    return Effect(*ids, **columns._asdict(), instance_id=acting.instance_id, step_id=acting.step_id)


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
