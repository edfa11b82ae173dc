"""The nearest miss: the cheapest change of facts with which a tree that does not hold would hold.

Cost of a change: its size in percent of what the number is now. A leaf that is as it should be costs 0; `all` costs
the sum of what its nodes need; `any` its cheapest node; `none` making all its nodes false. A change without a
percentage (a text, a number from 0, a value where there is none) costs more than any that has one.

Each leaf is looked at by itself. Where leaves contradict each other (above 5 and below 3), `nearest_miss` goes on to
the next cheapest set of changes, and returns only one that makes the tree true.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from engine.rules.compare import leaf_result
from engine.rules.evaluate import evaluate
from engine.rules.leaf_change import LeafChange, change_needed, cost_of_change
from engine.rules.tree import Condition, Group, Leaf, Logic, Quantity, operands

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Facts = Mapping[str, object]

Plan: TypeAlias = tuple[LeafChange, ...]

_ALTERNATIVES: Final = 8  # sets of changes that are kept of a node: enough where few leaves contradict each other


@dataclass(frozen=True, slots=True)
class NearestMiss:
    """Changes with which the tree holds, one for each quantity, and their cost: the sum over the leaves, in percent.

    `cost` is None where a change has no percentage.
    """

    changes: Plan
    cost: float | None

    @property
    def text(self) -> str:
        """The miss in words: `would fire if cpa (last_7d) rises more than 4 % (above 50)`."""
        return f"would fire if {' and '.join(change.text for change in self.changes)}"

    def document(self) -> dict[str, object]:
        """Return the miss as JSON."""
        return {
            "text": self.text,
            "cost_pct": self.cost,
            "changes": [change.document() for change in self.changes],
        }


def margin(leaf: Leaf, facts: Facts) -> float | None:
    """Return the change of the leaf's fact, in percent of its size, at which the leaf's result turns; a rise positive.

    0 where the fact is at the boundary and any step beyond turns it. None where there is no percentage: an unknown
    result, a text, a list, a fact that is 0.
    """
    result = leaf_result(leaf, facts)
    change = None if result is None else change_needed(leaf, facts, wanted=not result)
    return None if change is None else change.percent


def distance(condition: Condition, facts: Facts) -> float | None:
    """Return how far the tree is from holding, to rank many entities by: 0 where it holds, in percent otherwise.

    The cost of `nearest_miss`, or less where leaves contradict each other. None where a change without a percentage
    is needed, or none helps.
    """
    cost = cost_of(condition, facts, wanted=True)
    return None if math.isinf(cost) else cost


def nearest_miss(condition: Condition, facts: Facts) -> NearestMiss | None:
    """Return the cheapest change of facts with which the tree holds; None where it holds, or none was found."""
    if evaluate(condition, facts) is True:
        return None
    for plan in _plans(condition, facts, wanted=True):
        changes = _one_per_quantity(plan)
        if evaluate(condition, _changed(condition, facts, changes)) is True:
            cost = sum(change.cost for change in plan)
            return NearestMiss(changes, None if math.isinf(cost) else cost)
    return None


def needs(group: Group, *, wanted: bool) -> tuple[bool, bool]:
    """Return which result the group needs of its nodes, and whether it needs it of every one."""
    of_nodes = wanted is not (group.logic is Logic.NONE)
    return of_nodes, of_nodes is (group.logic is Logic.ALL)


def cost_of(condition: Condition, facts: Facts, *, wanted: bool) -> float:
    """Return what it costs to give the tree the result `wanted`, leaf by leaf; infinite where that cannot be."""
    if isinstance(condition, Leaf):
        if leaf_result(condition, facts) is wanted:
            return 0.0
        return cost_of_change(condition, facts, wanted=wanted)
    of_nodes, of_every = needs(condition, wanted=wanted)
    costs = (cost_of(node, facts, wanted=of_nodes) for node in condition.nodes)
    return sum(costs) if of_every else min(costs)


def _plans(condition: Condition, facts: Facts, *, wanted: bool) -> list[Plan]:
    """Return the cheapest sets of changes that give each leaf what is wanted of it, the cheapest first."""
    if isinstance(condition, Leaf):
        if leaf_result(condition, facts) is wanted:
            return [()]
        change = change_needed(condition, facts, wanted=wanted)
        return [] if change is None else [(change,)]
    of_nodes, of_every = needs(condition, wanted=wanted)
    choices = [_plans(node, facts, wanted=of_nodes) for node in condition.nodes]
    if not of_every:
        return _cheapest(plan for plans in choices for plan in plans)
    joined: list[Plan] = [()]
    for plans in choices:
        joined = _cheapest(plan + more for plan in joined for more in plans)
    return joined


def _cheapest(plans: Iterable[Plan]) -> list[Plan]:
    return heapq.nsmallest(_ALTERNATIVES, plans, key=_rank)


def _rank(plan: Plan) -> tuple[int, float]:
    """Order by the number of changes without a percentage, then by the sum of the others."""
    costs = [change.cost for change in plan]
    return costs.count(math.inf), sum(cost for cost in costs if not math.isinf(cost))


def _changed(condition: Condition, facts: Facts, changes: Plan) -> Facts:
    """Return the facts after the changes; a quantity that the tree reads under several keys changes under each."""
    values = {change.leaf.operand.quantity: change.value for change in changes}
    read = (operand for operand in operands(condition) if operand.quantity in values)
    return {**facts, **{operand.key: values[operand.quantity] for operand in read}}


def _one_per_quantity(plan: Plan) -> Plan:
    """Keep, of several changes of one quantity, the one that goes farthest."""
    kept: dict[Quantity, LeafChange] = {}
    for change in plan:
        other = kept.get(change.leaf.operand.quantity)
        if other is None or _goes_farther(change, other):
            kept[change.leaf.operand.quantity] = change
    return tuple(kept.values())


def _goes_farther(change: LeafChange, other: LeafChange) -> bool:
    if change.boundary is None or other.boundary is None:
        return False
    return (change.cost, change.boundary.beyond) > (other.cost, other.boundary.beyond)
