"""Condition trees as JSON again, in one canonical spelling, for storing and showing."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from engine.rules.tree import Change, Condition, Group, Multiple, Operand, Range, Value

# Beyond this a float is infinite, and int() of a Decimal may take for ever.
_MAX_EXPONENT: Final = 300


def to_document(condition: Condition) -> dict[str, object]:
    """Return the tree as JSON: `field` and `value` spelled so, `=` for `==`, a window only where one was written.

    `conditions.parse` of the result is the same tree, for numbers of up to 15 significant digits.
    """
    if isinstance(condition, Group):
        return {condition.logic.value: [to_document(node) for node in condition.nodes]}
    document = {**_operand_document(condition.operand), "operator": condition.operator.value}
    if condition.value is not None:
        document["value"] = value_document(condition.value)
    return document


def value_document(value: Value) -> object:
    """Return a leaf's value as JSON: what the tree compares with."""
    match value:
        case Decimal():
            return json_number(value)
        case tuple():
            return [value_document(item) for item in value]
        case Range(low=low, high=high):
            return [json_number(low), json_number(high)]
        case Multiple(operand=operand, times=times):
            factor = {} if times is None else {"times": json_number(times)}
            return {**_operand_document(operand), **factor}
        case Change(percent=percent):
            return json_number(percent)
        case _:
            return value


def json_number(value: Decimal) -> int | float | str:
    """Return a number as JSON: an int where it is whole, else the nearest float; text where neither can hold it."""
    if not value.is_finite() or value.adjusted() > _MAX_EXPONENT:
        return str(value)
    if value == value.to_integral_value():
        return int(value)
    return float(value)


def _operand_document(operand: Operand) -> dict[str, object]:
    if operand.explicit and operand.window is not None:
        return {"field": operand.field, "window": operand.window.value}
    return {"field": operand.field}
