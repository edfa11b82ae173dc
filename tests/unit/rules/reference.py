"""A second, naive reading of SPEC §3: evaluates the JSON document itself, with Fractions and no shared code."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

NEGATED = {"!=": "=", "not_in": "in", "not_contains": "contains"}


def decide(node: Any, facts: dict[str, Any]) -> bool | None:
    """Evaluate a node: true, false, None for unknown."""
    if "all" in node:
        return conjunction([decide(child, facts) for child in node["all"]])
    if "any" in node:
        return negation(conjunction([negation(decide(child, facts)) for child in node["any"]]))
    if "none" in node:
        return conjunction([negation(decide(child, facts)) for child in node["none"]])
    return leaf(node, facts)


def conjunction(results: list[bool | None]) -> bool | None:
    if any(result is False for result in results):
        return False
    return None if any(result is None for result in results) else True


def negation(result: bool | None) -> bool | None:  # noqa: FBT001 - one of three truth values
    return {True: False, False: True, None: None}[result]


def leaf(node: Any, facts: dict[str, Any]) -> bool | None:
    name = key(node)
    fact, value, operator = facts.get(name), node.get("value"), node["operator"]
    if operator in {"is_null", "is_not_null"}:
        return (fact is None) is (operator == "is_null")
    if operator in NEGATED:
        return negation(leaf({**node, "operator": NEGATED[operator]}, facts))
    if isinstance(value, dict) and operator != "between":
        other = facts.get(key(value))
        value = other if "times" not in value else times(other, value["times"])
    if fact is None or value is None:
        return None
    if operator == "changed_pct":
        return changed(fact, facts.get(f"{name}:previous"), value)
    return compared(operator, fact, value)


def key(node: Any) -> str:
    name: str = node["field"]
    return name + "@" + node["window"] if "window" in node else name


def times(fact: Any, factor: Any) -> Fraction | None:
    return exact(fact) * exact(factor) if is_number(fact) else None


def changed(now: Any, before: Any, percent: Any) -> bool | None:
    if not is_number(now) or not is_number(before) or before == 0:
        return None
    rise = (exact(now) - exact(before)) / abs(exact(before))
    wanted = exact(percent) / 100
    return rise >= wanted if wanted > 0 else rise <= wanted


def compared(operator: str, fact: Any, value: Any) -> bool | None:  # noqa: PLR0911 - one line an operator
    if operator == "=":
        return same(fact, value)
    if operator == "in":
        if isinstance(fact, list):
            return any(same(element, item) for element in fact for item in value)
        return None if same(fact, value[0]) is None else any(same(fact, item) for item in value)
    if operator == "contains" and isinstance(fact, list):
        return any(same(element, value) for element in fact)
    if operator in {"contains", "starts_with", "ends_with"}:
        if not (isinstance(fact, str) and isinstance(value, str)):
            return None
        positions = [start for start in range(len(fact) + 1) if fact[start : start + len(value)] == value]
        last = len(fact) - len(value)
        return {"contains": bool(positions), "starts_with": 0 in positions, "ends_with": last in positions}[operator]
    if not is_number(fact):
        return None
    number = exact(fact)
    if operator == "between":
        low, high = value if isinstance(value, list) else (value["min"], value["max"])
        return not (number < exact(low) or number > exact(high))
    if not is_number(value):
        return None
    bound = exact(value)
    return {">": number > bound, ">=": number >= bound, "<": number < bound, "<=": number <= bound}[operator]


def same(left: Any, right: Any) -> bool | None:
    if is_number(left) and is_number(right):
        return exact(left) == exact(right)
    return bool(left == right) if type(left) is type(right) and not isinstance(left, list) else None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal | Fraction) and not isinstance(value, bool)


def exact(value: Any) -> Fraction:
    return value if isinstance(value, Fraction) else Fraction(str(value))
