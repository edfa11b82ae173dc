"""The closures of a tree against the evaluation that they stand for."""

from __future__ import annotations

import json
from decimal import Decimal
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules.closures import compile_tree, distance_of
from engine.rules.conditions import parse
from engine.rules.evaluate import evaluate, trace
from engine.rules.nearest import cost_of
from tests.effort import some
from tests.unit.rules.strategies import FACTS, KEYS, PATIENT, TREES

if TYPE_CHECKING:
    from engine.rules.tree import Condition

EXTREMES = ["NaN", "sNaN", "Infinity", "-Infinity", "1E+999999", "-1E+999999", "1E-999999", "0", "-0.0"]
EXACT = st.one_of(
    st.integers(-3, 3).map(Decimal), st.decimals(-100, 100, places=2), st.sampled_from(EXTREMES).map(Decimal)
)
DECIMALS = st.dictionaries(st.sampled_from(KEYS), EXACT)


def _told(
    condition: Condition, known: dict[str, Any], ages: dict[str, float], withheld: dict[str, str] | None = None
) -> Any:
    text, result = compile_tree(condition).trace(known, {key: json.dumps(age) for key, age in ages.items()}, withheld)
    told = json.loads(text)
    assert told["result"] is result
    return told


@settings(PATIENT, max_examples=some(500))
@given(TREES, FACTS, DECIMALS, st.dictionaries(st.sampled_from(KEYS), st.floats(0, 9)))
def test_the_closures_of_a_tree_agree_with_its_evaluation_and_its_trace(
    tree: dict[str, Any], facts: dict[str, Any], decimals: dict[str, Decimal], ages: dict[str, float]
) -> None:
    condition, known = parse(tree, known_fields=None), {**facts, **decimals}
    closures = compile_tree(condition)
    assert closures.evaluate(known) is evaluate(condition, known)
    assert _told(condition, known, ages) == trace(condition, known, ages)


@settings(PATIENT, max_examples=some(300))
@given(TREES, FACTS, DECIMALS, st.booleans())
def test_the_distance_of_a_tree_agrees_with_the_cost_of_its_change(
    tree: dict[str, Any],
    facts: dict[str, Any],
    decimals: dict[str, Decimal],
    wanted: bool,  # noqa: FBT001 - drawn
) -> None:
    condition, known = parse(tree, known_fields=None), {**facts, **decimals}
    distance, cost = distance_of(condition, wanted=wanted), cost_of(condition, known, wanted=wanted)
    assert distance(known, inf) == pytest.approx(cost)
    limited = distance(known, 50.0)
    assert limited == pytest.approx(cost) or min(cost, limited) > 49  # beyond the limit it may be any


@pytest.mark.parametrize("withheld", [None, {"x": "too old"}])
def test_the_closures_tell_why_a_fact_is_not_trusted(withheld: dict[str, str] | None) -> None:
    condition = parse({"all": [{"field": "x", "operator": ">", "value": 1}]}, known_fields=None)
    told = _told(condition, {"x": None}, {}, withheld)
    assert told == trace(condition, {"x": None}, {}, withheld)
    assert told["all"][0]["reason"] == ("x: too old" if withheld else "x has no value")


@pytest.mark.parametrize("fact", [Decimal("9E+999999"), Decimal("Infinity"), Decimal("NaN")])
def test_a_fact_near_the_end_of_the_range_is_as_unknown_to_the_closures(fact: Decimal) -> None:
    other = {"field": "y", "times": 50}
    condition = parse({"all": [{"field": "x", "operator": "<", "value": other}]}, known_fields=None)
    known = {"x": Decimal(1), "y": fact}
    assert compile_tree(condition).evaluate(known) is evaluate(condition, known) is None
    assert _told(condition, known, {}) == trace(condition, known)
    assert distance_of(condition)(known, inf) == inf
