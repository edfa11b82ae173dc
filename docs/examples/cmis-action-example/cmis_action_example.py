"""`cap_budget`: bring a budget that is above a limit down to it, and leave all others alone."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from core.errors import InputError, Problem
from engine.actions.base import Campaign, Change, Impossible, Nothing, Params, Plan, Scope
from engine.actions.campaign_change import CampaignChange
from engine.actions.params import amount, unknown_keys
from engine.rules.document import json_number

if TYPE_CHECKING:
    from collections.abc import Mapping


class CapBudget(CampaignChange):
    """Bring a campaign's budget down to a limit."""

    name = "cap_budget"
    aliases = ("limit_budget",)
    idempotent = True

    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Require `at` (or `value`): the limit, in the campaign's currency."""
        del spelling
        given = dict(params)
        if "value" in given and "at" not in given:
            given["at"] = given.pop("value")
        problems = unknown_keys(given, ("at",), path)
        limit = amount(given, "at", path, problems, low=Decimal("0.01"), high=Decimal(10**9))
        if given.get("at") is None:
            problems.append(Problem(f"{path}.at", "is required", 'give a limit, such as {"at": 100}'))
        if limit is None or problems:
            raise InputError(problems)
        return {"at": json_number(limit)}

    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Compare the budget with the limit; guardrails are the engine's business."""
        del scope
        if campaign.budget is None:
            return Impossible("the campaign has no budget to cap")
        limit = Decimal(str(params["at"])).quantize(Decimal("0.01"))
        if campaign.budget <= limit:
            return Nothing()
        return Change({"budget": json_number(campaign.budget)}, {"budget": json_number(limit)})
