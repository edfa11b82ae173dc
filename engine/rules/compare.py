"""How one leaf compares a fact with its value: the one place that decides, for the evaluation and for the trace.

Three-valued (SPEC §3): None is *unknown*. A missing fact, and a fact of a type that the operator cannot compare,
are unknown; only `is_null` and `is_not_null` never are. Nothing here raises, whatever the facts hold.

Facts are numbers (Decimal, int, float), strings, booleans, lists of those, or None.

- Strings compare case-sensitively. A number in a string is a string. A boolean is no number.
- `in`: the fact is one of the values; a list fact has at least one of them. The values are all strings or all numbers.
- `contains`: a string fact has the value as a part; a list fact has it as an element.
- `changed_pct`: 100 (current - previous) ÷ |previous| is at least a positive percent, or at most a negative one;
  a previous 0 is unknown.
"""

from __future__ import annotations

import operator
from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Final, TypeAlias

from engine.rules.tree import Change, Leaf, Multiple, Operator, Range

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Test: TypeAlias = Callable[[object, object], bool | None]


def leaf_result(leaf: Leaf, facts: Mapping[str, object]) -> bool | None:
    """Return whether the leaf holds for the facts: true, false, or None for unknown."""
    value = leaf.value
    return _TESTS[leaf.operator](
        actual_of(leaf, facts),
        multiple_of(value, facts) if isinstance(value, Multiple) else value,
    )


def actual_of(leaf: Leaf, facts: Mapping[str, object]) -> object:
    """Return what the operator compares: the fact, or for `changed_pct` its change in percent."""
    current = facts.get(leaf.operand.key)
    if isinstance(leaf.value, Change):
        return change_pct(current, facts.get(leaf.value.previous.key))
    return current


def multiple_of(value: Multiple, facts: Mapping[str, object]) -> object:
    """Return the other operand's fact, times the factor if there is one (then None unless the fact is a number)."""
    fact = facts.get(value.operand.key)
    if value.times is None:
        return fact
    amount = number(fact)
    try:
        return None if amount is None else amount * value.times
    except DecimalException:  # a fact near the end of Decimal's range
        return None


def change_pct(current: object, previous: object) -> Decimal | None:
    """Return the change in percent of the previous value; None if either is no number or the previous is 0.

    Divided by the previous value's size, so that a rise from a negative value is a rise.
    """
    now, before = number(current), number(previous)
    if now is None or not before:
        return None
    try:
        return (now - before) * 100 / abs(before)
    except DecimalException:  # a fact near the end of Decimal's range
        return None


def number(value: object) -> Decimal | None:
    """Return a finite number as an exact Decimal (a float by its shortest spelling: 0.1 is one tenth), else None."""
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value)
    if isinstance(value, float):
        exact = Decimal(repr(value))
        return exact if exact.is_finite() else None
    return None


def _not(test: Test) -> Test:
    def negated(actual: object, expected: object) -> bool | None:
        result = test(actual, expected)
        return None if result is None else not result

    return negated


def _ordered(compare: Callable[[Decimal, Decimal], bool]) -> Test:
    def ordered(actual: object, expected: object) -> bool | None:
        left, right = number(actual), number(expected)
        return None if left is None or right is None else compare(left, right)

    return ordered


def _equal(actual: object, expected: object) -> bool | None:
    if isinstance(actual, str):
        return actual == expected if isinstance(expected, str) else None
    if isinstance(actual, bool):
        return actual is expected if isinstance(expected, bool) else None
    left, right = number(actual), number(expected)
    return None if left is None or right is None else left == right


def _between(actual: object, expected: object) -> bool | None:
    amount = number(actual)
    if amount is None or not isinstance(expected, Range):
        return None
    return expected.low <= amount <= expected.high


def _in(actual: object, expected: object) -> bool | None:
    if not isinstance(expected, tuple):
        return None
    if isinstance(actual, list | tuple):
        return any(_equal(element, value) is True for element in actual for value in expected)
    sought = actual if isinstance(actual, str) else number(actual)
    if sought is None or isinstance(sought, str) is not isinstance(expected[0], str):
        return None
    return sought in expected


def _contains(actual: object, expected: object) -> bool | None:
    if isinstance(actual, list | tuple):
        return any(_equal(element, expected) is True for element in actual)
    return expected in actual if isinstance(actual, str) and isinstance(expected, str) else None


def _starts_with(actual: object, expected: object) -> bool | None:
    return actual.startswith(expected) if isinstance(actual, str) and isinstance(expected, str) else None


def _ends_with(actual: object, expected: object) -> bool | None:
    return actual.endswith(expected) if isinstance(actual, str) and isinstance(expected, str) else None


def _is_null(actual: object, _: object) -> bool:
    return actual is None


def _is_not_null(actual: object, _: object) -> bool:
    return actual is not None


def _changed(actual: object, expected: object) -> bool | None:
    if not isinstance(actual, Decimal) or not isinstance(expected, Change):
        return None
    return actual >= expected.percent if expected.percent > 0 else actual <= expected.percent


_TESTS: Final[Mapping[Operator, Test]] = {
    Operator.GREATER: _ordered(operator.gt),
    Operator.AT_LEAST: _ordered(operator.ge),
    Operator.LESS: _ordered(operator.lt),
    Operator.AT_MOST: _ordered(operator.le),
    Operator.EQUAL: _equal,
    Operator.NOT_EQUAL: _not(_equal),
    Operator.BETWEEN: _between,
    Operator.IN: _in,
    Operator.NOT_IN: _not(_in),
    Operator.CONTAINS: _contains,
    Operator.NOT_CONTAINS: _not(_contains),
    Operator.STARTS_WITH: _starts_with,
    Operator.ENDS_WITH: _ends_with,
    Operator.IS_NULL: _is_null,
    Operator.IS_NOT_NULL: _is_not_null,
    Operator.CHANGED_PCT: _changed,
}
