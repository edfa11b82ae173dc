"""A condition tree as closures: `evaluate`, `trace` and the `distance` of a miss, at a fraction of the time.

A comparison of one number with another, which nearly every leaf is, is made on the spot, and all about it that never
changes is made once. Every other leaf, and every fact that is no Decimal, is left to those.
"""

from __future__ import annotations

import math
import operator
from decimal import Decimal, DecimalException
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from engine.rules.compare import leaf_result
from engine.rules.document import json_number, value_document
from engine.rules.evaluate import MARGIN_DIGITS, expected, join, trace_leaf
from engine.rules.leaf_change import percent_of_way
from engine.rules.nearest import cost_of, needs
from engine.rules.tree import Condition, Leaf, Logic, Multiple, Operator, Range

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Facts = Mapping[str, object]
    Ages = Mapping[str, float]
    Withheld = Mapping[str, str] | None

    Evaluator: TypeAlias = Callable[[Facts], bool | None]
    Distance: TypeAlias = Callable[[Facts, float], float]
    Tracer: TypeAlias = Callable[[Facts, Ages, Withheld], dict[str, Any]]

_ORDERS: Final[Mapping[Operator, Callable[[Decimal, Decimal], bool]]] = {
    Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge,
    Operator.LESS: operator.lt,
    Operator.AT_MOST: operator.le,
}


class Closures(NamedTuple):
    """Of facts, and of facts, ages and withheld facts: what `evaluate` and `trace` return for a tree."""

    evaluate: Evaluator
    trace: Tracer


class _Comparison(NamedTuple):
    """Of a finite number and all facts: whether the leaf holds, and where that turns; None: it cannot be said here."""

    holds: Callable[[Decimal, Facts], bool | None]
    turns: Callable[[Decimal, Facts], Decimal | None]


def compile_tree(condition: Condition) -> Closures:
    """Return `evaluate` and `trace` of this tree."""
    if isinstance(condition, Leaf):
        compared = _comparison(condition)
        if compared is None:
            return Closures(partial(leaf_result, condition), partial(trace_leaf, condition))
        return Closures(_leaf_evaluator(condition, compared), _leaf_tracer(condition, compared))
    nodes = [compile_tree(node) for node in condition.nodes]
    evaluators, tracers = tuple(node.evaluate for node in nodes), tuple(node.trace for node in nodes)
    return Closures(_group_evaluator(condition.logic, evaluators), _group_tracer(condition.logic, tracers))


def distance_of(condition: Condition, *, wanted: bool = True) -> Distance:
    """Return `distance` of this tree, infinite instead of None; with `wanted` false, of making it false.

    It is given a limit, too: what is farther away may be infinitely far.
    """
    if isinstance(condition, Leaf):
        return _leaf_distance(condition, _comparison(condition), wanted=wanted)
    of_nodes, of_every = needs(condition, wanted=wanted)
    nodes = tuple(distance_of(node, wanted=of_nodes) for node in condition.nodes)
    if not of_every:
        return lambda facts, limit: min([node(facts, limit) for node in nodes])

    def distance(facts: Facts, limit: float) -> float:
        total = 0.0
        for node in nodes:
            total += node(facts, limit)
            if total > limit:
                return math.inf
        return total

    return distance


def _comparison(leaf: Leaf) -> _Comparison | None:
    value, order = leaf.value, _ORDERS.get(leaf.operator)
    if isinstance(value, Range):
        low, high = value.low, value.high
        return _Comparison(
            lambda actual, _: low <= actual <= high,
            lambda actual, _: low if actual - low <= high - actual else high,
        )
    if order is None:
        return None
    if isinstance(value, Decimal):
        return _Comparison(lambda actual, _: order(actual, value), lambda *_: value)
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

        return _Comparison(holds, lambda _, facts: bound(facts))
    return None


def _group_evaluator(logic: Logic, nodes: tuple[Evaluator, ...]) -> Evaluator:
    decisive, decided = logic is not Logic.ALL, logic is Logic.ANY

    def evaluated(facts: Facts) -> bool | None:  # as `evaluate.join`, without its iterator
        unknown = False
        for node in nodes:
            result = node(facts)
            if result is decisive:
                return decided
            unknown = unknown or result is None
        return None if unknown else not decided

    return evaluated


def _group_tracer(logic: Logic, nodes: tuple[Tracer, ...]) -> Tracer:
    name = logic.value

    def traced(facts: Facts, ages: Ages, withheld: Withheld) -> dict[str, Any]:
        documents = [node(facts, ages, withheld) for node in nodes]
        return {name: documents, "result": join(logic, [document["result"] for document in documents])}

    return traced


def _leaf_evaluator(leaf: Leaf, compared: _Comparison) -> Evaluator:
    key, holds = leaf.operand.key, compared.holds
    if (fixed := _constant(leaf)) is not None:
        order, value = fixed

        def decided(facts: Facts) -> bool | None:
            actual = facts.get(key)
            if isinstance(actual, Decimal) and actual.is_finite():
                return order(actual, value)
            return leaf_result(leaf, facts)

        return decided

    def evaluated(facts: Facts) -> bool | None:
        actual = facts.get(key)
        result = holds(actual, facts) if isinstance(actual, Decimal) and actual.is_finite() else None
        return leaf_result(leaf, facts) if result is None else result

    return evaluated


def _constant(leaf: Leaf) -> tuple[Callable[[Decimal, Decimal], bool], Decimal] | None:
    """Return the order and the number that a fact is compared with, as nearly all are: it is compared on the spot."""
    order = _ORDERS.get(leaf.operator)
    return None if order is None or not isinstance(leaf.value, Decimal) else (order, leaf.value)


def _leaf_distance(leaf: Leaf, compared: _Comparison | None, *, wanted: bool) -> Distance:
    if compared is None:
        return lambda facts, _: cost_of(leaf, facts, wanted=wanted)
    key, (holds, turns) = leaf.operand.key, compared
    if (fixed := _constant(leaf)) is not None:
        return _constant_distance(leaf, *fixed, wanted=wanted)

    def distance(facts: Facts, _: float) -> float:
        actual = facts.get(key)
        if not isinstance(actual, Decimal) or not actual.is_finite():
            return cost_of(leaf, facts, wanted=wanted)
        if holds(actual, facts) is wanted:
            return 0.0
        target = turns(actual, facts)
        if target is None:
            return cost_of(leaf, facts, wanted=wanted)
        percent = percent_of_way(actual, target)
        return math.inf if percent is None else abs(percent)

    return distance


def _constant_distance(
    leaf: Leaf, order: Callable[[Decimal, Decimal], bool], value: Decimal, *, wanted: bool
) -> Distance:
    key = leaf.operand.key

    def distance(facts: Facts, _: float) -> float:
        actual = facts.get(key)
        if not isinstance(actual, Decimal) or not actual.is_finite():
            return cost_of(leaf, facts, wanted=wanted)
        if order(actual, value) is wanted:
            return 0.0
        percent = percent_of_way(actual, value)
        return math.inf if percent is None else abs(percent)

    return distance


def _leaf_tracer(leaf: Leaf, compared: _Comparison) -> Tracer:
    key, operand = leaf.operand.key, leaf.operand
    window = None if operand.window is None else operand.window.value
    fixed = {"field": operand.field, "window": window, "operator": leaf.operator.value}
    literal = None if isinstance(leaf.value, Multiple) else value_document(leaf.value)

    def traced(facts: Facts, ages: Ages, withheld: Withheld) -> dict[str, Any]:
        actual = facts.get(key)
        if not isinstance(actual, Decimal) or not actual.is_finite():
            return trace_leaf(leaf, facts, ages, withheld)
        target = compared.turns(actual, facts)
        if target is None:
            return trace_leaf(leaf, facts, ages, withheld)
        document: dict[str, Any] = {
            **fixed,
            "actual": json_number(actual),
            "expected": expected(leaf, facts, ages) if literal is None else literal,
            "result": compared.holds(actual, facts),
        }
        if key in ages:
            document["data_age_seconds"] = ages[key]
        margin = percent_of_way(actual, target)
        if margin is not None:
            document["margin_pct"] = round(margin, MARGIN_DIGITS)
        return document

    return traced
