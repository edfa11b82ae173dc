"""A stored rule's document is the rule again: nothing is lost between a row, its document and the next row."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from engine import rule_document
from engine.rule_document import COLUMNS

TREES = st.sampled_from(
    [
        [{"metric": "cpa", "window": "lifetime", "operator": ">", "threshold": 50.1}],
        {"any": [{"field": "roas", "operator": "<", "value": 1.5}, {"field": "tags", "operator": "is_null"}]},
    ]
)
ACTIONS = st.lists(
    st.sampled_from(
        [{"type": "pause"}, {"type": "increase_budget", "value": 12.5}, {"type": "notify", "params": {"title": "t"}}]
    ),
    min_size=1,
    max_size=3,
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "name": st.just(" Rule ") | st.text("ab ü", min_size=1).filter(str.strip),
        "conditions": TREES,
        "actions": ACTIONS,
    },
    optional={
        "description": st.none() | st.text("ab ", max_size=5),
        "rule_type": st.sampled_from(["budget", "alert"]),
        "entity_id": st.none() | st.just("01980000-0000-7000-8000-000000000000"),
        "trigger_type": st.sampled_from(["schedule", "manual"]),
        "condition_logic": st.sampled_from(["and", "or", "all", "any"]),
        "stop_on_error": st.booleans(),
        "delay_between_actions_seconds": st.integers(0, 86_400),
        "priority": st.sampled_from(["low", "critical"]),
        "status": st.sampled_from(["draft", "active", "paused"]),
        "max_executions_per_day": st.none() | st.integers(1, 9),
        "cooldown_minutes": st.integers(0, 100),
        "min_sample": st.none() | st.just({"impressions": 1000, "spend": 0.5}),
        "max_data_age": st.none() | st.sampled_from(["26h", "2d", 90]),
        "guardrails": st.none() | st.sampled_from([{}, {"budget_floor": 0.1, "max_entities_per_run": 3}]),
    },
)


class Stored:
    """A rule's row, as the database gives back what was stored."""

    def __init__(self, columns: dict[str, Any]) -> None:
        text = json.dumps(columns, default=str)
        self._columns: dict[str, Any] = json.loads(text) | {"entity_id": columns["entity_id"], "version": 3}

    def _asdict(self) -> dict[str, Any]:
        return self._columns


def stored(document: dict[str, Any]) -> Any:
    return Stored(rule_document.read(document).columns)


@given(DOCUMENTS)
def test_a_stored_rule_read_again_is_the_same(document: dict[str, Any]) -> None:
    row = stored(document)
    again = rule_document.read(rule_document.of_row(row))
    assert set(again.columns) == set(COLUMNS)
    assert rule_document.differing(again, row) == {}


@given(DOCUMENTS, DOCUMENTS)
def test_a_rule_with_another_laid_over_it_whole_is_the_other(one: dict[str, Any], other: dict[str, Any]) -> None:
    whole = dict.fromkeys(COLUMNS) | other
    laid = rule_document.read(rule_document.changed(stored(one), whole))
    assert laid.columns == rule_document.read(other).columns


@given(DOCUMENTS)
def test_a_version_that_comes_back_has_all_but_the_status(document: dict[str, Any]) -> None:
    columns = rule_document.read(document).columns
    kept = json.loads(json.dumps(columns, default=str)) | {"owner_id": "x", "template_id": None}
    back = rule_document.read(rule_document.of_version(kept, "paused")).columns
    assert back == columns | {"status": "paused"}


def test_what_is_laid_over_must_be_an_object() -> None:
    row = stored(
        {"name": "x", "conditions": [{"field": "cpa", "operator": ">", "value": 1}], "actions": [{"type": "pause"}]}
    )
    with pytest.raises(InputError, match="must be an object, not a list"):
        rule_document.changed(row, [])
    entity = UUID(int=1)
    assert rule_document.changed(row, {"entity_id": str(entity)})["entity_id"] == str(entity)
