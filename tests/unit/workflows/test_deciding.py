"""Conditions of workflows: the first true case is taken, unknown as the step says, and the trace tells why."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from engine.rules.reading import Problems
from engine.workflows.deciding import LONGEST_TRACE, branch, fields_read, parse_when

VALUES: Final[dict[str, Any]] = {
    "context": {"score": 7, "lead": {"country": "DE", "tags": ["vip"]}, "steps": "mine", "none": None},
    "steps": {"rate": {"output": {"quality": 0.92, "items": [{"ok": True}]}}},
    "instance": {"id": "i"},
}
TRUE: Final = {"field": "score", "operator": "=", "value": 7}
FALSE: Final = {"field": "score", "operator": "=", "value": 8}
UNKNOWN: Final = {"field": "missing", "operator": "=", "value": 8}


def config(*trees: Any) -> dict[str, Any]:
    if len(trees) == 1:
        return {"cases": [{"label": "true", "when": trees[0]}], "default": "false"}
    cases = [{"label": f"case:{index}", "when": tree} for index, tree in enumerate(trees)]
    return {"cases": cases, "default": "default"}


def left_by(*trees: Any, has_unknown: bool = False) -> str:
    return branch(config(*trees), VALUES, has_unknown=has_unknown)[0]


@pytest.mark.parametrize(
    ("tree", "label"),
    [
        (TRUE, "true"),
        (FALSE, "false"),
        ([TRUE, TRUE], "true"),
        ([TRUE, FALSE], "false"),
        ({"any": [FALSE, TRUE]}, "true"),
        ({"none": [FALSE]}, "true"),
        ({"field": "context.score", "operator": ">", "value": 6}, "true"),
        ({"field": "lead.country", "operator": "in", "value": ["DE", "AT"]}, "true"),
        ({"field": "lead.tags", "operator": "contains", "value": "vip"}, "true"),
        ({"field": "steps.rate.output.quality", "operator": ">=", "value": 0.92}, "true"),
        ({"field": "steps.rate.output.items.0.ok", "operator": "=", "value": True}, "true"),
        ({"field": "score", "operator": ">", "value": {"field": "steps.rate.output.quality", "times": 7}}, "true"),
        ({"field": "context.steps", "operator": "=", "value": "mine"}, "true"),
        ({"field": "steps", "operator": "=", "value": "mine"}, "true"),
        ({"field": "none", "operator": "is_null"}, "true"),
        ({"field": "steps.gone.output.x", "operator": "is_null"}, "true"),
        ({"field": "instance.id", "operator": "is_null"}, "true"),
        (UNKNOWN, "false"),
        ({"field": "lead.country", "operator": ">", "value": 1}, "false"),
    ],
)
def test_a_tree_over_paths_decides(tree: Any, label: str) -> None:
    assert left_by(tree) == label


@pytest.mark.parametrize(
    ("results", "has_unknown", "label"),
    [
        ([FALSE, TRUE, TRUE], False, "case:1"),
        ([FALSE, FALSE], True, "default"),
        ([UNKNOWN, TRUE], False, "case:1"),
        ([UNKNOWN, FALSE], False, "default"),
        ([UNKNOWN, TRUE], True, "unknown"),
        ([TRUE, UNKNOWN], True, "case:0"),
        ([FALSE, UNKNOWN], True, "unknown"),
    ],
)
def test_cases_are_tried_in_their_order_and_unknown_goes_where_the_step_says(
    results: list[Any], *, has_unknown: bool, label: str
) -> None:
    assert left_by(*results, has_unknown=has_unknown) == label


def test_unknown_is_left_by_its_own_edge_if_there_is_one() -> None:
    assert left_by(UNKNOWN, has_unknown=True) == "unknown"
    assert left_by([FALSE, UNKNOWN], has_unknown=True) == "false"
    assert left_by({"any": [TRUE, UNKNOWN]}, has_unknown=True) == "true"


def test_why_tells_of_each_case_that_was_tried_what_was_found_and_wanted() -> None:
    label, why = branch(config(FALSE, [UNKNOWN], TRUE, TRUE), VALUES, has_unknown=False)
    assert label == "case:2"
    assert [(case["label"], case["result"]) for case in why["cases"]] == [
        ("case:0", False),
        ("case:1", None),
        ("case:2", True),
    ]
    leaf = why["cases"][0]["when"]
    assert (leaf["field"], leaf["actual"], leaf["operator"], leaf["expected"], leaf["result"]) == (
        "score",
        7,
        "=",
        8,
        False,
    )
    assert why["cases"][1]["when"]["all"][0]["reason"] == "missing has no value"
    assert json.loads(json.dumps(why)) == why


def test_traces_that_are_long_keep_their_results() -> None:
    values = {"context": {"long": ["x" * 500] * 100}}
    trees = [{"all": [{"field": "long", "operator": "contains", "value": "y"}]}] * 40
    label, why = branch(config(*trees), values, has_unknown=False)
    assert label == "default"
    assert [case["result"] for case in why["cases"]] == [False] * 40
    assert why["cases"][0]["when"] is not None
    assert len(json.dumps(why)) < LONGEST_TRACE + 5_000


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_whatever_the_context_holds_a_condition_is_left_by_one_of_its_labels(value: Any) -> None:
    tree = {"field": "it", "operator": ">", "value": 3}
    label, why = branch(config(tree), {"context": {"it": value}}, has_unknown=True)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    assert label == ("unknown" if not is_number else "true" if value > 3 else "false")
    json.dumps(why)


def test_a_tree_is_read_with_all_its_problems_at_its_path() -> None:
    problems = Problems()
    wrong = [{"field": "a b", "operator": "=", "value": 1}, {"field": "score", "operator": "~", "value": 1}]
    assert parse_when(wrong, "steps[3].config.conditions", problems) is None
    with pytest.raises(InputError) as refusal:
        problems.raise_if_any()
    assert [problem.field for problem in refusal.value.problems] == [
        "steps[3].config.conditions[0].field",
        "steps[3].config.conditions[1].operator",
    ]


def test_the_fields_that_a_tree_reads_are_told_from_their_roots() -> None:
    problems = Problems()
    other = {"field": "steps.rate.output.n", "times": 2}
    tree = parse_when({"any": [TRUE, {"field": "lead.size", "operator": ">", "value": other}]}, "when", problems)
    assert tree is not None
    assert not problems
    assert fields_read(tree) == (("context", "lead", "size"), ("context", "score"), ("steps", "rate", "output", "n"))
