"""The nearest miss: what it says by example, and that doing what it says makes any tree hold."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from engine.rules.conditions import parse
from engine.rules.evaluate import evaluate
from engine.rules.leaf_change import change_needed
from engine.rules.nearest import distance, margin, nearest_miss
from engine.rules.tree import Condition, Leaf, leaves
from tests.effort import some
from tests.unit.rules.strategies import FACTS, LEAVES, NUMERIC_FACTS, PATIENT, TREES

CPA = {"field": "cpa", "operator": ">", "value": 52}
SPEND = {"field": "spend", "window": "today", "operator": ">=", "value": 110}
ACTIVE = {"field": "status", "operator": "=", "value": "active"}
RATIO = {"field": "cpa", "operator": ">", "value": {"field": "cpa", "window": "last_14d", "times": 1.2}}

Y_OR_MORE = {"field": "x", "operator": ">=", "value": {"field": "y"}}


def read(document: object) -> Condition:
    return parse(document, known_fields=None)


def read_leaf(document: object) -> Leaf:
    leaf = read(document)
    assert isinstance(leaf, Leaf)
    return leaf


@pytest.mark.parametrize(
    ("document", "facts", "text", "cost"),
    [
        (CPA, {"cpa": 50}, "cpa (last_7d) rises more than 4 % (above 52)", 4),
        (CPA, {"cpa": 52}, "cpa (last_7d) rises at all (above 52)", 0),
        (SPEND, {"spend@today": 100}, "spend (today) rises 10 % (to 110)", 10),
        (SPEND, {"spend@today": 90}, "spend (today) rises 22.23 % (to 110)", 200 / 9),  # 22.22 % would not do
        (SPEND, {"spend@today": 0}, "spend (today) rises from 0 to 110", None),
        (SPEND, {}, "spend (today) is at least 110", None),
        (
            {"field": "roas", "operator": "<", "value": 1.5},
            {"roas": 2},
            "roas (last_7d) falls more than 25 % (below 1.5)",
            25,
        ),
        ({"field": "clicks", "operator": "<=", "value": 8}, {"clicks": 10}, "clicks (last_7d) fall 20 % (to 8)", 20),
        ({"field": "clicks", "operator": ">", "value": 0}, {"clicks": 0}, "clicks (last_7d) rise at all (above 0)", 0),
        (
            {"field": "clicks", "operator": ">", "value": 5},
            {"clicks": 0},
            "clicks (last_7d) rise from 0 to above 5",
            None,
        ),
        ({"field": "x", "operator": ">=", "value": -50}, {"x": -100}, "x rises 50 % (to -50)", 50),
        ({"field": "x", "operator": "between", "value": [10, 20]}, {"x": 8}, "x rises 25 % (to 10)", 25),
        ({"field": "x", "operator": "between", "value": [10, 20]}, {"x": 25}, "x falls 20 % (to 20)", 20),
        (
            {"none": [{"field": "x", "operator": "between", "value": [1, 5]}]},
            {"x": 4},
            "x rises more than 25 % (above 5)",
            25,
        ),
        (
            {"none": [{"field": "x", "operator": "between", "value": [4, 50]}]},
            {"x": 5},
            "x falls more than 20 % (below 4)",
            20,
        ),
        ({"field": "x", "operator": "=", "value": 7}, {"x": 8}, "x falls 12.5 % (to exactly 7)", 12.5),
        ({"field": "x", "operator": "in", "value": [1, 7, 20]}, {"x": 8}, "x falls 12.5 % (to exactly 7)", 12.5),
        ({"field": "x", "operator": "!=", "value": 7}, {"x": 7}, "x is anything but 7", 0),
        ({"field": "x", "operator": "not_in", "value": [1, 7]}, {"x": 7}, "x is anything but 7", 0),
        (
            {"none": [{"field": "x", "operator": "not_in", "value": [1, 7]}]},
            {"x": 8},
            "x falls 12.5 % (to exactly 7)",
            12.5,
        ),
        (
            {"field": "spend", "operator": "changed_pct", "value": 20},
            {"spend": 100, "spend:previous": 100},
            "spend (last_7d) rises 20 % (to 120)",
            20,
        ),
        (
            {"field": "spend", "operator": "changed_pct", "value": -20},
            {"spend": 160, "spend:previous": 100},
            "spend (last_7d) falls 50 % (to 80)",
            50,
        ),
        (
            {"none": [{"field": "spend", "operator": "changed_pct", "value": -20}]},
            {"spend": 40, "spend:previous": 100},
            "spend (last_7d) rises more than 100 % (above 80)",
            100,
        ),
        (
            {"field": "x", "operator": "changed_pct", "value": 50},
            {"x": -200, "x:previous": -100},
            "x rises 75 % (to -50)",
            75,
        ),
        (Y_OR_MORE, {"x": 30, "y": Decimal(100) / 3}, "x rises 11.12 % (to 33.3334)", 100 / 9),  # rounded so as to do
        ({"none": [Y_OR_MORE]}, {"x": 40, "y": Decimal(100) / 3}, "x falls more than 16.67 % (below 33.3333)", 50 / 3),
        (RATIO, {"cpa": 100, "cpa@last_14d": 100}, "cpa (last_7d) rises more than 20 % (above 120)", 20),
        (
            [SPEND, ACTIVE],
            {"spend@today": 100, "status": "paused"},
            'spend (today) rises 10 % (to 110) and status is "active"',
            None,
        ),
        (
            [SPEND, CPA],
            {"spend@today": 100, "cpa": 50},
            "spend (today) rises 10 % (to 110) and cpa (last_7d) rises more than 4 % (above 52)",
            14,
        ),
        ({"any": [SPEND, CPA]}, {"spend@today": 100, "cpa": 50}, "cpa (last_7d) rises more than 4 % (above 52)", 4),
        (
            {"any": [ACTIVE, SPEND]},
            {"spend@today": 1, "status": "paused"},
            "spend (today) rises 10,900 % (to 110)",
            10900,
        ),
        ({"none": [ACTIVE]}, {"status": "active"}, 'status is not "active"', None),
        ({"none": [{"field": "x", "operator": "ends_with", "value": "a"}]}, {"x": "ba"}, 'not (x ends with "a")', None),
        ({"field": "tags", "operator": "contains", "value": "a"}, {"tags": ["b"]}, 'tags contain "a"', None),
        ({"field": "x", "operator": "is_null"}, {"x": 3}, "x has no value", None),
        ({"field": "x", "operator": "=", "value": True}, {"x": False}, "x is true", None),
    ],
)
def test_a_miss_in_words(document: object, facts: dict[str, Any], text: str, cost: float | None) -> None:
    condition = read(document)
    miss = nearest_miss(condition, facts)
    assert miss is not None
    assert miss.text == f"would fire if {text}"
    assert miss.cost == (None if cost is None else pytest.approx(cost))
    assert distance(condition, facts) == miss.cost


@pytest.mark.parametrize(
    ("document", "facts"),
    [
        (RATIO, {"cpa": 100}),  # what it is compared with is unknown
        (RATIO, {"cpa": 100, "cpa@last_14d": "dear"}),
        ({"field": "spend", "operator": "changed_pct", "value": 20}, {"spend": 100, "spend:previous": 0}),
        ({"field": "x", "operator": ">", "value": {"field": "x"}}, {"x": 1}),
        ({"none": [{"field": "x", "operator": "starts_with", "value": ""}]}, {"x": "a"}),
        ([{"field": "x", "operator": ">", "value": 5}, {"field": "x", "operator": "<", "value": 3}], {"x": 4}),
    ],
)
def test_nothing_is_promised_where_no_change_of_the_field_helps(document: object, facts: dict[str, Any]) -> None:
    assert nearest_miss(read(document), facts) is None


def test_where_the_cheapest_leaves_contradict_each_other_the_next_change_is_taken() -> None:
    above, below = {"field": "x", "operator": ">", "value": 5}, {"field": "x", "operator": "<", "value": 3}
    condition = read({"any": [{"all": [above, below]}, {"field": "y", "operator": ">=", "value": 8}]})
    miss = nearest_miss(condition, {"x": 4, "y": 1})
    assert miss is not None
    assert (miss.text, miss.cost) == ("would fire if y rises 700 % (to 8)", 700)
    assert distance(condition, {"x": 4, "y": 1}) == 50  # the leaves each by itself


def test_a_quantity_written_in_two_ways_changes_as_one() -> None:
    written = {"field": "cpa", "window": "last_7d", "operator": ">=", "value": 11}
    condition = parse([written, {"field": "cpa", "operator": ">=", "value": 12}])
    miss = nearest_miss(condition, {"cpa": 10, "cpa@last_7d": 10})
    assert miss is not None
    assert miss.text == "would fire if cpa (last_7d) rises 20 % (to 12)"


def test_of_two_changes_of_one_field_the_farther_is_told() -> None:
    near, far = ({"field": "x", "operator": ">=", "value": value} for value in (11, 12))
    for nodes in ([near, far], [far, near]):
        miss = nearest_miss(read(nodes), {"x": 10})
        assert miss is not None
        assert miss.text == "would fire if x rises 20 % (to 12)"


@pytest.mark.parametrize(
    ("document", "facts", "expected"),
    [
        (CPA, {"cpa": 50}, 4),
        (CPA, {"cpa": 65}, -20),  # holds, and would cease to
        (CPA, {"cpa": 52}, 0),
        (CPA, {"cpa": 0}, None),
        (CPA, {}, None),
        (CPA, {"cpa": "50"}, None),
        (ACTIVE, {"status": "active"}, None),
        ({"field": "x", "operator": "<", "value": -5}, {"x": -4}, -25),
        (RATIO, {"cpa": 150, "cpa@last_14d": 100}, -20),
    ],
)
def test_the_margin_is_signed_and_for_both_results(
    document: object, facts: dict[str, Any], expected: float | None
) -> None:
    assert margin(read_leaf(document), facts) == expected


def test_a_miss_is_json_for_the_trace() -> None:
    miss = nearest_miss(read([SPEND, ACTIVE]), {"spend@today": Decimal(100)})
    assert miss is not None
    assert json.loads(json.dumps(miss.document())) == {
        "text": 'would fire if spend (today) rises 10 % (to 110) and status is "active"',
        "cost_pct": None,
        "changes": [
            {
                "field": "spend",
                "window": "today",
                "change_pct": 10.0,
                "target": 110,
                "beyond": False,
                "text": "spend (today) rises 10 % (to 110)",
            },
            {
                "field": "status",
                "window": None,
                "change_pct": None,
                "target": None,
                "beyond": False,
                "text": 'status is "active"',
            },
        ],
    }


@settings(PATIENT, max_examples=some(200))
@given(TREES, FACTS | NUMERIC_FACTS)
def test_doing_what_a_miss_says_makes_the_tree_hold(tree: dict[str, Any], facts: dict[str, Any]) -> None:
    condition = read(tree)
    result, miss = evaluate(condition, facts), nearest_miss(condition, facts)
    if result is True:
        assert miss is None
        assert distance(condition, facts) == 0
    elif miss is not None:
        changed = {change.leaf.operand.key: change.value for change in miss.changes}
        assert len(changed) == len(miss.changes)
        assert evaluate(condition, {**facts, **changed}) is True
        near = distance(condition, facts)
        assert miss.cost is None or (near is not None and near <= miss.cost * 1.000001)


@settings(PATIENT, max_examples=some(200))
@given(TREES, FACTS | NUMERIC_FACTS)
def test_the_distance_is_the_cost_of_the_miss_where_each_leaf_has_a_field_of_its_own(
    tree: dict[str, Any], facts: dict[str, Any]
) -> None:
    condition = read(apart(tree, itertools.count()))
    spread = {f"f{index}{key[1:]}": value for index in range(8) for key, value in facts.items() if key[0] == "x"}
    miss, near = nearest_miss(condition, spread), distance(condition, spread)
    if evaluate(condition, spread) is not True:
        assert near == (None if miss is None or miss.cost is None else pytest.approx(miss.cost))


@settings(PATIENT, max_examples=some(200))
@given(LEAVES, st.integers(-300, 300).map(lambda hundredths: Decimal(hundredths) / 100), FACTS)
@example({"field": "x", "operator": "changed_pct", "value": 10.5}, Decimal(1), {"x:previous": Decimal(1) / 3})
def test_no_smaller_step_than_the_change_turns_a_leaf(
    document: dict[str, Any], actual: Decimal, facts: dict[str, Any]
) -> None:
    leaf = read_leaf(document)
    facts = {**facts, leaf.operand.key: actual}
    result = evaluate(leaf, facts)
    assume(result is not None)
    change = change_needed(leaf, facts, wanted=not result)
    assume(change is not None and change.boundary is not None)
    assert change is not None
    assert change.boundary is not None
    for part in (Decimal("0.01"), Decimal("0.5"), Decimal("0.99")):
        nearer = (change.boundary.target - actual) * part
        for step in (nearer, -nearer):
            assert evaluate(leaf, {**facts, leaf.operand.key: actual + step}) is result


@pytest.mark.parametrize(
    "fact",
    [10**5000, Decimal("9.999999999999999999999999999E+999999"), Decimal("-1E+999999"), 1e308, 5e-324, object(), [[1]]],
    ids=["long", "largest", "hugely negative", "large", "tiny", "foreign", "nested"],
)
@pytest.mark.parametrize(
    "comparison",
    [
        {"operator": "<", "value": 1},
        {"operator": ">", "value": {"field": "y"}},
        {"operator": ">", "value": {"field": "y", "times": 1e29}},
        {"operator": "between", "value": [1, 2]},
        {"operator": "changed_pct", "value": 1},
        {"operator": "not_in", "value": [1, 2]},
        {"operator": "contains", "value": 2},
    ],
)
def test_no_fact_makes_the_search_raise(fact: object, comparison: dict[str, Any]) -> None:
    condition = read({"field": "x", **comparison})
    for facts in ({"x": fact, "y": 1, "x:previous": fact}, {"x": 1, "y": fact, "x:previous": fact}):
        for each in (condition, read({"none": [{"field": "x", **comparison}]})):
            miss = nearest_miss(each, facts)
            distance(each, facts)
            if miss is not None:
                assert len(miss.text) < 500
                json.dumps(miss.document(), allow_nan=False)


def test_a_tree_of_many_choices_is_searched_within_bounds() -> None:
    pairs = [
        {
            "any": [
                {"field": f"a{index}", "operator": ">", "value": 2},
                {"field": f"b{index}", "operator": ">", "value": 3},
            ]
        }
        for index in range(25)
    ]
    condition = read(pairs)
    facts = {leaf.operand.key: 1 for leaf in leaves(condition)}
    miss = nearest_miss(condition, facts)
    assert miss is not None
    assert (len(miss.changes), miss.cost, distance(condition, facts)) == (25, 2500, 2500)


def apart(tree: dict[str, Any], numbers: itertools.count[int]) -> dict[str, Any]:
    """Give each leaf a field of its own, of the facts that the generated `x` had; other operands are `y`'s."""
    for logic in ("all", "any", "none"):
        if logic in tree:
            return {logic: [apart(node, numbers) for node in tree[logic]]}
    value = tree.get("value")
    other = {"value": {**value, "field": "y"}} if isinstance(value, dict) and "field" in value else {}
    return {**tree, "field": f"f{next(numbers)}", **other}
