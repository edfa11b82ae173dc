"""The evaluator against a naive second reading of the specification, and the laws of three-valued logic."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

from engine.rules.conditions import parse
from engine.rules.document import to_document
from engine.rules.evaluate import evaluate, trace
from engine.rules.tree import leaves, operands
from tests.effort import some
from tests.unit.rules import reference
from tests.unit.rules.strategies import FACTS, PATIENT, TREES

GROUP_KEYS = ("all", "any", "none")
TRUE = {"field": "yes", "operator": "is_null"}
FALSE = {"field": "yes", "operator": "is_not_null"}
UNKNOWN = {"field": "missing", "operator": ">", "value": 0}
NODES: dict[bool | None, dict[str, Any]] = {True: TRUE, False: FALSE, None: UNKNOWN}


def outcome(document: object, facts: dict[str, Any] | None = None) -> bool | None:
    return evaluate(parse(document, known_fields=None), facts or {})


@settings(PATIENT, max_examples=some(300))
@given(TREES, FACTS)
def test_the_evaluation_agrees_with_a_naive_reading_of_the_specification(
    tree: dict[str, Any], facts: dict[str, Any]
) -> None:
    assert outcome(tree, facts) is reference.decide(tree, facts)


@PATIENT
@given(TREES, FACTS)
def test_the_trace_has_the_result_of_the_evaluation_at_every_node(tree: dict[str, Any], facts: dict[str, Any]) -> None:
    explained = trace(parse(tree, known_fields=None), facts)
    for node, document in pairs(explained, tree):
        assert node["result"] is outcome(document, facts)


@PATIENT
@given(TREES, FACTS)
def test_the_trace_is_json_and_gives_a_reason_exactly_where_a_leaf_is_unknown(
    tree: dict[str, Any], facts: dict[str, Any]
) -> None:
    explained = trace(parse(tree, known_fields=None), facts, {"x": 3.5})
    assert json.loads(json.dumps(explained, allow_nan=False)) == explained
    for node, _ in pairs(explained, tree):
        if not any(key in node for key in GROUP_KEYS):
            assert ("reason" in node) is (node["result"] is None)


@PATIENT
@given(TREES, FACTS)
def test_de_morgan_holds_and_none_is_not_any(tree: dict[str, Any], facts: dict[str, Any]) -> None:
    nodes = [tree, UNKNOWN, {"field": "x", "operator": ">", "value": 0}]
    negations = [{"none": [node]} for node in nodes]
    if reference_depth(tree) > 3:
        return
    assert outcome({"none": nodes}, facts) is outcome({"all": negations}, facts)
    assert outcome({"none": [{"all": nodes}]}, facts) is outcome({"any": negations}, facts)
    assert outcome({"none": [{"none": nodes}]}, facts) is outcome({"any": nodes}, facts)


@PATIENT
@given(TREES, FACTS)
def test_only_the_facts_of_its_operands_matter_to_a_tree(tree: dict[str, Any], facts: dict[str, Any]) -> None:
    condition = parse(tree, known_fields=None)
    needed = {operand.key for operand in operands(condition)}
    assert evaluate(condition, {key: facts[key] for key in needed & facts.keys()}) is evaluate(condition, facts)


@PATIENT
@given(TREES)
def test_the_canonical_document_of_a_tree_is_read_as_the_same_tree(tree: dict[str, Any]) -> None:
    condition = parse(tree, known_fields=None)
    document = json.loads(json.dumps(to_document(condition), allow_nan=False))
    assert parse(document, known_fields=None) == condition


@pytest.mark.parametrize("results", list(itertools.product([True, False, None], repeat=3)))
def test_a_group_follows_the_three_valued_tables(results: tuple[bool | None, ...]) -> None:
    nodes = [NODES[result] for result in results]
    if False in results:
        assert outcome({"all": nodes}) is False
    else:
        assert outcome({"all": nodes}) is (None if None in results else True)
    if True in results:
        assert outcome({"any": nodes}) is True
        assert outcome({"none": nodes}) is False
    else:
        assert outcome({"any": nodes}) is (None if None in results else False)
        assert outcome({"none": nodes}) is (None if None in results else True)


def test_a_list_is_joined_by_all_or_by_the_rules_logic() -> None:
    for logic, expected in {"and": False, "all": False, "or": True, "any": True}.items():
        assert evaluate(parse([TRUE, FALSE], logic, known_fields=None), {}) is expected


def test_boundaries_in_money_are_exact() -> None:
    above = parse({"field": "spend", "operator": ">", "value": 0.3})
    assert evaluate(above, {"spend": Decimal("0.1") + Decimal("0.2")}) is False
    assert evaluate(above, {"spend": 0.3}) is False
    assert evaluate(above, {"spend": Decimal("0.300001")}) is True
    for amount in (0.1, 0.3, 49.99):  # binary floats beside their decimal spelling, one above and one below it
        equal = parse({"field": "spend", "operator": "=", "value": Decimal(str(amount))})
        assert evaluate(equal, {"spend": amount}) is True


def test_an_explicit_window_is_looked_up_only_under_its_own_key() -> None:
    explicit = parse({"field": "cpa", "window": "last_7d", "operator": ">", "value": 50})
    assert evaluate(explicit, {"cpa": 60}) is None
    assert evaluate(explicit, {"cpa@last_7d": 60}) is True
    implicit = parse({"field": "cpa", "operator": ">", "value": 50})
    assert evaluate(implicit, {"cpa@last_7d": 60}) is None
    assert evaluate(implicit, {"cpa": 60}) is True


def test_the_operands_name_windows_comparisons_and_preceding_windows() -> None:
    condition = parse(
        {
            "any": [
                {"field": "cpa", "operator": ">", "value": {"field": "cpa", "window": "last_14d", "times": 1.2}},
                {"none": [{"field": "spend", "window": "today", "operator": "changed_pct", "value": 20}]},
                {"field": "budget", "operator": "is_null"},
            ]
        }
    )
    found = {operand.key: operand.window for operand in operands(condition)}
    assert found == {
        "cpa": "last_7d",
        "cpa@last_14d": "last_14d",
        "spend@today": "today",
        "spend@today:previous": "today",
        "budget": None,
    }
    assert {operand.key for operand in operands(condition) if operand.previous} == {"spend@today:previous"}
    assert len(list(leaves(condition))) == 3


def test_a_trace_shows_what_was_compared_its_window_and_its_age() -> None:
    condition = parse(
        [
            {"metric": "cpa", "operator": ">", "threshold": 50},
            {"field": "cpa", "operator": ">", "value": {"field": "cpa", "window": "last_14d", "times": 1.5}},
            {"field": "spend", "window": "today", "operator": "changed_pct", "value": -10},
            {"field": "status", "operator": "==", "value": "active"},
        ]
    )
    facts = {"cpa": Decimal("75.5"), "cpa@last_14d": 40, "spend@today": 90, "status": "active"}
    assert trace(condition, facts, {"cpa": 60.0, "cpa@last_14d": 90.0}) == {
        "all": [
            {
                "field": "cpa",
                "window": "last_7d",
                "actual": 75.5,
                "data_age_seconds": 60.0,
                "operator": ">",
                "expected": 50,
                "result": True,
                "margin_pct": -33.7748,
            },
            {
                "field": "cpa",
                "window": "last_7d",
                "actual": 75.5,
                "data_age_seconds": 60.0,
                "operator": ">",
                "expected": {
                    "field": "cpa",
                    "window": "last_14d",
                    "actual": 40,
                    "data_age_seconds": 90.0,
                    "times": 1.5,
                    "value": 60,
                },
                "result": True,
                "margin_pct": -20.5298,
            },
            {
                "field": "spend",
                "window": "today",
                "actual": 90,
                "operator": "changed_pct",
                "previous": None,
                "change_pct": None,
                "expected": -10,
                "result": None,
                "reason": "spend@today:previous has no value",
            },
            {
                "field": "status",
                "window": None,
                "actual": "active",
                "operator": "=",
                "expected": "active",
                "result": True,
            },
        ],
        "result": None,
    }


@pytest.mark.parametrize(
    ("condition", "facts", "reason"),
    [
        ({"field": "cpa", "operator": ">", "value": 1}, {"cpa": "60"}, "> cannot compare cpa, a string"),
        (
            {"field": "cpa", "operator": ">", "value": {"field": "cpc"}},
            {"cpa": 1, "cpc": True},
            "> cannot compare cpa, a number, cpc, a boolean",
        ),
        ({"field": "cpa", "operator": ">", "value": {"field": "cpc"}}, {"cpa": 1}, "cpc has no value"),
        (
            {"field": "cpa", "operator": "changed_pct", "value": 5},
            {"cpa": 1, "cpa:previous": 0},
            "cpa:previous is 0, so that there is no change in percent",
        ),
    ],
)
def test_an_unknown_leaf_says_why(condition: object, facts: dict[str, Any], reason: str) -> None:
    assert trace(parse(condition), facts)["reason"] == reason


@pytest.mark.parametrize("fact", [float("nan"), float("inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")])
def test_a_fact_that_is_no_finite_number_is_unknown_and_the_trace_still_json(fact: object) -> None:
    condition = parse({"field": "cpa", "operator": ">", "value": 1})
    assert evaluate(condition, {"cpa": fact}) is None
    json.dumps(trace(condition, {"cpa": fact}), allow_nan=False)


@pytest.mark.parametrize(
    "fact",
    [10**5000, Decimal("1E+999999"), Decimal("-1E+999999"), 1e308, 5e-324, {"deep": [1]}, [[1]], object()],
    ids=["long", "huge", "hugely negative", "large", "tiny", "object", "nested list", "foreign"],
)
@pytest.mark.parametrize(
    "comparison",
    [
        {"operator": ">", "value": 1},
        {"operator": ">", "value": {"field": "y", "times": 1e29}},
        {"operator": "changed_pct", "value": 1},
        {"operator": "in", "value": ["a"]},
        {"operator": "contains", "value": "a"},
    ],
)
def test_no_fact_makes_the_evaluation_or_the_trace_raise(fact: object, comparison: dict[str, Any]) -> None:
    condition = parse({"field": "x", **comparison}, known_fields=None)
    facts = {"x": fact, "y": fact, "x:previous": 1e-300}
    assert trace(condition, facts)["result"] is evaluate(condition, facts)
    json.dumps(trace(condition, facts), allow_nan=False)


def pairs(explained: dict[str, Any], tree: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Pair each node of a trace with the node of the document that it explains."""
    found = [(explained, tree)]
    for logic in GROUP_KEYS:
        for node, document in zip(explained.get(logic, []), tree.get(logic, []), strict=True):
            found += pairs(node, document)
    return found


def reference_depth(tree: dict[str, Any]) -> int:
    return max((1 + reference_depth(node) for logic in GROUP_KEYS for node in tree.get(logic, [])), default=0)
