"""Texts of actions that may hold references: read at the edge, composed for one campaign in a plan. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError, Problem
from engine import references
from engine.secrets.references import PLACES, SCHEME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.actions.base import Campaign, Scope

KNOWN: Final[references.Known] = {
    "campaign": ("id", "name", "status", "budget", "currency", "objective", "platform", "external_id"),
    "rule": ("id", "name"),
    "org": ("id", "name"),
    "event": ("type", "payload.*"),
}
"""What a text may refer to."""
_PLACES: Final = f"secrets are filled in in {', '.join(PLACES)} only"


def problems(text: object, path: str, *, longest: int) -> list[Problem]:
    """Return what is wrong with a text that may hold references."""
    if not (isinstance(text, str) and 0 < len(text) <= longest):
        return [Problem(path, f"must be a text of 1 to {longest} characters", "or leave it out")]
    try:
        references.parse(text, path, KNOWN)
    except InputError as error:
        return list(error.problems)
    if SCHEME in text:
        return [Problem(path, "names a secret, but would be sent as it stands", _PLACES)]
    return []


def values(campaign: Campaign, scope: Scope) -> Mapping[str, Any]:
    """Return what there is to refer to; of a campaign nothing, where the rule is about an event."""
    return {
        "campaign": _campaign(campaign) if campaign.entity_type == "campaign" else dict.fromkeys(KNOWN["campaign"]),
        "rule": {"id": str(scope.rule_id), "name": scope.rule_name},
        "org": {"id": str(scope.org_id), "name": scope.org_name},
        "event": scope.event,
    }


def _campaign(campaign: Campaign) -> dict[str, Any]:
    return {
        "id": str(campaign.campaign_id),
        "name": campaign.name,
        "status": campaign.status,
        "budget": campaign.budget,
        "currency": campaign.currency,
        "objective": campaign.objective,
        "platform": campaign.platform,
        "external_id": campaign.external_id,
    }


def composed(text: str, known: Mapping[str, Any], *, longest: int | None = None) -> str:
    """Return a text with its references filled."""
    return references.read(text).render(known, longest=longest)
