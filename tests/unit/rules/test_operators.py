"""The truth table: every operator on every type of fact, with true, false and unknown."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

from engine.rules.conditions import parse
from engine.rules.evaluate import evaluate
from engine.rules.tree import Operator

NUMBER, STRING, BOOLEAN, LIST = Decimal(5), "abc", True, ["a", "b"]

# operator, value → what it says of the number 5, the string "abc", the boolean true, the list ["a", "b"]
TABLE: list[tuple[str, Any, tuple[bool | None, ...]]] = [
    (">", 4, (True, None, None, None)),
    (">", 5, (False, None, None, None)),
    (">=", 5, (True, None, None, None)),
    (">=", 5.01, (False, None, None, None)),
    ("<", 6, (True, None, None, None)),
    ("<", 5, (False, None, None, None)),
    ("<=", 5, (True, None, None, None)),
    ("<=", 4.99, (False, None, None, None)),
    ("=", 5, (True, None, None, None)),
    ("==", 5.0, (True, None, None, None)),
    ("=", 4, (False, None, None, None)),
    ("=", "abc", (None, True, None, None)),
    ("=", "ABC", (None, False, None, None)),
    ("=", True, (None, None, True, None)),
    ("=", False, (None, None, False, None)),
    ("!=", True, (None, None, False, None)),
    ("!=", False, (None, None, True, None)),
    ("!=", 5, (False, None, None, None)),
    ("!=", 4, (True, None, None, None)),
    ("!=", "abc", (None, False, None, None)),
    ("!=", "ABC", (None, True, None, None)),
    ("between", [5, 6], (True, None, None, None)),
    ("between", [4, 5], (True, None, None, None)),
    ("between", {"min": 5, "max": 5}, (True, None, None, None)),
    ("between", {"min": 6, "max": 7}, (False, None, None, None)),
    ("in", [4, 5], (True, None, None, False)),
    ("in", [4], (False, None, None, False)),
    ("in", ["abc", "b"], (None, True, None, True)),
    ("in", ["ABC"], (None, False, None, False)),
    ("not_in", [4, 5], (False, None, None, True)),
    ("not_in", ["abc", "b"], (None, False, None, False)),
    ("not_in", ["ABC"], (None, True, None, True)),
    ("contains", "b", (None, True, None, True)),
    ("contains", "B", (None, False, None, False)),
    ("contains", "bc", (None, True, None, False)),
    ("contains", 5, (None, None, None, False)),
    ("not_contains", "b", (None, False, None, False)),
    ("not_contains", "B", (None, True, None, True)),
    ("starts_with", "ab", (None, True, None, None)),
    ("starts_with", "Ab", (None, False, None, None)),
    ("ends_with", "bc", (None, True, None, None)),
    ("ends_with", "ab", (None, False, None, None)),
    ("is_null", None, (False, False, False, False)),
    ("is_not_null", None, (True, True, True, True)),
    ("changed_pct", 10, (None, None, None, None)),
]


def outcome(operator: str, value: object, facts: dict[str, Any]) -> bool | None:
    document = {"field": "x", "operator": operator, **({} if value is None else {"value": value})}
    return evaluate(parse(document, known_fields=None), facts)


@pytest.mark.parametrize(("operator", "value", "expected"), TABLE)
def test_an_operator_says_true_false_or_unknown_of_each_type_of_fact(
    operator: str, value: object, expected: tuple[bool | None, ...]
) -> None:
    assert tuple(outcome(operator, value, {"x": fact}) for fact in (NUMBER, STRING, BOOLEAN, LIST)) == expected


@pytest.mark.parametrize(("operator", "value", "_expected"), TABLE)
def test_a_missing_or_null_fact_is_unknown_except_to_the_null_tests(
    operator: str, value: object, _expected: object
) -> None:
    expected = {"is_null": True, "is_not_null": False}.get(operator)
    assert outcome(operator, value, {}) is expected
    assert outcome(operator, value, {"x": None}) is expected


@pytest.mark.parametrize("fact", [0, 0.0, "", False, []])
def test_an_empty_or_zero_fact_is_not_null(fact: object) -> None:
    assert outcome("is_null", None, {"x": fact}) is False
    assert outcome("is_not_null", None, {"x": fact}) is True


def test_the_table_has_every_operator() -> None:
    assert {operator for operator, _, _ in TABLE} == {*(operator.value for operator in Operator), "=="}


@pytest.mark.parametrize(
    ("now", "before", "percent", "expected"),
    [
        (120, 100, 20, True),  # at the boundary
        (119.99, 100, 20, False),
        (80, 100, 20, False),  # a fall is no rise
        (80, 100, -20, True),
        (80.01, 100, -20, False),
        (120, 100, -20, False),
        (0, 100, -100, True),
        (-50, -100, 50, True),  # from a negative value up is a rise
        (100, 0, 20, None),
        (None, 100, 20, None),
        (100, None, 20, None),
        ("120", 100, 20, None),
        (0, 0, 20, None),
    ],
)
def test_changed_pct_compares_with_the_preceding_window(
    now: object,
    before: object,
    percent: int,
    expected: bool | None,  # noqa: FBT001 - one of three truth values
) -> None:
    facts = {"spend@last_3d": now, "spend@last_3d:previous": before}
    document = {"field": "spend", "window": "last_3d", "operator": "changed_pct", "value": percent}
    assert evaluate(parse(document), facts) is expected


def test_another_operand_is_compared_by_its_value_times_a_factor() -> None:
    document = {"field": "cpa", "operator": ">", "value": {"field": "cpa", "window": "last_14d", "times": 1.2}}
    condition = parse(document)
    assert evaluate(condition, {"cpa": 12, "cpa@last_14d": 10}) is False
    assert evaluate(condition, {"cpa": 12.01, "cpa@last_14d": 10}) is True
    assert evaluate(condition, {"cpa": 12.01}) is None
    assert evaluate(condition, {"cpa": 12.01, "cpa@last_14d": "10"}) is None


# What a value of the first kind says of one of the second, as an operand to compare with: SPEC §3's comparable pairs.
FACTS: dict[str, list[Any]] = {
    "number": [5, 5.0, Decimal(5)],
    "string": ["abc", "5", ""],
    "boolean": [True],
    "list": [["abc"], [5], []],
    "nothing": [None],
}
ORDERING, EQUALITY = (">", ">=", "<", "<="), ("=", "!=")
DECIDED = {
    *((operator, "number", "number") for operator in (*ORDERING, *EQUALITY)),
    *((operator, kind, kind) for operator in EQUALITY for kind in ("string", "boolean")),
}


@pytest.mark.parametrize("operator", [*ORDERING, *EQUALITY])
@pytest.mark.parametrize("mine", FACTS)
@pytest.mark.parametrize("theirs", FACTS)
def test_two_operands_are_compared_only_where_their_types_allow_it(operator: str, mine: str, theirs: str) -> None:
    for left, right in itertools.product(FACTS[mine], FACTS[theirs]):
        result = outcome(operator, {"field": "y"}, {"x": left, "y": right})
        assert (result is not None) is ((operator, mine, theirs) in DECIDED)
        scaled = outcome(operator, {"field": "y", "times": 2}, {"x": left, "y": right})
        assert (scaled is not None) is (mine == theirs == "number")


@pytest.mark.parametrize(
    ("operator", "smaller", "same", "greater"),
    [
        (">", False, False, True),
        (">=", False, True, True),
        ("<", True, False, False),
        ("<=", True, True, False),
        ("=", False, True, False),
        ("!=", True, False, True),
    ],
)
def test_numbers_of_every_spelling_compare_by_their_value(
    operator: str,
    smaller: bool,  # noqa: FBT001 - the columns of the table
    same: bool,  # noqa: FBT001
    greater: bool,  # noqa: FBT001
) -> None:
    rows = [(smaller, (4, 4.99, Decimal("4.999"))), (same, (5, 5.0, Decimal("5.00"))), (greater, (6, 5.01))]
    for expected, facts in rows:
        for fact in facts:
            assert outcome(operator, 5, {"x": fact}) is expected
            assert outcome(operator, {"field": "y"}, {"x": fact, "y": Decimal(5)}) is expected
            assert outcome(operator, {"field": "y", "times": 0.5}, {"x": fact, "y": 10}) is expected


@pytest.mark.parametrize("mine", FACTS)
@pytest.mark.parametrize("theirs", FACTS)
def test_a_change_is_known_of_two_numbers_only(mine: str, theirs: str) -> None:
    for now, before in itertools.product(FACTS[mine], FACTS[theirs]):
        result = outcome("changed_pct", 10, {"x": now, "x:previous": before})
        assert result is (False if mine == theirs == "number" else None)


@pytest.mark.parametrize(
    ("operator", "value", "facts"),
    [
        ("in", [1, 5], {True: [[5], [0, 1], ["a", 5]], False: [[], [2], ["5"], [None], [True]]}),
        ("in", ["a", "5"], {True: [["a"], [1, "5"]], False: [[], [5], ["A"], [["a"]]]}),
        ("contains", 5, {True: [[5], [5.0, "a"], [Decimal(5)]], False: [[], ["5"], [[5]]]}),
        ("contains", "a", {True: [["a", 1], "cab"], False: [[], ["ab"], "", "A", [None]]}),
    ],
)
def test_a_list_matches_by_its_elements(operator: str, value: object, facts: dict[bool, list[Any]]) -> None:
    for expected, found in facts.items():
        for fact in found:
            assert outcome(operator, value, {"x": fact}) is expected
            assert outcome(f"not_{operator}", value, {"x": fact}) is not expected


def test_strings_of_two_fields_can_be_compared() -> None:
    condition = parse({"field": "name", "operator": "=", "value": {"field": "platform"}})
    assert evaluate(condition, {"name": "meta", "platform": "meta"}) is True
    assert evaluate(condition, {"name": "Meta", "platform": "meta"}) is False
