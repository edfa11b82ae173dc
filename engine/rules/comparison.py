"""A leaf that compares numbers, as nearly every leaf does: what never changes about it is made once."""

from __future__ import annotations

import operator
from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from engine.rules.tree import Leaf, Multiple, Operator, Range

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Facts = Mapping[str, object]
    Order: TypeAlias = Callable[[Decimal, Decimal], bool]

_ORDERS: Final[Mapping[Operator, Order]] = {
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
}


class Comparison(NamedTuple):
    """Of a finite number and all facts: whether the leaf holds, and where that turns; None: it cannot be said here."""

    holds: Callable[[Decimal, Facts], bool | None]
    turns: Callable[[Decimal, Facts], Decimal | None]


def comparison(leaf: Leaf) -> Comparison | None:
    """Return how the leaf compares numbers, which is as `leaf_result` does; None where it compares something else."""
    value, order = leaf.value, _ORDERS.get(leaf.operator)
    if isinstance(value, Range):
        low, high = value.low, value.high
        return Comparison(
            lambda actual, _: low <= actual <= high,
            lambda actual, _: low if actual - low <= high - actual else high,
        )
    if order is None:
        return None
    if isinstance(value, Decimal):
        return Comparison(lambda actual, _: order(actual, value), lambda *_: value)
    if isinstance(value, Multiple) and value.times is not None and value.operand.key != leaf.operand.key:
        key, times = value.operand.key, value.times

        def bound(facts: Facts) -> Decimal | None:  # `multiple_of`
            fact = facts.get(key)
            try:
                return fact * times if isinstance(fact, Decimal) and fact.is_finite() else None
            except DecimalException:  # near the end of Decimal's range
                return None

        def holds(actual: Decimal, facts: Facts) -> bool | None:
            other = bound(facts)
            return None if other is None else order(actual, other)

        return Comparison(holds, lambda _, facts: bound(facts))
    return None


def constant(leaf: Leaf) -> tuple[Order, Decimal] | None:
    """Return the order and the number that a fact is compared with, as nearly all are: it is compared on the spot."""
    order = _ORDERS.get(leaf.operator)
    return None if order is None or not isinstance(leaf.value, Decimal) else (order, leaf.value)
