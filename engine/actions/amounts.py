"""What actions on an amount of money share: by percent, by an amount, or to a value, within the action's own bounds."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final

from core.errors import InputError, Problem
from engine.actions.base import Change, Impossible, Nothing
from engine.actions.campaign_change import CampaignChange
from engine.actions.params import amount, unknown_keys
from engine.rules.document import json_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.actions.base import Campaign, Params, Plan, Scope
    from engine.rules.conflicts import EffectKind

_CENT: Final = Decimal("0.01")
_LARGEST: Final = Decimal("999999999999.99")  # the columns: numeric(14,2)
_MODES: Final = ("percent", "amount", "set")
_BOUNDS: Final = ("floor", "ceiling")
_PERCENT_LOW, _PERCENT_HIGH = Decimal(-100), Decimal(1000)


class AdjustAmount(CampaignChange):
    """Change an amount of a campaign. `floor` and `ceiling` clamp; the aliases take a positive percent."""

    column: ClassVar[str]
    """Column of the campaign, an amount in its currency."""
    noun: ClassVar[str]
    """What people call it."""
    lowering: ClassVar[str]
    """The alias whose percent is taken off."""
    up: ClassVar[EffectKind]
    down: ClassVar[EffectKind]

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
        canonical = {**self._mode(given, spelling, path, problems), **_bounds(given, path, problems)}
        if problems:
            raise InputError(problems)
        return canonical

    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Compute the new amount, rounded to cents half up, clamped by the action's own bounds.

        A clamp shortens a step and never turns it round: to increase what is over its ceiling does nothing. Only `set`
        can give an amount to a campaign that has none.
        """
        del scope
        before: Decimal | None = getattr(campaign, self.column)
        if before is None and "set" not in params:
            return Impossible(f"the campaign has no {self.noun} to adjust")
        wanted = _target(params, before or Decimal(0))
        clamped = _clamp(wanted, params)
        turned = "set" not in params and not min(before or 0, wanted) <= clamped <= max(before or 0, wanted)
        after = clamped.quantize(_CENT, ROUND_HALF_UP)
        if after == before or turned:
            return Nothing()
        if after > _LARGEST:
            return Impossible(f"the {self.noun} would exceed {_LARGEST}")
        was = None if before is None else json_number(before)
        return Change({self.column: was}, {self.column: json_number(after)})

    def direction(self, params: Params) -> EffectKind | None:
        """Up or down by the sign of the step; `set` may be either."""
        step = params.get("percent", params.get("amount"))
        if not step:
            return None
        return self.up if step > 0 else self.down

    def _mode(self, given: Mapping[str, Any], spelling: str, path: str, problems: list[Problem]) -> dict[str, Any]:
        if spelling in self.aliases:
            lowers = spelling == self.lowering
            high = Decimal(100) if lowers else _PERCENT_HIGH
            percent = amount(given, "percent", path, problems, low=_CENT, high=high)
            return {} if percent is None else {"percent": json_number(-percent if lowers else percent)}
        ranges = {
            "percent": (_PERCENT_LOW, _PERCENT_HIGH),
            "amount": (-_LARGEST, _LARGEST),
            "set": (Decimal(0), _LARGEST),
        }
        values = {mode: amount(given, mode, path, problems, low=low, high=high) for mode, (low, high) in ranges.items()}
        return {mode: json_number(value) for mode, value in values.items() if value is not None}


def _spell_value(params: Mapping[str, Any]) -> dict[str, Any]:
    """`{type, value}` is a percent (SPEC §3's templates)."""
    given = dict(params)
    if "value" in given and "percent" not in given:
        given["percent"] = given.pop("value")
    return given


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
