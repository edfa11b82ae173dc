"""Graphs of steps: what can be run is taken, and everything else named, held against a naive reading of the rules."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from engine.workflows.reading import parse_definition
from tests.unit.rules.strategies import PATIENT
from tests.unit.workflows.documents import noop

Edges = dict[str, list[str]]


def document_of(edges: Edges, start: str | None = None) -> dict[str, Any]:
    """Return a definition in which each step leads to these, all at once."""
    steps = [
        {"id": step_id, "type": "split", "config": {"mode": "parallel", "branches": targets}}
        if targets
        else noop(step_id)
        for step_id, targets in edges.items()
    ]
    return {"steps": steps} if start is None else {"steps": steps, "start": start}


def said(document: object) -> list[str]:
    try:
        parse_definition(document)
    except InputError as error:
        return [str(problem) for problem in error.problems]
    return []


@st.composite
def graphs(draw: st.DrawFn) -> Edges:
    names = [f"s{n}" for n in range(draw(st.integers(1, 8)))]
    return {name: draw(st.lists(st.sampled_from(names), max_size=3, unique=True)) for name in names}


def reached(edges: Edges, begin: str) -> set[str]:
    found: set[str] = set()
    waiting = list(edges[begin])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += edges[one]
    return found


@PATIENT
@given(graphs())
def test_a_graph_is_taken_exactly_if_it_has_one_start_and_no_circle(edges: Edges) -> None:
    after = {name: reached(edges, name) for name in edges}
    circular = any(name in after[name] for name in edges)
    starts = [name for name in edges if not any(name in targets for targets in edges.values())]
    problems = said(document_of(edges))
    assert (not problems) == (not circular and len(starts) == 1)
    assert any("lead in a circle" in one for one in problems) == circular
    assert any("nothing that leads to them" in one for one in problems) == (len(starts) > 1)


@PATIENT
@given(graphs(), st.data())
def test_with_a_start_that_is_named_all_others_must_be_reached(edges: Edges, data: st.DataObject) -> None:
    start = data.draw(st.sampled_from(sorted(edges)))
    circular = {name for name in edges if name in reached(edges, name)}
    lost = set(edges) - reached(edges, start) - {start} - circular
    problems = said(document_of(edges, start))
    named = {one.split(": ")[1].split(" cannot be reached")[0] for one in problems if "cannot be reached" in one}
    assert named == lost
    assert (not problems) == (not lost and not circular)


@PATIENT
@given(graphs())
def test_a_circle_that_is_named_is_one(edges: Edges) -> None:
    for one in said(document_of(edges)):
        if "lead in a circle" in one:
            circle = one.split("the steps ")[1].split(" lead in")[0].split(" → ")
            assert circle[0] == circle[-1]
            assert len(set(circle)) == len(circle) - 1
            assert all(after in edges[before] for before, after in pairwise(circle))


def test_each_knot_is_named_once() -> None:
    edges = {"a": ["b", "c"], "b": ["b"], "c": ["d"], "d": ["c", "e"], "e": []}
    assert [one.split(" (")[0] for one in said(document_of(edges))] == [
        "steps[1]: the steps b → b lead in a circle",
        "steps[2]: the steps c → d → c lead in a circle",
    ]


def test_two_starts_are_named() -> None:
    [problem] = said({"steps": [noop("a", "c"), noop("b", "c"), noop("c")]})
    assert problem.startswith("start: 2 steps have nothing that leads to them: a, b (let something lead to all of them")


def test_a_start_that_is_no_step_is_told() -> None:
    [problem] = said({"steps": [noop("a")], "start": "b"})
    assert problem.startswith("start: there is no step 'b'")


def test_ids_are_unique() -> None:
    [problem] = said({"steps": [noop("a", "b"), noop("b"), noop("a")]})
    assert problem.startswith("steps[2].id: is the id of steps[0], too")


def test_of_steps_that_cannot_be_read_no_ways_are_missed() -> None:
    broken = {"id": "a", "type": "sprit", "config": {"mode": "parallel", "branches": ["b", "c"]}}
    assert [one.split(":")[0] for one in said({"steps": [broken, noop("b"), noop("c")]})] == ["steps[0].type"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"mode": "n", "n": 2}, []),
        ({"mode": "n", "n": 3}, ["steps[3].config.n: is 3, and 2 steps lead to the merge (give at most 2)"]),
    ],
)
def test_a_merge_waits_for_no_more_than_lead_to_it(config: dict[str, Any], expected: list[str]) -> None:
    split = {"id": "a", "type": "split", "config": {"mode": "parallel", "branches": ["b", "c"]}}
    merge = {"id": "m", "type": "merge", "config": config}
    assert said({"steps": [split, noop("b", "m"), noop("c", "m"), merge]}) == expected


def test_a_merge_of_one_branch_is_none() -> None:
    [problem] = said({"steps": [noop("a", "m"), {"id": "m", "type": "merge"}]})
    assert problem.startswith("steps[1]: m is a merge, and 1 step leads to it")


def test_a_wide_split_is_read_as_fast_as_it_is_written() -> None:
    names = [f"b{n}" for n in range(1_000)]
    split = {"id": "a", "type": "split", "config": {"mode": "parallel", "branches": names}}
    merge = {"id": "m", "type": "merge"}
    found = parse_definition({"steps": [split, *(noop(name, "m") for name in names), merge]})
    assert len(found.sources["m"]) == 1_000
