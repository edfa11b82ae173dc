"""`adjust_budget` and its aliases: by percent, by an amount, or to a value."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError, Problem
from engine.actions.base import Change, Impossible, Nothing
from engine.actions.campaign_change import CampaignChange
from engine.actions.params import amount, unknown_keys
from engine.rules.conflicts import EffectKind
from engine.rules.document import json_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.actions.base import Campaign, Params, Plan, Scope

_CENT: Final = Decimal("0.01")
_LARGEST: Final = Decimal("999999999999.99")  # the column: numeric(14,2)
_MODES: Final = ("percent", "amount", "set")
_BOUNDS: Final = ("floor", "ceiling")
_PERCENT_LOW, _PERCENT_HIGH = Decimal(-100), Decimal(1000)


class AdjustBudget(CampaignChange):
    """Change a campaign's budget. `floor` and `ceiling` clamp."""

    name = "adjust_budget"
    aliases = ("increase_budget", "decrease_budget")

    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Require exactly one of percent, amount and set; the aliases take a positive percent."""
        known = ("percent", *_BOUNDS) if spelling in self.aliases else (*_MODES, *_BOUNDS)
        given = _spell_value(params)
        problems = unknown_keys(given, known, path)
        modes = [mode for mode in _MODES if given.get(mode) is not None]
        if len(modes) != 1 and not problems:
            allowed = [mode for mode in _MODES if mode in known]
            remedy = f'give one, such as {{"{allowed[0]}": 20}}'
            problems.append(Problem(path, f"needs exactly one of {', '.join(allowed)}", remedy))
        canonical = {**_mode(given, spelling, path, problems), **_bounds(given, path, problems)}
        if problems:
            raise InputError(problems)
        return canonical

    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Compute the new budget, rounded to cents half up, clamped by the action's own bounds.

        A clamp shortens a step and never turns it round: to increase a budget that is over its ceiling does nothing.
        """
        del scope
        before = campaign.budget
        if before is None:
            return Impossible("the campaign has no budget to adjust")
        wanted = _target(params, before)
        clamped = _clamp(wanted, params)
        turned = "set" not in params and not min(before, wanted) <= clamped <= max(before, wanted)
        after = clamped.quantize(_CENT, ROUND_HALF_UP)
        if after == before or turned:
            return Nothing()
        if after > _LARGEST:
            return Impossible(f"the budget would exceed {_LARGEST}")
        return Change({"budget": json_number(before)}, {"budget": json_number(after)})

    def direction(self, params: Params) -> EffectKind | None:
        """Up or down by the sign of the step; `set` may be either."""
        step = params.get("percent", params.get("amount"))
        if not step:
            return None
        return EffectKind.BUDGET_UP if step > 0 else EffectKind.BUDGET_DOWN


def _spell_value(params: Mapping[str, Any]) -> dict[str, Any]:
    """`{type, value}` is a percent (SPEC §3's templates)."""
    given = dict(params)
    if "value" in given and "percent" not in given:
        given["percent"] = given.pop("value")
    return given


def _mode(given: Mapping[str, Any], spelling: str, path: str, problems: list[Problem]) -> dict[str, Any]:
    if spelling in AdjustBudget.aliases:
        high = Decimal(100) if spelling == "decrease_budget" else _PERCENT_HIGH
        percent = amount(given, "percent", path, problems, low=_CENT, high=high)
        sign = -1 if spelling == "decrease_budget" else 1
        return {} if percent is None else {"percent": json_number(sign * percent)}
    bounds = {"percent": (_PERCENT_LOW, _PERCENT_HIGH), "amount": (-_LARGEST, _LARGEST), "set": (Decimal(0), _LARGEST)}
    values = {mode: amount(given, mode, path, problems, low=low, high=high) for mode, (low, high) in bounds.items()}
    return {mode: json_number(value) for mode, value in values.items() if value is not None}


def _bounds(given: Mapping[str, Any], path: str, problems: list[Problem]) -> dict[str, Any]:
    floor, ceiling = (amount(given, key, path, problems, low=Decimal(0), high=_LARGEST) for key in _BOUNDS)
    if floor is not None and ceiling is not None and floor > ceiling:
        problems.append(Problem(f"{path}.floor", "is above the ceiling", "give a floor of at most the ceiling"))
    return {key: json_number(value) for key, value in zip(_BOUNDS, (floor, ceiling), strict=True) if value is not None}


def _target(params: Params, before: Decimal) -> Decimal:
    if "percent" in params:
        return before * (100 + Decimal(str(params["percent"]))) / 100
    if "amount" in params:
        return max(before + Decimal(str(params["amount"])), Decimal(0))
    return Decimal(str(params["set"]))


def _clamp(value: Decimal, params: Params) -> Decimal:
    if "floor" in params:
        value = max(value, Decimal(str(params["floor"])))
    if "ceiling" in params:
        value = min(value, Decimal(str(params["ceiling"])))
    return value
