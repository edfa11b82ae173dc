"""What a trace shows is enough to evaluate the tree again."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given

from engine.rules.conditions import parse
from engine.rules.evaluate import evaluate, trace
from engine.rules.nearest import nearest_miss
from engine.rules.traced import facts_shown
from tests.unit.rules.strategies import FACTS, PATIENT, TREES


@PATIENT
@given(TREES, FACTS)
def test_a_tree_evaluates_on_the_facts_that_its_trace_shows_as_it_did(
    document: dict[str, Any], facts: dict[str, Any]
) -> None:
    condition = parse(document, known_fields=None)
    stored = json.loads(json.dumps(trace(condition, facts)))
    shown = facts_shown(condition, stored)
    assert evaluate(condition, shown) is evaluate(condition, facts) is stored["result"]
    assert trace(condition, shown) == trace(condition, facts)


def test_the_nearest_miss_can_be_told_from_a_trace_alone() -> None:
    tree = parse(
        [
            {"field": "cpa", "operator": ">", "value": {"field": "cpa", "window": "last_14d", "times": 1.2}},
            {"field": "spend", "operator": "changed_pct", "value": 20},
        ]
    )
    facts = {"cpa": 60, "cpa@last_14d": 51, "spend": 130, "spend:previous": 100}
    shown = facts_shown(tree, json.loads(json.dumps(trace(tree, facts))))
    assert shown == facts
    miss = nearest_miss(tree, shown)
    assert miss is not None
    assert miss.text == "would fire if cpa (last_7d) rises more than 2 % (above 61.2)"
