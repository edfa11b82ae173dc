"""Kinds whose effect is a message: delivered outside once the execution is committed, by its channel's courier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.errors import PermanentError
from engine.actions import receivers
from engine.actions.base import Action, Delivery
from engine.actions.texts import KNOWN, told, values
from models.enums import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from core.errors import Problem
    from engine.actions.base import Campaign, Effect, Found, Params, Scope

WEBHOOK_PARAMS: Final = ("url", "headers", "signing_secret")


class Delivered(Action):
    """An action that plans deliveries only: in the database there is nothing to apply, to verify or to take back."""

    reversible = False

    def apply(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:
        """Raise: its courier takes it."""
        del connection, org_id, effects, now
        raise PermanentError(f"{self.name} is delivered outside, not applied")

    def verify(self, connection: Connection, org_id: UUID, effects: Sequence[Effect]) -> Mapping[UUID, Found]:
        """Raise: its courier knows."""
        del connection, org_id, effects
        raise PermanentError(f"{self.name} is delivered outside; nothing of it is here to be verified")

    def revert(self, connection: Connection, org_id: UUID, effects: Sequence[Effect], *, now: datetime) -> None:
        """Refuse: what was sent cannot be unsent."""
        del connection, org_id, effects, now
        raise PermanentError("what was sent cannot be taken back")


def webhook_params(params: Mapping[str, Any], path: str, found: list[Problem]) -> dict[str, Any]:
    """Read where a webhook goes; problems are noted."""
    return {
        "url": receivers.url(params, path, found),
        "headers": receivers.headers(params, path, found),
        "signing_secret": receivers.signing_secret(params, path, found),
    }


def webhook(what: str, params: Params, campaign: Campaign, scope: Scope, payload: Mapping[str, Any]) -> Delivery:
    """Return a webhook of a rule's type, or a step's: what it tells is what is known when it is planned.

    `what` happened: it is `rule.` or `workflow.` and that.
    """
    known = values(campaign, scope)
    data = {"org_id": str(scope.org_id), **_actor(known, scope), "payload": payload}
    if campaign.entity_type == "campaign":
        data["campaign"] = {name: told(known["campaign"][name]) for name in KNOWN["campaign"]}
    if scope.event is not None:
        data["event"] = scope.event
    where = {name: params[name] for name in WEBHOOK_PARAMS}
    kind = "rule" if scope.step is None else "workflow"
    return Delivery(Channel.WEBHOOK, {**where, "body": {"type": f"{kind}.{what}", "data": data}})


def _actor(known: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    """Return who acts: a rule in one of its executions, or a step in a run of its workflow."""
    actor = {name: told(known["rule"][name]) for name in KNOWN["rule"]}
    if scope.step is None:
        return {"rule": actor, "execution_id": str(scope.execution_id)}
    step = scope.step
    return {
        "workflow": actor,
        "instance_id": str(step.instance_id),
        "step_id": step.step_id,
        "context": step.context,
    }
