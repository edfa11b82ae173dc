"""Evaluate a condition tree over facts, fast (`evaluate`) or with a trace that explains it (`trace`).

Both take each leaf from `compare.leaf_result` and each group from `join`, so that they cannot disagree.
A group follows SPEC §3: `all` with a false is false, `any` with a true is true, else unknown wins; `none` is not(any).
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from engine.rules.compare import actual_of, leaf_result, multiple_of, number
from engine.rules.document import json_number, value_document
from engine.rules.leaf_change import way_to_turn
from engine.rules.reading import kind_of, listed
from engine.rules.tree import Change, Condition, Group, Leaf, Logic, Multiple, Operand

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Facts = Mapping[str, object]
    Ages = Mapping[str, float]

MARGIN_DIGITS: Final = 4
_SHOWN_TEXT: Final = 500
_SHOWN_ELEMENTS: Final = 100
_NO_AGES: Final[Mapping[str, float]] = {}
_NO_DOUBTS: Final[Mapping[str, str]] = {}


def evaluate(condition: Condition, facts: Facts) -> bool | None:
    """Return whether the tree holds: true, false, or None for unknown. `facts` maps `Operand.key` to a value."""
    if isinstance(condition, Leaf):
        return leaf_result(condition, facts)
    return join(condition.logic, (evaluate(node, facts) for node in condition.nodes))


def trace(
    condition: Condition, facts: Facts, ages: Ages | None = None, withheld: Mapping[str, str] | None = None
) -> dict[str, object]:
    """Return the evaluation as a JSON document that mirrors the tree; its `result` is what `evaluate` returns.

    A group is `{all|any|none: [nodes], result}`. A leaf has field, window, operator, actual, expected, result;
    `previous` and `change_pct` for `changed_pct`; `expected` is an object with the other operand's own actual
    value where the tree compares with one; `reason` where the result is unknown, else `margin_pct`, how far the actual
    value is from where the result turns, where that is a percentage. `ages` (by `Operand.key`, in
    seconds) become `data_age_seconds`; `withheld` (by the same) are facts that are not trusted and therefore unknown,
    and why.
    """
    if isinstance(condition, Group):
        nodes = [trace(node, facts, ages, withheld) for node in condition.nodes]
        return {condition.logic.value: nodes, "result": join(condition.logic, (_result(node) for node in nodes))}
    return trace_leaf(condition, facts, ages or _NO_AGES, withheld)


def join(logic: Logic, results: Iterable[bool | None]) -> bool | None:
    """Return the result of a group from those of its nodes, lazily: the first that decides ends it."""
    decisive = logic is not Logic.ALL
    unknown = False
    for result in results:
        if result is decisive:
            return logic is Logic.ANY
        unknown = unknown or result is None
    return None if unknown else logic is not Logic.ANY


def _result(node: Mapping[str, object]) -> bool | None:
    result = node["result"]
    return result if isinstance(result, bool) else None


def trace_leaf(leaf: Leaf, facts: Facts, ages: Ages, withheld: Mapping[str, str] | None) -> dict[str, object]:
    """Return the evaluation of one leaf, as `trace` documents it."""
    result = leaf_result(leaf, facts)
    document: dict[str, object] = {
        **_observed(leaf.operand, facts, ages),
        "operator": leaf.operator.value,
    }
    if isinstance(leaf.value, Change):
        document["previous"] = _json(facts.get(leaf.value.previous.key))
        document["change_pct"] = _json(actual_of(leaf, facts))
    if leaf.value is not None:
        document["expected"] = expected(leaf, facts, ages)
    document["result"] = result
    if result is None:
        document["reason"] = _reason(leaf, facts, withheld or _NO_DOUBTS)
    elif (margin := way_to_turn(leaf, facts, result=result)) is not None:
        document["margin_pct"] = round(margin, MARGIN_DIGITS)
    return document


def _observed(operand: Operand, facts: Facts, ages: Ages) -> dict[str, object]:
    age = ages.get(operand.key)
    return {
        "field": operand.field,
        "window": None if operand.window is None else operand.window.value,
        "actual": _json(facts.get(operand.key)),
        **({} if age is None else {"data_age_seconds": age}),
    }


def expected(leaf: Leaf, facts: Facts, ages: Ages) -> object:
    """Return what a leaf compares with, as `trace` documents it."""
    value = leaf.value
    if not isinstance(value, Multiple):
        return value_document(value)
    return {
        **_observed(value.operand, facts, ages),
        "times": 1 if value.times is None else json_number(value.times),
        "value": _json(multiple_of(value, facts)),
    }


def _reason(leaf: Leaf, facts: Facts, withheld: Mapping[str, str]) -> str:
    """Say why the leaf is unknown."""
    read = (leaf.operand, *_compared_with(leaf))
    for operand in read:
        if operand.key in withheld:
            return f"{operand.key}: {withheld[operand.key]}"
        if facts.get(operand.key) is None:
            return f"{operand.key} has no value"
    if isinstance(leaf.value, Change) and number(facts[leaf.value.previous.key]) == 0:
        return f"{leaf.value.previous.key} is 0, so that there is no change in percent"
    kinds = listed(f"{operand.key}, {kind_of(facts[operand.key])}" for operand in read)
    return f"{leaf.operator} cannot compare {kinds}"


def _compared_with(leaf: Leaf) -> tuple[Operand, ...]:
    match leaf.value:
        case Multiple(operand=other) | Change(previous=other):
            return (other,)
        case _:
            return ()


def _json(value: object) -> object:
    """Return a value as a trace shows it: what an event brings may be long, and is told of many campaigns."""
    if isinstance(value, list | tuple):
        return [_json_scalar(element) for element in value[:_SHOWN_ELEMENTS]]
    return _json_scalar(value)


def _json_scalar(value: object) -> object:
    match value:
        case None | bool():
            return value
        case str():
            return value if len(value) <= _SHOWN_TEXT else f"{value[:_SHOWN_TEXT]}…"
        case int() | float() | Decimal():
            amount = number(value)
            return str(value) if amount is None else json_number(amount)
        case _:  # its type says enough, and what is inside may be deep
            return kind_of(value)
