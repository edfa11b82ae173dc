"""The laws of the language: negation moves inwards through opposite operators, and knowing more never unsays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules.conditions import parse
from engine.rules.evaluate import evaluate
from tests.effort import some
from tests.unit.rules.strategies import FACTS, KEYS, LEAVES, NUMERIC_FACTS, PATIENT, TREES, VALUES, depth

# SPEC §3's operators that are each other's negation, written out again: what the product thinks is not asked.
OPPOSITES = {
    ">": "<=",
    "<=": ">",
    ">=": "<",
    "<": ">=",
    "=": "!=",
    "!=": "=",
    "in": "not_in",
    "not_in": "in",
    "contains": "not_contains",
    "not_contains": "contains",
    "is_null": "is_not_null",
    "is_not_null": "is_null",
}
NULL_TESTS = ("is_null", "is_not_null")
ANY_FACTS = FACTS | NUMERIC_FACTS
GROUPS = ("all", "any", "none")


def outcome(tree: dict[str, Any], facts: dict[str, Any]) -> bool | None:
    return evaluate(parse(tree, known_fields=None), facts)


def opposed(result: bool | None) -> bool | None:  # noqa: FBT001 - one of three truth values
    return None if result is None else not result


def negated(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the tree that says the opposite, the negation moved down to the leaves."""
    match tree:
        case {"all": nodes}:
            return {"any": [negated(node) for node in nodes]}
        case {"any": nodes}:
            return {"all": [negated(node) for node in nodes]}
        case {"none": nodes}:
            return {"any": nodes}
    opposite = OPPOSITES.get(tree["operator"])
    return {"none": [tree]} if opposite is None else {**tree, "operator": opposite}


@settings(PATIENT, max_examples=some(200))
@given(TREES.filter(lambda tree: depth(tree) <= 5), ANY_FACTS)
def test_a_negation_moves_inwards_through_the_opposite_operators(tree: dict[str, Any], facts: dict[str, Any]) -> None:
    assert outcome(negated(tree), facts) is opposed(outcome(tree, facts))


@PATIENT
@given(st.lists(LEAVES, min_size=1, max_size=4), ANY_FACTS)
def test_not_all_is_any_of_the_opposites_and_none_is_not_any(
    nodes: list[dict[str, Any]], facts: dict[str, Any]
) -> None:
    opposites = [negated(node) for node in nodes]
    assert outcome({"any": opposites}, facts) is opposed(outcome({"all": nodes}, facts))
    assert outcome({"all": opposites}, facts) is opposed(outcome({"any": nodes}, facts))
    assert outcome({"none": nodes}, facts) is opposed(outcome({"any": nodes}, facts))
    assert outcome({"none": nodes}, facts) is outcome({"all": opposites}, facts)


@settings(PATIENT, max_examples=some(200))
@given(TREES, ANY_FACTS, st.sets(st.sampled_from(KEYS), min_size=1), st.data())
def test_to_know_a_fact_never_turns_a_result_that_was_decided_without_it(
    tree: dict[str, Any], facts: dict[str, Any], hidden: set[str], data: st.DataObject
) -> None:
    """Null tests ask whether a fact is known, so that they are the only ones left out."""
    tree = without_null_tests(tree)
    less = {key: fact for key, fact in facts.items() if key not in hidden}
    decided = outcome(tree, less)
    if decided is None:
        return
    for key in sorted(set(KEYS) - {key for key, fact in less.items() if fact is not None}):
        less[key] = data.draw(VALUES, label=key)
        assert outcome(tree, less) is decided


@pytest.mark.parametrize("operator", [operator for operator in OPPOSITES if operator not in NULL_TESTS])
def test_a_missing_fact_decides_nothing_for_an_operator_or_its_opposite(operator: str) -> None:
    value = {"in": [1], "not_in": [1]}.get(operator, 1)
    assert outcome({"field": "x", "operator": operator, "value": value}, {}) is None
    assert outcome({"none": [{"field": "x", "operator": operator, "value": value}]}, {"x": None}) is None


def without_null_tests(tree: dict[str, Any]) -> dict[str, Any]:
    """Put a comparison in the place of each null test."""
    for logic in GROUPS:
        if logic in tree:
            return {logic: [without_null_tests(node) for node in tree[logic]]}
    return {**tree, "operator": ">", "value": 0} if tree["operator"] in NULL_TESTS else tree
