"""What the reader of condition trees accepts and refuses, each refusal with its path."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from core.errors import InputError, Problem
from engine.rules.conditions import parse
from engine.rules.evaluate import evaluate
from engine.rules.tree import Group, Leaf, Logic, Multiple, Operand, Operator, Range
from engine.rules.windows import Window

CPA = {"field": "cpa", "operator": ">", "value": 50}


def problems_of(document: object, **options: Any) -> list[Problem]:
    with pytest.raises(InputError) as refused:
        parse(document, **options)
    return list(refused.value.problems)


def nested(groups: int) -> dict[str, Any]:
    node: dict[str, Any] = CPA
    for _ in range(groups):
        node = {"all": [node]}
    return node


def leaf(**changes: Any) -> dict[str, Any]:
    return {**CPA, **changes}


def test_a_leaf_is_read_with_its_default_window_and_an_exact_number() -> None:
    operand = Operand("cpa", Window.LAST_7D)
    assert parse(leaf(value=0.1)) == Leaf(operand, Operator.GREATER, Decimal("0.1"))


def test_metric_threshold_and_double_equals_are_other_spellings() -> None:
    assert parse({"metric": "cpa", "operator": "==", "threshold": 50}) == parse(leaf(operator="="))


def test_a_range_is_a_list_or_an_object() -> None:
    expected = Range(Decimal(1), Decimal(2))
    for value in ([1, 2], {"min": 1, "max": 2}):
        read = parse(leaf(operator="between", value=value))
        assert isinstance(read, Leaf)
        assert read.value == expected


def test_another_operand_has_its_own_window_and_factor() -> None:
    read = parse(leaf(value={"metric": "cpa", "window": "last_14d", "times": 1.2}))
    assert isinstance(read, Leaf)
    assert read.value == Multiple(Operand("cpa", Window.LAST_14D, explicit=True), Decimal("1.2"))


def test_groups_nest_six_deep_and_a_list_counts_as_one() -> None:
    parse(nested(6))
    parse([nested(5)])
    assert problems_of(nested(7))[0].field == "conditions" + ".all" + "[0].all" * 6
    assert problems_of([nested(6)])[0].field == "conditions[0]" + ".all" + "[0].all" * 5


def test_a_hostile_depth_is_refused_without_exhausting_the_stack() -> None:
    (problem,) = problems_of(nested(100_000))
    assert "nested 7 groups deep" in problem.message


def test_fifty_conditions_are_the_most() -> None:
    read = parse([CPA] * 50)
    assert isinstance(read, Group)
    assert len(read.nodes) == 50
    assert [str(problem) for problem in problems_of([CPA] * 51)] == [
        "conditions: has more than 50 conditions (give at most 50)"
    ]
    assert problems_of([{"any": [CPA] * 30}, {"none": [CPA] * 30}])[0].message == "has more than 50 conditions"


def test_a_million_wrong_conditions_are_told_briefly() -> None:
    assert len(problems_of([1] * 1_000_000)) == 52


@pytest.mark.parametrize(
    ("document", "path", "message"),
    [
        ({}, "conditions", "is empty"),
        ([], "conditions", "has no conditions"),
        ({"any": []}, "conditions.any", "has no conditions"),
        ({"all": [{"none": []}]}, "conditions.all[0].none", "has no conditions"),
        ({"all": CPA}, "conditions.all", "must be a list of conditions, not an object"),
        (None, "conditions", "must be an object, not null"),
        ("cpa > 5", "conditions", "must be an object, not 'cpa > 5'"),
        ([CPA, 7], "conditions[1]", "must be an object, not 7"),
        ([[CPA]], "conditions[0]", "must be an object, not a list"),
        ({"all": [CPA], "any": [CPA]}, "conditions", "a group has exactly one of"),
        ({"all": [CPA], "field": "cpa"}, "conditions", "a group has exactly one of"),
        (leaf(threshold=5), "conditions.threshold", "means the same as value"),
        (leaf(metric="cpa"), "conditions.metric", "means the same as field"),
        (leaf(when="now"), "conditions.when", "unknown key"),
        ({"operator": ">", "value": 5}, "conditions.field", "is required"),
        ({"field": "cpa", "value": 5}, "conditions.operator", "is required"),
        ({"field": "cpa", "operator": ">"}, "conditions.value", "is required"),
        (leaf(operator="=>"), "conditions.operator", "unknown operator '=>'"),
        (leaf(operator=["in"]), "conditions.operator", "unknown operator a list"),
        (leaf(field="cpaa"), "conditions.field", "unknown field 'cpaa'"),
        (leaf(field=5), "conditions.field", "must be the name of a field, not 5"),
        (leaf(field="cpa@last_7d"), "conditions.field", "unknown field 'cpa@last_7d'"),
        (leaf(window="last_5d"), "conditions.window", "unknown window 'last_5d'"),
        (leaf(window=7), "conditions.window", "unknown window 7"),
        (leaf(field="budget", window="today"), "conditions.window", "budget is no metric and has no window"),
        (leaf(value=True), "conditions.value", "must be a number, not true"),
        (leaf(operator="=", value=True), "conditions.value", "must be a number, not true"),
        (leaf(value=None), "conditions.value", "must be a number, not null"),
        (leaf(value="50"), "conditions.value", "must be a number, not '50'"),
        (leaf(value=[50]), "conditions.value", "must be a number, not a list"),
        (leaf(value=float("nan")), "conditions.value", "must be a number, not nan"),
        (leaf(value=float("inf")), "conditions.value", "must be a number, not inf"),
        (leaf(value=1e31), "conditions.value", "must be a number, not 1e+31"),
        (leaf(value=10**5000), "conditions.value", "must be a number, not a number"),
        (leaf(operator="between", value=[2, 1]), "conditions.value", "the low end 2 is above the high end 1"),
        (leaf(operator="between", value={"min": 2, "max": 1}), "conditions.value", "the low end 2 is above"),
        (leaf(operator="between", value=[1]), "conditions.value", "must be two numbers, not a list"),
        (leaf(operator="between", value=[1, 2, 3]), "conditions.value", "must be two numbers"),
        (leaf(operator="between", value={"low": 1, "high": 2}), "conditions.value", "must be two numbers"),
        (leaf(operator="between", value=[1, True]), "conditions.value[1]", "must be a number, not true"),
        (leaf(operator="between", value={"min": "1", "max": 2}), "conditions.value.min", "must be a number, not '1'"),
        (leaf(operator="in", value=[]), "conditions.value", "must be a list of at least one value"),
        (leaf(operator="in", value=5), "conditions.value", "must be a list of at least one value, not 5"),
        (leaf(operator="in", value=[1, "a"]), "conditions.value[1]", "must be a number, not 'a'"),
        (leaf(operator="in", value=[1] * 1001), "conditions.value", "has 1001 values"),
        (leaf(operator="contains", value="5"), "conditions.operator", "contains does not apply to cpa, a number"),
        (leaf(field="status"), "conditions.operator", "> does not apply to status, a string"),
        (leaf(field="tags", operator="=", value="a"), "conditions.operator", "= does not apply to tags, a list"),
        (leaf(field="status", operator="=", value=5), "conditions.value", "must be a string, not 5"),
        (leaf(field="tags", operator="contains", value=["a"]), "conditions.value", "must be a string, not a list"),
        (leaf(operator="is_null", value=1), "conditions.value", "is_null takes no value"),
        (leaf(value={"field": "cpaa"}), "conditions.value.field", "unknown field 'cpaa'"),
        (leaf(value={"window": "today"}), "conditions.value.field", "is required"),
        (leaf(value={"field": "cpa", "window": "x"}), "conditions.value.window", "unknown window 'x'"),
        (leaf(value={"field": "cpa", "times": True}), "conditions.value.times", "must be a number, not true"),
        (leaf(value={"field": "cpa", "plus": 1}), "conditions.value.plus", "unknown key"),
        (leaf(value={"field": "name"}), "conditions.value", "name is a string and cannot be compared with cpa"),
        (leaf(value={"field": "tags"}), "conditions.value", "tags is a list and cannot be compared with cpa"),
        (
            {"field": "name", "operator": "=", "value": {"field": "status", "times": 2}},
            "conditions.value.times",
            "status is a string",
        ),
        (
            leaf(operator="changed_pct", window="lifetime"),
            "conditions.window",
            "changed_pct needs a window that another",
        ),
        (leaf(operator="changed_pct", field="budget"), "conditions.operator", "changed_pct compares windows"),
        (leaf(operator="changed_pct", value="5"), "conditions.value", "must be a number, not '5'"),
        (
            leaf(operator="changed_pct", value={"field": "cpa"}),
            "conditions.value",
            "changed_pct compares with a number",
        ),
        (leaf(operator="changed_pct", value=0), "conditions.value", "0 is neither a rise nor a fall"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_tree_is_refused_at_its_path(document: object, path: str, message: str) -> None:
    (problem,) = problems_of(document)
    assert problem.field == path
    assert problem.message.startswith(message)


@pytest.mark.parametrize(
    ("document", "allowed"),
    [
        (leaf(operator="~"), "not_contains"),
        (leaf(field="x"), "spend_pct_of_budget"),
        (leaf(window="x"), "last_14d"),
        (leaf(x=1), "threshold"),
        (leaf(field="status"), "starts_with"),
        (leaf(operator="changed_pct", window="lifetime"), "yesterday"),
    ],
)
def test_a_refused_name_comes_with_the_allowed_ones(document: object, allowed: str) -> None:
    (problem,) = problems_of(document)
    assert problem.remedy is not None
    assert problem.remedy.startswith("allowed: ")
    assert allowed in problem.remedy


def test_all_that_is_wrong_is_told_at_once() -> None:
    document = {
        "all": [
            leaf(operator="~", window="soon"),
            {"any": [leaf(value=True), leaf(field="cpaa", value=True)]},
            leaf(field="status", window="today"),
            {"none": []},
        ]
    }
    assert [problem.field for problem in problems_of(document)] == [
        "conditions.all[0].window",
        "conditions.all[0].operator",
        "conditions.all[1].any[0].value",
        "conditions.all[1].any[1].field",
        "conditions.all[1].any[1].value",
        "conditions.all[2].window",
        "conditions.all[2].operator",
        "conditions.all[3].none",
    ]


def test_paths_start_where_the_caller_says() -> None:
    assert problems_of([], path="steps[2].config.when")[0].field == "steps[2].config.when"


def test_an_unknown_logic_of_a_list_is_refused() -> None:
    assert problems_of([CPA], logic="xor")[0].field == "condition_logic"


def test_without_known_fields_any_dotted_path_is_a_field_of_any_type() -> None:
    read = parse({"field": "order.items-count", "operator": "=", "value": "a"}, known_fields=None)
    assert isinstance(read, Leaf)
    assert read.operand == Operand("order.items-count")
    for wrong in ("", "a..b", "a b", ".a", "a@b", "x" * 201):
        assert problems_of({"field": wrong, "operator": "is_null"}, known_fields=None)[0].field == "conditions.field"


def test_without_known_fields_everything_but_names_stays_strict() -> None:
    for document, path in [
        ({"field": "x", "operator": "~", "value": 1}, "conditions.operator"),
        ({"field": "x", "operator": ">", "value": "a"}, "conditions.value"),
        ({"field": "x", "operator": ">", "value": True}, "conditions.value"),
        ({"field": "x", "operator": "in", "value": [1, "a"]}, "conditions.value"),
        ({"field": "cpa", "operator": "=", "value": "a"}, "conditions.value"),
        ({"field": "budget", "window": "today", "operator": ">", "value": 1}, "conditions.window"),
    ]:
        assert [problem.field for problem in problems_of(document, known_fields=None)] == [path]


def test_a_message_never_repeats_a_long_or_deep_value() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, "x" * 10_000, {"field": deep}):
        assert all(len(str(problem)) < 400 for problem in problems_of(leaf(value=value)))


def test_a_tree_says_its_own_logic_whatever_the_rules_logic() -> None:
    for logic in ("and", "or"):
        read = parse({"none": [CPA]}, logic)
        assert isinstance(read, Group)
        assert read.logic is Logic.NONE
        assert evaluate(read, {"cpa": 51}) is False
