"""Documents of bundles: every problem at its path, and the product's own."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from engine import rule_document
from engine.rules.bundle import BundleDefinition, parse_bundle
from engine.rules.conflicts import Side, conflict
from engine.rules.templates import TEMPLATES

RULE: dict[str, Any] = {
    "name": "Pause",
    "conditions": [{"field": "cpa", "operator": ">", "value": 50}],
    "actions": [{"type": "pause_campaign"}],
}
BUNDLE: dict[str, Any] = {"name": "Basics", "category": "budget", "rules": [RULE]}


def parse(**changes: Any) -> BundleDefinition:
    return parse_bundle({**BUNDLE, **changes}, check_rule=rule_document.read)


def problems_of(document: object) -> dict[str, str]:
    with pytest.raises(InputError) as refused:
        parse_bundle(document, check_rule=rule_document.read)
    return {problem.field: problem.message for problem in refused.value.problems}


def test_a_bundle_keeps_its_rules_as_they_were_written() -> None:
    made = parse()
    assert (made.name, made.category, made.is_public, made.status) == ("Basics", "budget", False, "active")
    assert made.rules == [RULE]


def test_everything_wrong_is_told_at_once_and_at_its_path() -> None:
    rules = [
        RULE,
        RULE | {"conditions": [{"field": "cpaa", "operator": "~"}], "status": "active"},
        RULE | {"name": "Other", "actions": [{"type": "explode"}], "entity_id": None},
        "no rule",
    ]
    found = problems_of({"category": "sales", "rules": rules, "is_public": "yes", "color": 1})
    assert set(found) == {
        "name",
        "category",
        "color",
        "is_public",
        "rules[1].conditions[0].field",
        "rules[1].conditions[0].operator",
        "rules[1].name",
        "rules[1].status",
        "rules[2].actions[0].type",
        "rules[2].entity_id",
        "rules[3]",
    }
    assert found["rules[1].name"] == "is the name of rules[0], too"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rules": []}, "rules: must be a list of 1 to 50 rules, not 0 of them"),
        ({"rules": [RULE] * 51}, "rules: must be a list of 1 to 50 rules, not 51 of them"),
        ({"rules": {}}, "rules: must be a list of 1 to 50 rules, not an object"),
        ({"rules": None}, "rules: is required"),
        ({"rules": [RULE | {"name": str(n), "description": "x" * 8_000} for n in range(40)]}, "rules: have 3"),
        ({"category": None}, "category: is required"),
        ({"status": "draft"}, "status: cannot be 'draft'"),
    ],
)
def test_a_bundle_has_bounds(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        parse(**changes)
    assert len(refused.value.problems) == 1


def test_a_document_that_is_no_object_or_nested_too_deep_is_refused() -> None:
    assert "" in problems_of([BUNDLE])
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    assert any("nested too deep" in said for said in problems_of(BUNDLE | {"rules": [{"conditions": deep}]}).values())


def seeded() -> list[BundleDefinition]:
    source = (Path(__file__).parents[3] / "migrations/versions/0016_bundles.py").read_text(encoding="utf-8")
    heads = re.findall(r"', '(\w+)', \$json\$(.*?)\$json\$", source, re.DOTALL)
    return [
        parse(name=f"bundle {index}", category=category, rules=json.loads(rules))
        for index, (category, rules) in enumerate(heads)
    ]


def test_the_products_own_bundles_are_valid_and_each_template_is_in_one() -> None:
    made = seeded()
    assert [bundle.category for bundle in made] == ["performance", "budget", "creative"]
    told = {
        (node["field"], node["operator"], node["value"])
        for bundle in made
        for rule in bundle.rules
        for node in rule["conditions"]
    }
    assert {(t.field, t.operator, t.threshold) for t in TEMPLATES.values()} <= told


def test_no_two_rules_of_the_products_bundles_work_against_each_other() -> None:
    sides = []
    for bundle in seeded():
        for document in bundle.rules:
            rule = rule_document.read(document).definition
            effects = frozenset(action.direction for action in rule.actions if action.direction is not None)
            sides.append((rule.name, Side(rule.conditions, effects)))
    assert len(sides) == 8
    assert [(a, b) for (a, one), (b, other) in combinations(sides, 2) if conflict(one, other)] == []
