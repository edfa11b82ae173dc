"""The facts that a trace shows: what is on record of an evaluation is enough to ask what else would have been."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.rules.tree import Change, Condition, Leaf, Multiple

if TYPE_CHECKING:
    from collections.abc import Mapping


def facts_shown(condition: Condition, trace: Mapping[str, Any]) -> dict[str, object]:
    """Return the facts by `Operand.key`, as `evaluate.trace` of this tree wrote them: numbers as JSON has them."""
    if isinstance(condition, Leaf):
        return _of_leaf(condition, trace)
    facts: dict[str, object] = {}
    for node, shown in zip(condition.nodes, trace[condition.logic.value], strict=True):
        facts |= facts_shown(node, shown)
    return facts


def _of_leaf(leaf: Leaf, trace: Mapping[str, Any]) -> dict[str, object]:
    facts = {leaf.operand.key: trace["actual"]}
    match leaf.value:
        case Change(previous=previous):
            facts[previous.key] = trace["previous"]
        case Multiple(operand=other):
            facts[other.key] = trace["expected"]["actual"]
        case _:
            pass
    return facts
