"""Guardrails: bounds on what any action may change, whichever rule it belongs to (SPEC §3).

An org's guardrails bind all its rules, and a rule's own can only be stricter. What would pass a bound is not done: it
is held until a person approves it. The database refuses the same by itself (revision 0014); here it is known before.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from engine.rules.document import json_number
from engine.rules.reading import Problems, exact_number, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

_CENT: Final = Decimal("0.01")
_LARGEST: Final = Decimal("999999999999.99")  # the column of a budget: numeric(14,2)
_MAX_COUNT: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Guardrails:
    """Bounds; None = no bound. Money is in a campaign's currency."""

    budget_floor: Decimal | None = None
    """No budget is lowered to less."""
    budget_ceiling: Decimal | None = None
    """No budget is raised to more."""
    max_change_pct: Decimal | None = None
    """How much one action may change a budget or a bid, in percent of what it was."""
    max_daily_net_change: Decimal | None = None
    """How far the sum of all budget changes of the org on one day of its zone may be from 0, per currency."""
    max_entities_per_run: int | None = None
    """How many entities one execution may change."""
    max_failures_in_a_row: int | None = None
    """After so many failed executions in a row the rule is paused."""

    def document(self) -> dict[str, object]:
        """Return the JSON of a `guardrails` column."""
        given = {name: getattr(self, name) for name in NAMES}
        return {
            name: json_number(value) if isinstance(value, Decimal) else value
            for name, value in given.items()
            if value is not None
        }


NAMES: Final = tuple(bound.name for bound in fields(Guardrails))
DEFAULTS: Final = Guardrails(budget_floor=Decimal(10), max_failures_in_a_row=5)
"""What holds where an org says nothing (SPEC §3: floor 10; the breaker's 5 is docs/adr/0015)."""

_COUNTS: Final = ("max_entities_per_run", "max_failures_in_a_row")
_LOWEST: Final = {"max_change_pct": _CENT, "budget_ceiling": _CENT}


@dataclass(frozen=True, slots=True)
class Breach:
    """The guardrail that a change would pass, and what would be so in words."""

    guardrail: str
    reason: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What a change meets besides its own values."""

    untouchable: bool = False
    """The entity is on the org's never-touch list."""
    others_changed: int = 0
    """Other entities that the same execution changes."""
    net: Decimal = Decimal(0)
    """Today's budget changes of the org so far, in the entity's currency."""


def read(document: object, problems: Problems, path: str = "guardrails") -> Guardrails:
    """Read a JSON object of guardrails; every problem is noted at its path."""
    if document is None:
        return Guardrails()
    if not isinstance(document, dict):
        problems.add(path, f"must be an object, not {shown(document)}", "write {budget_floor: 10}")
        return Guardrails()
    problems.refuse_unknown_keys(document, NAMES, path)
    found: dict[str, Any] = {name: _bound(name, document.get(name), problems, f"{path}.{name}") for name in NAMES}
    floor, ceiling = found["budget_floor"], found["budget_ceiling"]
    if floor is not None and ceiling is not None and floor > ceiling:
        problems.add(f"{path}.budget_floor", "is above the budget_ceiling", "give a floor of at most the ceiling")
    return Guardrails(**found)


def stored(document: Mapping[str, Any]) -> Guardrails:
    """Return the guardrails of a column; what is no number there, which no writer of ours stores, bounds nothing."""
    return _one(read({name: document[name] for name in NAMES if name in document}, Problems()))


@lru_cache(maxsize=4096)
def _one(bounds: Guardrails) -> Guardrails:
    """Return the same object for what is equal, so that it is known again at a glance."""
    return bounds


@lru_cache(maxsize=4096)
def strictest(org: Guardrails, rule: Guardrails) -> Guardrails:
    """Return what binds a rule: the stricter of its own bounds and its org's, or the product's where that has none."""
    bounds: dict[str, Any] = {}
    for name in NAMES:
        base = getattr(org, name)
        levels = [getattr(DEFAULTS, name) if base is None else base, getattr(rule, name)]
        given = [level for level in levels if level is not None]
        choose = max if name == "budget_floor" else min
        bounds[name] = choose(given) if given else None
    return Guardrails(**bounds)


def breach(
    bounds: Guardrails, before: Mapping[str, Any], after: Mapping[str, Any], situation: Situation
) -> Breach | None:
    """Return the guardrail that a change of an entity's columns would pass, or None.

    A change towards a bound is free: a budget below the floor may be raised, a day's net change brought nearer to 0.
    """
    if situation.untouchable:
        return Breach("never_touch", "the campaign is on the org's never-touch list")
    most = bounds.max_entities_per_run
    if most is not None and situation.others_changed >= most:
        return Breach("max_entities_per_run", f"the run would change more than {most} campaigns")
    for column in ("budget", "bid_amount"):
        if column in after and (found := _too_far(bounds, column, before.get(column), after[column])):
            return found
    return _budget_breach(bounds, before, after, situation) if "budget" in after else None


def net_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> Decimal:
    """Return by how much a change moves the sum of the org's budgets."""
    return _amount(after["budget"]) - _amount(before.get("budget")) if "budget" in after else Decimal(0)


def _bound(name: str, value: object, problems: Problems, path: str) -> Decimal | int | None:
    if value is None:
        return None
    if name in _COUNTS:
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_COUNT:
            return value
        problems.add(path, f"must be a whole number of at least 1, not {shown(value)}", f"allowed: 1 to {_MAX_COUNT}")
        return None
    amount, lowest = exact_number(value), _LOWEST.get(name, Decimal(0))
    if amount is not None and lowest <= amount <= _LARGEST:
        return amount
    problems.add(path, f"must be a number of at least {lowest}, not {shown(value)}", "write an amount, such as 10")
    return None


def _too_far(bounds: Guardrails, column: str, before: object, after: object) -> Breach | None:
    if bounds.max_change_pct is None or before is None:
        return None
    was, becomes = _amount(before), _amount(after)
    # To the cent above: 20 % of 33.33 is 6.666, and amounts are rounded to cents.
    allowed = (was * bounds.max_change_pct / 100).quantize(_CENT, ROUND_CEILING)
    if abs(becomes - was) <= allowed:
        return None
    said = "the budget" if column == "budget" else "the bid"
    limit = json_number(bounds.max_change_pct)
    return Breach("max_change_pct", f"{said} would change by more than {limit} % in one action")


def _budget_breach(
    bounds: Guardrails, before: Mapping[str, Any], after: Mapping[str, Any], situation: Situation
) -> Breach | None:
    was, becomes = before.get("budget"), _amount(after["budget"])
    floor, ceiling, most = bounds.budget_floor, bounds.budget_ceiling, bounds.max_daily_net_change
    lower = was is not None and becomes < _amount(was)
    if floor is not None and lower and becomes < floor:
        return Breach("budget_floor", f"the budget would fall below the floor of {json_number(floor)}")
    if ceiling is not None and not lower and becomes > ceiling:
        return Breach("budget_ceiling", f"the budget would rise above the ceiling of {json_number(ceiling)}")
    net = situation.net + net_change(before, after)
    if most is not None and abs(net) > most and abs(net) > abs(situation.net):
        said = f"the day's budget changes would sum up to {json_number(net)}, beyond {json_number(most)}"
        return Breach("max_daily_net_change", said)
    return None


def _amount(value: object) -> Decimal:
    return Decimal(0) if value is None else Decimal(str(value))
