"""Texts of actions that may hold references: read at the edge, composed for one campaign in a plan. Pure."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError, Problem
from engine import references
from engine.rules.document import json_number
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


def as_written(params: Mapping[str, Any], texts: Mapping[str, int | None]) -> dict[str, Any]:
    """Return parameters whose references are filled already: whatever they hold now is meant, and is not read again.

    `texts`: a kind's, which are cut to their length here, since nobody could know it where they were written.
    """
    return {key: _meant(value, texts[key]) if key in texts else value for key, value in params.items()}


def _meant(node: Any, longest: int | None) -> Any:
    if isinstance(node, str):
        braces = node.count("{{") if longest is not None else 0
        return references.literal(node if longest is None else references.cut(node, longest - braces))
    if isinstance(node, dict):
        return {key: _meant(value, longest) for key, value in node.items()}
    return [_meant(value, longest) for value in node] if isinstance(node, list) else node


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


def told(value: Any) -> Any:
    """Return a value as JSON has it."""
    return json_number(value) if isinstance(value, Decimal) else value


def composed(text: str, known: Mapping[str, Any], *, longest: int | None = None) -> str:
    """Return a text with its references filled."""
    return references.read(text).render(known, longest=longest)
