"""What one leaf's fact must become for the leaf to have another result: how far a number has to move, and beyond what.

Only the fact under the leaf's own operand changes; what it is compared with (another operand, the preceding window)
stays. A number's way to the boundary is measured in percent of what it is now, so that ways of different fields can be
compared. Any other change (a text, a list, a value where there is none, a number from 0) has no percentage and can only
be named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_UP, Context, Decimal, DecimalException
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.rules.compare import leaf_result, multiple_of, number
from engine.rules.document import json_number
from engine.rules.sentence import OPPOSITE, is_plural, number_text, predicate
from engine.rules.tree import Change, Leaf, Multiple, Operand, Operator, Range

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Facts = Mapping[str, object]

# How far beyond a boundary a value is taken, as a part of the boundary: far less than a cent of any budget.
_STEP: Final = Decimal("1E-9")
_SHOWN_DIGITS: Final = 6
_HUNDREDTH: Final = Decimal("0.01")
_WIDE: Final = Context(prec=400)  # holds the hundredths of any float
_NOTHING: Final = object()

# Where each holds of a boundary: above it (1) or below it (-1), and whether only strictly beyond it.
_RAYS: Final[Mapping[Operator, tuple[int, bool]]] = {
    Operator.GREATER: (1, True),
    Operator.AT_LEAST: (1, False),
    Operator.LESS: (-1, True),
    Operator.AT_MOST: (-1, False),
}
_EXACT: Final = frozenset({Operator.EQUAL, Operator.NOT_EQUAL, Operator.IN, Operator.NOT_IN})
_POSITIVE: Final = frozenset({Operator.EQUAL, Operator.IN})


class Boundary(NamedTuple):
    """Where a leaf's result changes: `direction` 1 is up, -1 down, 0 either way; `beyond`: `target` is not enough."""

    target: Decimal
    direction: int
    beyond: bool


@dataclass(frozen=True, slots=True)
class LeafChange:
    """A change of the fact of `leaf.operand` after which the leaf has the result `wanted`.

    `value` is such a fact. `actual` is the number that the fact is now and `boundary` where it has to go; both are
    None where the change is not from one number to another.
    """

    leaf: Leaf
    wanted: bool
    value: object
    actual: Decimal | None = None
    boundary: Boundary | None = None

    @property
    def percent(self) -> float | None:
        """The change in percent of the size of `actual`, a rise positive; None where there is no percentage."""
        if self.actual is None or self.boundary is None:
            return None
        return percent_of_way(self.actual, self.boundary.target)

    @property
    def cost(self) -> float:
        """The size of the change in percent; infinite where there is no percentage."""
        percent = self.percent
        return math.inf if percent is None else abs(percent)

    @property
    def text(self) -> str:
        """The change in words: `cpa (last_7d) rises more than 4 % (above 50)`."""
        if self.actual is None or self.boundary is None:
            return _named(self.leaf, wanted=self.wanted)
        return _moved(self.leaf, self.actual, self.boundary)

    def document(self) -> dict[str, object]:
        """Return the change as JSON; `target` and `change_pct` are null where it is not of a number by a percentage."""
        operand, boundary = self.leaf.operand, self.boundary
        return {
            "field": operand.field,
            "window": None if operand.window is None else operand.window.value,
            "change_pct": self.percent,
            "target": None if boundary is None else json_number(boundary.target),
            "beyond": boundary is not None and boundary.beyond,
            "text": self.text,
        }


def change_needed(leaf: Leaf, facts: Facts, *, wanted: bool) -> LeafChange | None:
    """Return the least change of the leaf's own fact that gives the result `wanted`; None where there is none.

    For a leaf that has another result now, or an unknown one.
    """
    actual = number(facts.get(leaf.operand.key))
    boundary = _boundary(leaf, facts, actual, wanted=wanted)
    found = _values_near(boundary) if boundary is not None else _values(leaf, facts, wanted=wanted)
    value = next(filter(lambda value: _gives(leaf, facts, value, wanted=wanted), found), _NOTHING)
    if value is _NOTHING:
        return None
    return LeafChange(leaf, wanted, value, None if boundary is None else actual, boundary)


def cost_of_change(leaf: Leaf, facts: Facts, *, wanted: bool) -> float:
    """Return the cost of `change_needed` without making it: the size in percent, infinite where there is none."""
    actual = number(facts.get(leaf.operand.key))
    boundary = _boundary(leaf, facts, actual, wanted=wanted)
    percent = None if actual is None or boundary is None else percent_of_way(actual, boundary.target)
    return math.inf if percent is None else abs(percent)


def way_to_turn(leaf: Leaf, facts: Facts, *, result: bool) -> float | None:
    """Return how far the fact is from where the leaf's `result` turns: in percent of its size, a rise positive.

    0 where it is at the boundary. None where there is no percentage: a text, a list, a fact that is 0.
    """
    actual = number(facts.get(leaf.operand.key))
    boundary = _boundary(leaf, facts, actual, wanted=not result)
    return None if actual is None or boundary is None else percent_of_way(actual, boundary.target)


def _gives(leaf: Leaf, facts: Facts, value: object, *, wanted: bool) -> bool:
    return leaf_result(leaf, {**facts, leaf.operand.key: value}) is wanted


def percent_of_way(actual: Decimal, target: Decimal) -> float | None:
    """Return how far a number is from another in percent of its size, up positive; None where that is no percentage."""
    try:
        percent = float((target - actual) * 100 / abs(actual))
    except (DecimalException, OverflowError):  # from 0, or near the end of Decimal's range
        return 0.0 if target == actual else None
    return percent if math.isfinite(percent) else None


def _boundary(leaf: Leaf, facts: Facts, actual: Decimal | None, *, wanted: bool) -> Boundary | None:
    if actual is None:
        return None
    if isinstance(leaf.value, Range):
        return _to_range(leaf.value, actual, wanted=wanted)
    thresholds = thresholds_of(leaf, facts)
    if not thresholds:
        return None
    ray = (1 if leaf.value.percent > 0 else -1, False) if isinstance(leaf.value, Change) else _RAYS.get(leaf.operator)
    if ray is not None:
        direction, beyond = ray
        return Boundary(thresholds[0], direction if wanted else -direction, beyond is wanted)
    if leaf.operator in _EXACT:
        return _to_one_of(thresholds, actual, wanted=wanted is (leaf.operator in _POSITIVE))
    return None


def _to_range(span: Range, actual: Decimal, *, wanted: bool) -> Boundary:
    """Into the range by its nearer end, or out of it by the nearer end."""
    below = actual - span.low <= span.high - actual
    target = span.low if below else span.high
    return Boundary(target, 1 if below is wanted else -1, not wanted)


def _to_one_of(thresholds: tuple[Decimal, ...], actual: Decimal, *, wanted: bool) -> Boundary:
    """To the nearest of some numbers, or away from the one that it is."""
    if not wanted:
        return Boundary(actual, 0, beyond=True)
    target = min(thresholds, key=lambda threshold: abs(threshold - actual))
    return Boundary(target, 1 if target > actual else -1, beyond=False)


def thresholds_of(leaf: Leaf, facts: Facts) -> tuple[Decimal, ...]:
    """Return the numbers at which the leaf's result can change, as far as the facts tell them."""
    if isinstance(leaf.value, Decimal):  # nearly always
        return (leaf.value,)
    match leaf.value:
        case Range(low=low, high=high):
            return low, high
        case tuple():
            return tuple(item for item in leaf.value if isinstance(item, Decimal))
        case Change(percent=percent, previous=previous):
            return _after_change(number(facts.get(previous.key)), percent)
        case Multiple(operand=other):
            moves_along = other.quantity == leaf.operand.quantity
            found = None if moves_along else number(multiple_of(leaf.value, facts))
            return () if found is None else (found,)
        case _:
            return ()


def _after_change(before: Decimal | None, percent: Decimal) -> tuple[Decimal, ...]:
    try:
        return (before + abs(before) * percent / 100,) if before else ()
    except DecimalException:
        return ()


def _values_near(boundary: Boundary) -> Iterator[Decimal]:
    """Yield the boundary where it is enough, and a step beyond: division may have rounded it to the wrong side."""
    if not boundary.beyond:
        yield boundary.target
    try:
        step = abs(boundary.target) * _STEP or _STEP
        yield from (
            boundary.target + direction * step for direction in (boundary.direction or 1, boundary.direction or -1)
        )
    except DecimalException:  # at the end of Decimal's range nothing lies beyond
        return


def _values(leaf: Leaf, facts: Facts, *, wanted: bool) -> Iterator[object]:
    """Yield values of which one does it, if any does: those compared with, alone and joined to the present one."""
    if leaf.operator in {Operator.IS_NULL, Operator.IS_NOT_NULL}:
        yield None if wanted is (leaf.operator is Operator.IS_NULL) else ""
    actual = facts.get(leaf.operand.key)
    compared = multiple_of(leaf.value, facts) if isinstance(leaf.value, Multiple) else leaf.value
    items = compared if isinstance(compared, tuple) else (compared,)
    if isinstance(actual, list | tuple):
        yield [element for element in actual if element not in items]
        yield [*actual, items[0]]
    if isinstance(actual, str):
        for item in items:
            yield from (f"{actual}{item}", f"{item}{actual}") if isinstance(item, str) else ()
    yield from _words(items)
    for threshold in thresholds_of(leaf, facts):
        yield from (threshold, threshold + 1, threshold - 1)
    yield [items[0]]


def _words(items: tuple[object, ...]) -> Iterator[str | bool]:
    """Yield texts and booleans that are, and that are not, among the values."""
    if any(isinstance(item, str) for item in items):
        yield from ("", "-")
    if any(isinstance(item, bool) for item in items):
        yield from (True, False)
    yield from (item for item in items if isinstance(item, str))


def _named(leaf: Leaf, *, wanted: bool) -> str:
    plural = is_plural(leaf.operand)
    if wanted:
        return f"{_name(leaf.operand)} {predicate(leaf, plural=plural)}"
    opposite = OPPOSITE.get(leaf.operator)
    if opposite is None:
        return f"not ({_named(leaf, wanted=True)})"
    return f"{_name(leaf.operand)} {predicate(Leaf(leaf.operand, opposite, leaf.value), plural=plural)}"


def _moved(leaf: Leaf, actual: Decimal, boundary: Boundary) -> str:
    name, plural = _name(leaf.operand), is_plural(leaf.operand)
    if not boundary.direction:
        return f"{name} {'are' if plural else 'is'} anything but {_shown(actual, 0)}"
    up = boundary.direction > 0
    verb = ("rise" if up else "fall") + ("" if plural else "s")
    target = _shown(boundary.target, boundary.direction)
    limit = f"{'above' if up else 'below'} {target}" if boundary.beyond else f"to {target}"
    if leaf.operator in _EXACT:
        limit = f"to exactly {number_text(boundary.target)}"
    percent = percent_of_way(actual, boundary.target)
    if percent == 0:
        return f"{name} {verb} at all ({limit})"
    if percent is None:
        return f"{name} {verb} from {_shown(actual, 0)} {'to ' if boundary.beyond else ''}{limit}"
    size = number_text(Decimal(repr(abs(percent))).quantize(_HUNDREDTH, ROUND_UP, _WIDE))
    return f"{name} {verb} {'more than ' if boundary.beyond else ''}{size} % ({limit})"


def _name(operand: Operand) -> str:
    return operand.field if operand.window is None else f"{operand.field} ({operand.window})"


def _shown(value: Decimal, direction: int) -> str:
    """Shorten a number to what people read, rounded so that whoever goes there has gone far enough."""
    rounding = ROUND_CEILING if direction > 0 else ROUND_FLOOR
    return number_text(Context(prec=_SHOWN_DIGITS, rounding=rounding, traps=[]).create_decimal(value))
