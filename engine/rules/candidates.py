"""Values of one quantity to try, among which there is one that some comparisons can agree on.

The result of comparisons with constants changes only at the constants: to try each of them, a number between each
two neighbours and one beyond each end misses nothing. Of a list, the largest one without what is forbidden misses
nothing either. Of texts it is the values compared with, those joined as the affixes ask, and one unlike all of them.
"""

from __future__ import annotations

from decimal import Decimal, DecimalException
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.rules.compare import multiple_of
from engine.rules.fields import METRIC_AND_ENTITY_FIELDS, RATIOS, ValueType
from engine.rules.leaf_change import thresholds_of
from engine.rules.tree import Change, Leaf, Multiple, Operand, Operator, Quantity, operands_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Facts = Mapping[str, object]

# The statuses that a campaign can have, the likeliest first: no other is worth an example.
_STATUSES: Final = ("active", "paused", "draft", "completed")
_SOME_NUMBER: Final = Decimal(100)
_BEYOND: Final = Decimal("1.1")
_LETTERS: Final = "xyzabcdefghijklmnopqrstuvw0123456789"

_PARTS: Final = frozenset({Operator.IN, Operator.CONTAINS})
_NOT_PARTS: Final = frozenset({Operator.NOT_IN, Operator.NOT_CONTAINS})
_NULL_TESTS: Final = frozenset({Operator.IS_NULL, Operator.IS_NOT_NULL})


class Literal(NamedTuple):
    """One leaf, the result that is wanted of it, and the facts that are given where its tree is evaluated."""

    leaf: Leaf
    wanted: bool
    given: Facts


def candidates(quantity: Quantity, literals: Sequence[Literal], facts: Facts) -> Iterator[object]:
    """Yield values of a quantity to try, given the facts that are chosen already. `literals` are all there are.

    A field of rules has values of its type, a number no negative one; of any other field the values may be anything.
    """
    about = [literal for literal in literals if literal.leaf.operand.quantity == quantity]
    spec = METRIC_AND_ENTITY_FIELDS.get(quantity[0])
    if any(literal.leaf.operator in _NULL_TESTS for literal in about):
        yield None
    if spec is None or spec.type is ValueType.NUMBER:
        yield from _numbers(_points(quantity, literals, facts), non_negative=spec is not None)
    if quantity[0] == "status":
        yield from _STATUSES
    elif spec is None or spec.type is ValueType.STRING:
        yield from _texts(about, literals, facts)
    if spec is None or spec.type is ValueType.LIST:
        yield _largest_list(about)
    if spec is None:
        yield from (True, False)


def _points(quantity: Quantity, literals: Sequence[Literal], facts: Facts) -> set[Decimal]:
    """Return the numbers at which something changes: for the quantity, and for those that are measured by it."""
    known = quantity[0] in METRIC_AND_ENTITY_FIELDS
    points = {*_constants(quantity, literals, facts), *([Decimal(0)] if known else [])}
    for leaf, _, _ in literals:
        if isinstance(leaf.value, Multiple | Change) and _measure(leaf.value).quantity == quantity:
            points.update(_divided(_constants(leaf.operand.quantity, literals, facts), _factor(leaf.value)))
    field, window, previous = quantity
    for name, ratio in RATIOS.items():
        if ratio.denominator == field:
            amounts = [n * ratio.scale for n in _constants((ratio.numerator, window, previous), literals, facts)]
            for rate in _chosen((name, window, previous), literals, facts):
                points.update(_divided(amounts, rate))
    return points


def _constants(quantity: Quantity, literals: Iterable[Literal], facts: Facts) -> list[Decimal]:
    return [
        threshold
        for leaf, _, given in literals
        if leaf.operand.quantity == quantity
        for threshold in thresholds_of(leaf, {**facts, **given})
    ]


def _chosen(quantity: Quantity, literals: Iterable[Literal], facts: Facts) -> set[Decimal]:
    read = (
        facts.get(operand.key)
        for leaf, _, _ in literals
        for operand in operands_of(leaf)
        if operand.quantity == quantity
    )
    return {value for value in read if isinstance(value, Decimal)}


def _measure(value: Multiple | Change) -> Operand:
    return value.operand if isinstance(value, Multiple) else value.previous


def _factor(value: Multiple | Change) -> Decimal:
    """Return how many times its measure a boundary is, where the measure is positive."""
    if isinstance(value, Change):
        return 1 + value.percent / 100
    return Decimal(1) if value.times is None else value.times


def _divided(amounts: Iterable[Decimal], by: Decimal) -> Iterator[Decimal]:
    for amount in amounts:
        try:
            yield amount / by
        except DecimalException:  # by 0, or near the end of Decimal's range
            continue


def _numbers(points: Iterable[Decimal], *, non_negative: bool) -> Iterator[Decimal]:
    """Yield a number between each two points, one beyond each end, and the points."""
    known = sorted(points)
    if not any(known):
        known = sorted({*known, _SOME_NUMBER})
    low, high = known[0], known[-1]
    between = ((lower + upper) / 2 for lower, upper in pairwise(known))
    outside = (high * _BEYOND if high > 0 else high + 1, low * _BEYOND if low < 0 else low - 1)
    yield from (number for number in (*between, *outside, *known) if number >= 0 or not non_negative)


def _texts(about: Sequence[Literal], literals: Sequence[Literal], facts: Facts) -> Iterator[str]:
    """Yield what the affixes ask for together, every text there is, and one that none of them is a part of."""
    texts = {text: None for literal in literals for text in _strings(literal.leaf, facts)}
    parts = {
        operator: [literal.leaf.value for literal in about if literal.wanted and literal.leaf.operator is operator]
        for operator in (Operator.STARTS_WITH, Operator.CONTAINS, Operator.ENDS_WITH)
    }
    start, middle, end = ([part for part in found if isinstance(part, str)] for found in parts.values())
    yield max(start, key=len, default="") + "".join(middle) + max(end, key=len, default="")
    yield from texts
    yield next((letter for letter in _LETTERS if not any(letter in text for text in texts)), "")


def _strings(leaf: Leaf, facts: Facts) -> Iterator[str]:
    value = multiple_of(leaf.value, facts) if isinstance(leaf.value, Multiple) else leaf.value
    yield from (item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, str))


def _largest_list(about: Iterable[Literal]) -> list[object]:
    """Return all elements that are asked for but those that are forbidden."""
    asked: list[object] = []
    forbidden: list[object] = []
    for leaf, wanted, _ in about:
        if leaf.operator in _PARTS or leaf.operator in _NOT_PARTS:
            items = leaf.value if isinstance(leaf.value, tuple) else (leaf.value,)
            (asked if wanted is (leaf.operator in _PARTS) else forbidden).extend(items)
    return [item for item in asked if item not in forbidden]
