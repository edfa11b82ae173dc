"""Which leaves of a trace decided."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from engine.rules.conditions import parse
from engine.rules.deciding import deciding_leaves
from engine.rules.evaluate import trace
from tests.unit.rules.strategies import FACTS, PATIENT, TREES


def _leaf(name: str, *, result: bool | None) -> dict[str, Any]:
    return {"field": name, "result": result}


@pytest.mark.parametrize(
    ("logic", "result", "names"),
    [
        ("all", False, "b"), ("any", True, "a"), ("none", False, "a"), ("all", None, "c"),
    ],
)  # fmt: skip
def test_the_nodes_that_make_a_groups_result_decide(logic: str, result: bool | None, names: str) -> None:  # noqa: FBT001 - the three values
    nodes = [_leaf("a", result=True), _leaf("b", result=False), _leaf("c", result=None)]
    document = {logic: nodes, "result": result}
    assert [leaf["field"] for leaf in deciding_leaves(document)] == list(names)


def test_groups_within_groups_are_followed_where_they_decide() -> None:
    inner = {"any": [_leaf("b", result=False), _leaf("c", result=True)], "result": True}
    document = {"all": [_leaf("a", result=True), inner, {"none": [_leaf("d", result=False)], "result": True}]}
    assert [leaf["field"] for leaf in deciding_leaves(document | {"result": True})] == ["a", "c", "d"]


@PATIENT
@given(TREES, FACTS)
def test_every_result_is_decided_by_some_leaf_and_leaves_that_do_not_decide_may_be_anything(
    tree: dict[str, Any], facts: dict[str, Any]
) -> None:
    made = trace(parse(tree, known_fields=None), facts)
    decisive = [id(leaf) for leaf in deciding_leaves(made)]
    assert decisive
    for other in (True, False, None):
        if made["result"] is not None:
            assert _joined(made, set(decisive), other=other) is made["result"]


def _joined(node: Any, kept: set[int], *, other: bool | None) -> bool | None:
    """Evaluate a trace anew, all leaves that are not kept being `other`."""
    logic = next((logic for logic in ("all", "any", "none") if logic in node), None)
    if logic is None:
        result: bool | None = node["result"] if id(node) in kept else other
        return result
    results = [_joined(child, kept, other=other) for child in node[logic]]
    ends = logic != "all"
    if ends in results:
        return logic == "any"
    return None if None in results else logic != "any"
