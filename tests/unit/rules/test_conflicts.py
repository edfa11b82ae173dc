"""Two rules that work against each other: found where they do, never told without an example that both hold for."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.rules.conditions import parse
from engine.rules.conflicts import Conflict, EffectKind, Side, conflict
from engine.rules.evaluate import evaluate
from engine.rules.satisfy import View, common_facts
from engine.rules.tree import Condition, operands
from tests.effort import some
from tests.unit.rules.strategies import PATIENT, TREES, groups

PAUSE, RESUME = EffectKind.PAUSE, EffectKind.RESUME
UP, DOWN = EffectKind.BUDGET_UP, EffectKind.BUDGET_DOWN


def leaf(field: str, operator: str, value: object = None, window: str | None = None) -> dict[str, Any]:
    document = {"field": field, "operator": operator, "value": value, "window": window}
    return {key: item for key, item in document.items() if item is not None}


def times(field: str, factor: float, window: str | None = None) -> dict[str, Any]:
    return {"field": field, "times": factor} | ({} if window is None else {"window": window})


def found(one: object, other: object, effects: tuple[EffectKind, EffectKind] = (UP, DOWN)) -> Conflict | None:
    sides = [Side(parse(tree), frozenset({effect})) for tree, effect in zip((one, other), effects, strict=True)]
    return conflict(sides[0], sides[1])


ACTIVE, PAUSED = (leaf("status", "=", status) for status in ("active", "paused"))

TOGETHER = [
    (leaf("cpa", ">", 50), leaf("cpa", ">", 40)),
    (leaf("cpa", ">", 50), leaf("spend", "<", 40)),
    (leaf("cpa", ">=", 50), leaf("cpa", "<=", 50)),
    (leaf("cpa", ">", 50), leaf("cpa", "<", 40, "last_14d")),  # of different windows
    (leaf("budget", "!=", 5), leaf("budget", "between", [5, 6])),
    (leaf("budget", "not_in", [5, 6]), leaf("budget", "in", [4, 5, 6])),
    (leaf("ctr", "<", 0.01), leaf("conversion_rate", "<", 0.02)),
    (leaf("budget", "is_null"), {"none": [leaf("budget", "is_not_null")]}),
    (leaf("platform", "=", "meta"), leaf("platform", "!=", "google")),
    (leaf("name", "starts_with", "ab"), [leaf("name", "ends_with", "yz"), leaf("name", "contains", "mn")]),
    (leaf("name", "not_contains", "a"), leaf("name", "not_in", ["", "b"])),
    (leaf("tags", "contains", "a"), [leaf("tags", "in", ["a", "b"]), leaf("tags", "not_contains", "b")]),
    (leaf("status", "!=", "active"), leaf("status", "!=", "paused")),
    (leaf("cpa", ">", times("cpa", 1.2, "last_14d")), leaf("cpa", "<", 60)),
    (leaf("cpa", ">", times("cpa", 1.2, "last_14d")), [leaf("cpa", "<", 60), leaf("cpa", ">", 45, "last_14d")]),
    (leaf("cpa", ">", times("spend", 2)), [leaf("cpa", "<", 60), leaf("spend", ">", 29.5)]),
    (leaf("spend", "changed_pct", 20), [leaf("spend", "<", 130), leaf("roas", ">", 3)]),
    (leaf("spend", "changed_pct", -20), leaf("spend", ">", 100)),
    (leaf("name", "=", {"field": "platform"}), leaf("platform", "=", "meta")),
    (leaf("name", "=", {"field": "platform"}), leaf("name", "=", "meta")),
    ({"any": [leaf("cpa", "<", 10), leaf("roas", ">", 3)]}, [leaf("cpa", ">", 10), leaf("roas", ">", 2)]),
    (leaf("cpa", ">", 50), [leaf("spend", ">=", 100), leaf("conversions", ">=", 1)]),
    ([leaf("roas", ">", 3), leaf("spend", ">", 100)], leaf("revenue", ">", 10)),
    ([leaf("cpm", "<", 5), leaf("spend", ">", 100)], leaf("impressions", ">", 10)),
]

APART = [
    (leaf("cpa", ">", 50), leaf("cpa", "<", 40)),
    (leaf("cpa", ">", 50), leaf("cpa", "<=", 50)),
    (leaf("cpa", ">", 50), leaf("cpa", "<", 50, "last_7d")),  # the default window, written out
    (leaf("budget", "!=", 5), leaf("budget", "=", 5)),
    (leaf("budget", "between", [1, 2]), leaf("budget", "in", [0, 3])),
    (leaf("budget", "is_null"), leaf("budget", "<", 5)),
    (leaf("spend", "<", 10), {"none": [leaf("spend", "<", 20)]}),
    (leaf("spend", "<", 0), leaf("clicks", ">", 0)),  # no metric is negative
    (leaf("platform", "=", "meta"), leaf("platform", "in", ["google", "Meta"])),
    (leaf("name", "contains", "abc"), leaf("name", "not_contains", "b")),
    (leaf("tags", "contains", "a"), leaf("tags", "not_in", ["a", "b"])),
    (leaf("cpa", ">", 50), [leaf("cpa", ">", 60), leaf("cpa", "<", 55)]),  # the second never holds
    (leaf("cpa", ">", times("cpa", 2, "last_14d")), [leaf("cpa", "<", 60), leaf("cpa", ">", 30, "last_14d")]),
    (leaf("spend", "changed_pct", 20), leaf("spend", "changed_pct", -20)),
    (leaf("cpa", "<", 20), [leaf("spend", ">", 100), leaf("conversions", "=", 0)]),  # there is no cpa then
    ([leaf("cpa", ">", 50), leaf("conversions", ">", 2)], leaf("spend", "<", 100)),
]


@pytest.mark.parametrize(("one", "other"), TOGETHER)
def test_opposite_effects_on_conditions_that_hold_together_are_a_conflict(one: object, other: object) -> None:
    for first, second in ((one, other), (other, one)):
        conflicting = found(first, second)
        assert conflicting is not None
        assert evaluate(parse(first), conflicting.example) is True
        assert evaluate(parse(second), conflicting.example) is True
        assert json.loads(json.dumps(conflicting.document()))["effects"] == ["budget_up", "budget_down"]


@pytest.mark.parametrize(("one", "other"), APART)
def test_conditions_that_exclude_each_other_are_none(one: object, other: object) -> None:
    assert found(one, other) is None
    assert found(other, one) is None


def test_a_conflict_is_told_with_the_example() -> None:
    conflicting = found(leaf("cpa", ">", 50), [leaf("cpa", ">", 40), leaf("platform", "=", "meta")], (PAUSE, RESUME))
    assert conflicting is not None
    assert conflicting.text == 'one pauses and the other resumes a campaign with cpa (last_7d) 55, platform "meta"'
    assert conflicting.example == {"cpa": Decimal(55), "platform": "meta"}


@pytest.mark.parametrize(
    ("one", "other", "conflicts"),
    [
        ([ACTIVE, leaf("cpa", ">", 50)], [PAUSED, leaf("cpa", ">", 40)], True),
        ([ACTIVE, leaf("cpa", ">", 50)], [PAUSED, leaf("cpa", "<", 50)], False),
        (leaf("cpa", ">", 50), {"none": [leaf("status", "in", ["active", "draft"])]}, True),
        (PAUSED, leaf("cpa", ">", 40), False),  # it has nothing to pause
    ],
)
def test_pausing_and_resuming_each_see_the_status_that_they_act_on(one: object, other: object, conflicts: bool) -> None:  # noqa: FBT001
    assert (found(one, other, (PAUSE, RESUME)) is not None) is conflicts
    assert (found(other, one, (RESUME, PAUSE)) is not None) is conflicts


def test_only_opposite_effects_on_overlapping_entities_conflict() -> None:
    tree = parse(leaf("cpa", ">", 50))
    for one, other in itertools.product(EffectKind, repeat=2):
        opposite = {
            frozenset({PAUSE, RESUME}),
            frozenset({UP, DOWN}),
            frozenset({EffectKind.BID_UP, EffectKind.BID_DOWN}),
        }
        expected = frozenset({one, other}) in opposite
        assert (conflict(Side(tree, frozenset({one})), Side(tree, frozenset({other}))) is not None) is expected
    a, b = UUID(int=1), UUID(int=2)
    for ids, expected in {(None, None): True, (None, a): True, (a, None): True, (a, a): True, (a, b): False}.items():
        sides = [Side(tree, frozenset({kind}), entity) for kind, entity in zip((UP, DOWN), ids, strict=True)]
        assert (conflict(sides[0], sides[1]) is not None) is expected


def test_of_several_effects_the_opposite_ones_are_named() -> None:
    tree = parse(leaf("cpa", ">", 50))
    conflicting = conflict(Side(tree, frozenset({PAUSE, DOWN})), Side(tree, frozenset({PAUSE, UP})))
    assert conflicting is not None
    assert (conflicting.first, conflicting.second) == (DOWN, UP)


@settings(PATIENT, max_examples=some(200))
@given(TREES, TREES)
def test_an_example_always_satisfies_both(one: dict[str, Any], other: dict[str, Any]) -> None:
    left, right = (parse(tree, known_fields=None) for tree in (one, other))
    facts = common_facts([View(left, {}), View(right, {})])
    if facts is not None:
        assert evaluate(left, facts) is True
        assert evaluate(right, facts) is True
        by_quantity: dict[object, object] = {}
        for operand in operands(left) | operands(right):
            value = facts.get(operand.key)  # what no leaf of the example needs stays open
            assert by_quantity.setdefault(operand.quantity, value) == value


CONSTANTS = st.integers(0, 4)
INTERVALS = st.one_of(
    st.fixed_dictionaries({"operator": st.sampled_from([">", ">=", "<", "<=", "=", "!="]), "value": CONSTANTS}),
    st.builds(lambda ends: {"operator": "between", "value": sorted(ends)}, st.lists(CONSTANTS, min_size=2, max_size=2)),
    st.fixed_dictionaries(
        {"operator": st.sampled_from(["in", "not_in"]), "value": st.lists(CONSTANTS, min_size=1, max_size=3)}
    ),
)
INTERVAL_TREES = st.recursive(
    st.builds(lambda name, test: {"field": name, **test}, st.sampled_from(["budget", "bid_amount"]), INTERVALS),
    groups,
    max_leaves=6,
)
# Between, on and above all the constants, neither field ever below 0: what holds anywhere holds on this grid.
GRID = [Decimal(half) / 2 for half in range(10)]


@settings(PATIENT, max_examples=some(300))
@given(INTERVAL_TREES, INTERVAL_TREES)
def test_of_comparisons_with_constants_nothing_is_missed(one: dict[str, Any], other: dict[str, Any]) -> None:
    left, right = (parse(tree, known_fields=None) for tree in (one, other))
    points = ({"budget": x, "bid_amount": y} for x, y in itertools.product(GRID, repeat=2))
    possible = any(evaluate(left, point) is True and evaluate(right, point) is True for point in points)
    assert (common_facts([View(left, {}), View(right, {})]) is not None) is possible


def test_trees_that_spread_out_without_end_are_given_up_within_bounds() -> None:
    choices = [{"any": [leaf(f"a{i}", "=", 1), leaf(f"b{i}", "=", 1)]} for i in range(25)]
    never = [leaf("z", "=", 1), leaf("z", "=", 2)]
    trees: list[Condition] = [parse(tree, known_fields=None) for tree in (choices, [*choices[:20], *never])]
    assert common_facts([View(trees[0], {}), View(trees[0], {})]) is not None
    assert common_facts([View(trees[0], {}), View(trees[1], {})]) is None
