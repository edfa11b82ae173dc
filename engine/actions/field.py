"""`set_field`: a field of a campaign that no other action is for, set to a value."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError, Problem
from engine.actions.base import Change, Nothing
from engine.actions.campaign_change import CampaignChange
from engine.actions.params import unknown_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.actions.base import Campaign, Params, Plan, Scope

_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class _Text:
    longest: int
    optional: bool

    @property
    def allowed(self) -> str:
        return f"a text of 1 to {self.longest} characters{', or null' if self.optional else ''}"

    def read(self, value: object) -> str | None:
        if isinstance(value, str) and value.strip() and len(value.strip()) <= self.longest:
            return value.strip()
        return None


@dataclass(frozen=True, slots=True)
class _Day:
    optional: bool = True
    allowed: str = "a day such as 2027-01-31, or null"

    def read(self, value: object) -> str | None:
        try:
            return dt.date.fromisoformat(value).isoformat() if isinstance(value, str) else None
        except ValueError:
            return None


FIELDS: Final[Mapping[str, _Text | _Day]] = {
    "name": _Text(200, optional=False),
    "objective": _Text(100, optional=True),
    "end_date": _Day(),
}
_ELSEWHERE: Final = {
    "status": "use pause_campaign or resume_campaign",
    "budget": "use adjust_budget",
    "bid_amount": "use adjust_bid",
    "tags": "use tag_entity",
}


class SetField(CampaignChange):
    """Set a campaign's name, objective or end date."""

    name = "set_field"
    idempotent = True

    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Require `field` and a `value` of its type; null empties what may be empty."""
        del spelling
        problems = unknown_keys(params, ("field", "value"), path)
        name = params.get("field")
        field = FIELDS.get(name) if isinstance(name, str) else None
        value = None
        if field is None:
            remedy = _ELSEWHERE.get(name) if isinstance(name, str) else None
            said = "is required" if name is None else f"{name!r} cannot be set"[:_SHOWN]
            problems.append(Problem(f"{path}.field", said, remedy or f"allowed: {', '.join(FIELDS)}"))
        elif "value" not in params:
            problems.append(Problem(f"{path}.value", "is required", f"give {field.allowed}"))
        elif params["value"] is not None or not field.optional:
            value = field.read(params["value"])
            if value is None:
                said = f"cannot be {params['value']!r}"[:_SHOWN]
                problems.append(Problem(f"{path}.value", said, f"give {field.allowed}"))
        if problems:
            raise InputError(problems)
        return {"field": name, "value": value}

    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Compare the field with the value; a day is an ISO text."""
        del scope
        name, after = params["field"], params["value"]
        there = getattr(campaign, name)
        before = there.isoformat() if isinstance(there, dt.date) else there
        return Nothing() if before == after else Change({name: before}, {name: after})
