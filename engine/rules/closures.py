"""A condition tree as closures: `evaluate`, `trace` and the `distance` of a miss, at a fraction of the time.

A comparison of one number with another, which nearly every leaf is, is made on the spot, and all about it that never
changes is made once. Every other leaf, and every fact that is no Decimal, is left to those.
"""

from __future__ import annotations

import math
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from engine.rules.compare import leaf_result
from engine.rules.comparison import comparison, constant
from engine.rules.leaf_change import percent_of_way
from engine.rules.nearest import cost_of, needs
from engine.rules.trace_text import tracer_of
from engine.rules.tree import Condition, Leaf, Logic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.rules.comparison import Comparison, Order
    from engine.rules.trace_text import Tracer

    Facts = Mapping[str, object]

    Evaluator: TypeAlias = Callable[[Facts], bool | None]
    Distance: TypeAlias = Callable[[Facts, float], float]


class Closures(NamedTuple):
    """What `evaluate` returns for a tree, and `trace`, written out."""

    evaluate: Evaluator
    trace: Tracer


def compile_tree(condition: Condition) -> Closures:
    """Return `evaluate` and the text of `trace` of this tree."""
    return Closures(_evaluator(condition), tracer_of(condition))


def distance_of(condition: Condition, *, wanted: bool = True) -> Distance:
    """Return `distance` of this tree, infinite instead of None; with `wanted` false, of making it false.

    It is given a limit, too: what is farther away may be infinitely far.
    """
    if isinstance(condition, Leaf):
        return _leaf_distance(condition, comparison(condition), wanted=wanted)
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


def _evaluator(condition: Condition) -> Evaluator:
    if not isinstance(condition, Leaf):
        return _group_evaluator(condition.logic, tuple(map(_evaluator, condition.nodes)))
    compared = comparison(condition)
    return partial(leaf_result, condition) if compared is None else _leaf_evaluator(condition, compared)


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


def _leaf_evaluator(leaf: Leaf, compared: Comparison) -> Evaluator:
    key, holds = leaf.operand.key, compared.holds
    if (fixed := constant(leaf)) is not None:
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


def _leaf_distance(leaf: Leaf, compared: Comparison | None, *, wanted: bool) -> Distance:
    if compared is None:
        return lambda facts, _: cost_of(leaf, facts, wanted=wanted)
    key, (holds, turns) = leaf.operand.key, compared
    if (fixed := constant(leaf)) is not None:
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


def _constant_distance(leaf: Leaf, order: Order, value: Decimal, *, wanted: bool) -> Distance:
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
