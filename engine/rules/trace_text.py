"""What `evaluate.trace` returns of a tree, written out as JSON: all about a leaf that never changes is written once."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeAlias

from engine.rules.comparison import comparison, constant
from engine.rules.document import json_number, value_document
from engine.rules.evaluate import MARGIN_DIGITS, join, trace_leaf
from engine.rules.leaf_change import percent_of_way
from engine.rules.tree import Condition, Leaf, Logic, Multiple, Operand

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.rules.comparison import Comparison, Order

    Facts = Mapping[str, object]
    Ages = Mapping[str, str]
    Withheld = Mapping[str, str] | None

    Traced: TypeAlias = tuple[str, bool | None]
    Tracer: TypeAlias = Callable[[Facts, Ages, Withheld], Traced]
    Expected: TypeAlias = Callable[[Facts, Ages, Decimal], str]

_RESULTS: Final = {True: "true", False: "false", None: "null"}
_LONG: Final = 40
"""Characters of a number within which there is nothing that a float cannot be."""
_AGE: Final = ',"data_age_seconds":'


def tracer_of(condition: Condition) -> Tracer:
    """Return what makes of facts, ages and withheld facts the text of the tree's trace, and its result.

    The ages are as `trace` takes them, each written as JSON.
    """
    if isinstance(condition, Leaf):
        compared = comparison(condition)
        return _any_leaf(condition) if compared is None else _number_leaf(condition, compared)
    return _group(condition.logic, [tracer_of(node) for node in condition.nodes])


def number_text(value: Decimal) -> str:
    """Return `json_number` of a finite number as JSON; where that is a float, as precisely as the number is known."""
    text = str(value)
    if text.isdigit():
        return text
    if "E" in text or len(text) > _LONG:
        return json.dumps(json_number(value))
    return text.rstrip("0").rstrip(".") if "." in text else text


def _group(logic: Logic, nodes: list[Tracer]) -> Tracer:
    name = json.dumps(logic.value)

    def traced(facts: Facts, ages: Ages, withheld: Withheld) -> Traced:
        texts, results = zip(*[node(facts, ages, withheld) for node in nodes], strict=True)
        result = join(logic, results)
        return f'{{{name}:[{",".join(texts)}],"result":{_RESULTS[result]}}}', result

    return traced


def _any_leaf(leaf: Leaf) -> Tracer:
    def traced(facts: Facts, ages: Ages, withheld: Withheld) -> Traced:
        document = trace_leaf(leaf, facts, {key: float(age) for key, age in ages.items()}, withheld)
        result = document["result"]
        return json.dumps(document), result if isinstance(result, bool) else None

    return traced


def _number_leaf(leaf: Leaf, compared: Comparison) -> Tracer:
    key, (holds, turns), otherwise = leaf.operand.key, compared, _any_leaf(leaf)
    start, expected = _start(leaf.operand, leaf.operator.value), _expected(leaf)
    if (fixed := constant(leaf)) is not None:
        return _constant_leaf(key, fixed, start, otherwise)

    def traced(facts: Facts, ages: Ages, withheld: Withheld) -> Traced:
        actual = facts.get(key)
        if not isinstance(actual, Decimal) or not actual.is_finite():
            return otherwise(facts, ages, withheld)
        target = turns(actual, facts)
        if target is None:
            return otherwise(facts, ages, withheld)
        result, aged = holds(actual, facts), _aged(ages, key)
        start_ = f'{start}{number_text(actual)},"expected":{expected(facts, ages, target)},"result":'
        return f"{start_}{_RESULTS[result]}{aged}{_margin(actual, target)}}}", result

    return traced


def _constant_leaf(key: str, fixed: tuple[Order, Decimal], start: str, otherwise: Tracer) -> Tracer:
    order, value = fixed
    ends = {held: f',"expected":{number_text(value)},"result":{_RESULTS[held]}' for held in (True, False)}

    def traced(facts: Facts, ages: Ages, withheld: Withheld) -> Traced:
        actual = facts.get(key)
        if not isinstance(actual, Decimal) or not actual.is_finite():
            return otherwise(facts, ages, withheld)
        result, aged = order(actual, value), _aged(ages, key)
        return f"{start}{number_text(actual)}{ends[result]}{aged}{_margin(actual, value)}}}", result

    return traced


def _aged(ages: Ages, key: str) -> str:
    age = ages.get(key)
    return "" if age is None else _AGE + age


def _margin(actual: Decimal, target: Decimal) -> str:
    margin = percent_of_way(actual, target)
    return "" if margin is None else f',"margin_pct":{margin:.{MARGIN_DIGITS}f}'


def _expected(leaf: Leaf) -> Expected:
    """Return what writes that which a leaf compares with, given where its result turns."""
    value = leaf.value
    if not isinstance(value, Multiple):
        literal = json.dumps(value_document(value))
        return lambda *_: literal
    key, start = value.operand.key, _start(value.operand)
    times = number_text(Decimal(1) if value.times is None else value.times)

    def expected(facts: Facts, ages: Ages, target: Decimal) -> str:
        other = facts[key]
        known = number_text(other) if isinstance(other, Decimal) else "null"
        return f'{start}{known}{_aged(ages, key)},"times":{times},"value":{number_text(target)}}}'

    return expected


def _start(operand: Operand, operator: str | None = None) -> str:
    """Return the text of an operand's trace up to the value that is found."""
    window = None if operand.window is None else operand.window.value
    fixed = {"field": operand.field, "window": window} | ({} if operator is None else {"operator": operator})
    return json.dumps(fixed, separators=(",", ":"))[:-1] + ',"actual":'
