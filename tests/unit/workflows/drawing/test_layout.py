"""The layout: layers go down, lines are whole, nothing overlaps, few lines cross."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.workflows.drawing import layers as module
from engine.workflows.drawing.layers import Layers, layered
from engine.workflows.drawing.ordering import crossings, untangle
from engine.workflows.drawing.spreading import BEND_WIDTH, GAP, STEP_WIDTH, nearest, spread
from tests.unit.workflows.drawing.graphs import chain_with_handler, fan, graph, graphs, nested

if TYPE_CHECKING:
    from engine.workflows.definition import Definition


def way(layers: Layers, source: str, target: str) -> list[str | None]:
    """The steps and bends that a way passes."""
    upper, lower = layers.begins[source, target]
    passed = [upper, lower]
    while layers.steps[lower] is None:
        [lower] = layers.below[lower]
        passed.append(lower)
    return [layers.steps[node] for node in passed]


def crossings_counted(layers: Layers) -> int:
    """Count pairs of lines that cross, one by one."""
    places = {node: place for rank in layers.ranks for place, node in enumerate(rank)}
    total = 0
    for rank in layers.ranks:
        lines = [(places[node], places[below]) for node in rank for below in layers.below[node]]
        total += sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(lines, 2))
    return total


@settings(deadline=None)
@given(graphs())
def test_every_step_is_below_all_that_lead_to_it_and_every_way_is_drawn(definition: Definition) -> None:
    layers = layered(definition)
    assert sorted(step for step in layers.steps if step is not None) == sorted(definition.steps)
    for step in definition.steps.values():
        for target in step.targets:
            passed = way(layers, step.id, target)
            assert (passed[0], passed[-1]) == (step.id, target)
            assert not any(passed[1:-1])
    for upper, below in enumerate(layers.below):
        assert all(layers.rank[lower] == layers.rank[upper] + 1 for lower in below)


@settings(deadline=None)
@given(graphs())
def test_crossings_are_counted_and_never_more_after_than_before(definition: Definition) -> None:
    layers = layered(definition)
    before = crossings(layers)
    assert before == crossings_counted(layers)
    nodes = [sorted(rank) for rank in layers.ranks]
    untangle(layers)
    assert crossings(layers) == crossings_counted(layers) <= before
    assert [sorted(rank) for rank in layers.ranks] == nodes


@settings(deadline=None)
@given(graphs())
def test_nothing_overlaps_and_the_order_is_kept(definition: Definition) -> None:
    layers = layered(definition)
    untangle(layers)
    middles = spread(layers)
    widths = [STEP_WIDTH if step is not None else BEND_WIDTH for step in layers.steps]
    for rank in layers.ranks:
        for left, right in pairwise(rank):
            between = middles[right] - middles[left] - (widths[left] + widths[right]) / 2
            assert between >= GAP - 1e-6
    assert min(middle - width / 2 for middle, width in zip(middles, widths, strict=True)) == pytest.approx(0)


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0.5, 8)), min_size=1, max_size=6), st.data())
def test_places_keep_their_distances_and_no_others_are_nearer_to_those_wanted(
    given_places: list[tuple[float, float]], data: st.DataObject
) -> None:
    wanted, weights = [place for place, _ in given_places], [weight for _, weight in given_places]
    offsets = [10.0 * index for index in range(len(wanted))]
    found = nearest(wanted, weights, offsets)
    assert all(right - left >= 10 - 1e-6 for left, right in pairwise(found))

    def far(places: list[float]) -> float:
        return sum(weight * (at - want) ** 2 for at, want, weight in zip(places, wanted, weights, strict=True))

    gaps = data.draw(st.lists(st.floats(0, 50), min_size=len(wanted), max_size=len(wanted)))
    start = data.draw(st.floats(-1e3, 1e3))
    others = [start + sum(gaps[: index + 1]) + offset for index, offset in enumerate(offsets)]
    assert far(found) <= far(others) + 1e-6 * (1 + far(others))


def test_two_pairs_that_cross_are_put_right() -> None:
    layers = layered(graph([{1, 2}, {4}, {3}, set(), set()]))
    untangle(layers)
    assert crossings(layers) == 0


def test_failures_that_lead_to_one_handler_share_a_line() -> None:
    layers = layered(chain_with_handler(50))
    assert len(layers.steps) == 50 + 48
    assert len(layers.begins) == 48 + 49


def test_the_longest_ways_are_broken_off_where_there_are_too_many_bends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BENDS", 6)
    definition = nested(12)
    layers = layered(definition)
    broken = {(step.id, to) for step in definition.steps.values() for to in step.targets} - layers.begins.keys()
    assert broken == {("s0", "s11"), ("s1", "s10"), ("s2", "s9")}
    assert layers.steps.count(None) == 6


@pytest.mark.parametrize("definition", [fan(60), nested(60), chain_with_handler(60)], ids=["fan", "nested", "chain"])
def test_a_layout_is_the_same_each_time(definition: Definition) -> None:
    first, second = layered(definition), layered(definition)
    untangle(first)
    untangle(second)
    assert first == second
    assert spread(first) == spread(second)
