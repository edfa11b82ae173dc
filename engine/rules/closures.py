"""A condition tree as closures: what `evaluate.evaluate` and `evaluate.trace` return, at a fraction of the time.

A comparison of one number with another, which nearly every leaf is, is made on the spot, and all about it that never
changes is made once. Every other leaf, and every fact that is no Decimal, is left to `evaluate`.
"""

from __future__ import annotations

import operator
from decimal import Decimal, DecimalException
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from engine.rules.compare import leaf_result, multiple_of
from engine.rules.document import json_number, value_document
from engine.rules.evaluate import MARGIN_DIGITS, expected, join, trace_leaf
from engine.rules.leaf_change import percent_of_way
from engine.rules.tree import Condition, Leaf, Multiple, Operator, Range

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Facts = Mapping[str, object]
    Ages = Mapping[str, float]
    Withheld = Mapping[str, str] | None

    Evaluator: TypeAlias = Callable[[Facts], bool | None]
    Tracer: TypeAlias = Callable[[Facts, Ages, Withheld], dict[str, Any]]
    Comparison: TypeAlias = Callable[[Decimal, Facts], tuple[bool, Decimal] | None]
    """Of a fact, and of all facts: its result, and where that turns; None where the other number is unknown."""

_ORDERS: Final[Mapping[Operator, Callable[[Decimal, Decimal], bool]]] = {
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
}


def evaluator(condition: Condition) -> Evaluator:
    """Return `evaluate` of this tree."""
    if isinstance(condition, Leaf):
        compared = _comparison(condition)
        return partial(leaf_result, condition) if compared is None else _leaf_evaluator(condition, compared)
    nodes, logic = tuple(map(evaluator, condition.nodes)), condition.logic
    return lambda facts: join(logic, (node(facts) for node in nodes))


def tracer(condition: Condition) -> Tracer:
    """Return `trace` of this tree."""
    if isinstance(condition, Leaf):
        compared = _comparison(condition)
        return partial(trace_leaf, condition) if compared is None else _leaf_tracer(condition, compared)
    nodes, logic, name = tuple(map(tracer, condition.nodes)), condition.logic, condition.logic.value

    def traced(facts: Facts, ages: Ages, withheld: Withheld) -> dict[str, Any]:
        documents = [node(facts, ages, withheld) for node in nodes]
        return {name: documents, "result": join(logic, [document["result"] for document in documents])}

    return traced


def _comparison(leaf: Leaf) -> Comparison | None:
    value, order = leaf.value, _ORDERS.get(leaf.operator)
    if isinstance(value, Range):
        low, high = value.low, value.high
        return lambda actual, _: (low <= actual <= high, low if actual - low <= high - actual else high)
    if order is None:
        return None
    if isinstance(value, Decimal):
        return lambda actual, _: (order(actual, value), value)
    if isinstance(value, Multiple) and value.operand.key != leaf.operand.key:
        return partial(_compare_with_other, order, value)
    return None


def _compare_with_other(
    order: Callable[[Decimal, Decimal], bool], other: Multiple, actual: Decimal, facts: Facts
) -> tuple[bool, Decimal] | None:
    bound = multiple_of(other, facts)
    return (order(actual, bound), bound) if isinstance(bound, Decimal) and bound.is_finite() else None


def _leaf_evaluator(leaf: Leaf, compared: Comparison) -> Evaluator:
    key = leaf.operand.key

    def evaluated(facts: Facts) -> bool | None:
        found = _compare(compared, facts.get(key), facts)
        return leaf_result(leaf, facts) if found is None else found[0]

    return evaluated


def _compare(compared: Comparison, actual: object, facts: Facts) -> tuple[bool, Decimal] | None:
    if not isinstance(actual, Decimal) or not actual.is_finite():
        return None
    try:
        return compared(actual, facts)
    except DecimalException:  # near the end of Decimal's range
        return None


def _leaf_tracer(leaf: Leaf, compared: Comparison) -> Tracer:
    key, operand = leaf.operand.key, leaf.operand
    window = None if operand.window is None else operand.window.value
    fixed = {"field": operand.field, "window": window, "operator": leaf.operator.value}
    literal = None if isinstance(leaf.value, Multiple) else value_document(leaf.value)

    def traced(facts: Facts, ages: Ages, withheld: Withheld) -> dict[str, Any]:
        actual = facts.get(key)
        found = _compare(compared, actual, facts)
        if found is None or not isinstance(actual, Decimal):
            return trace_leaf(leaf, facts, ages, withheld)
        result, target = found
        document: dict[str, Any] = {
            **fixed,
            "actual": json_number(actual),
            "expected": expected(leaf, facts, ages) if literal is None else literal,
            "result": result,
        }
        if key in ages:
            document["data_age_seconds"] = ages[key]
        margin = percent_of_way(actual, target)
        if margin is not None:
            document["margin_pct"] = round(margin, MARGIN_DIGITS)
        return document

    return traced
