"""What becomes of a plan within the guardrails, whatever its kind, and whoever acts: a rule or a step. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from engine.actions.base import Change, Delivery, Impossible, Nothing
from engine.rules.guardrails import breach

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.actions.base import EffectStatus, Plan
    from engine.rules.guardrails import Guardrails, Situation
    from models.enums import Channel


class Planned(NamedTuple):
    """The columns of an effect that follow from its plan, in the order of `Effect`."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    status: EffectStatus
    reason: str | None = None
    guardrail: str | None = None
    channel: Channel | None = None


def bounded(kind: str, plan: Plan, bounds: Guardrails, situation: Situation) -> Planned | None:
    """Return what is to be done: applied, held by a guardrail, delivered, or failed; None if there is nothing to do."""
    match plan:
        case Nothing():
            return None
        case Impossible(reason=reason):
            return Planned({}, {}, "failed", reason)
        case Change(before=before, after=after):
            found = breach(bounds, before, after, situation) if before else None
            if found is None:
                return Planned(before, after, "succeeded")
            return Planned(before, after, "held", found.reason, found.guardrail)
        case Delivery(channel=channel, message=message):
            return Planned({}, message, "queued", channel=channel)
    return Planned({}, {}, "failed", f"{kind} planned nothing that an action can")  # type: ignore[unreachable]
