"""The six templates have the specification's ids and values, and are valid rules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from engine.rules.conditions import parse
from engine.rules.definition import InitialStatus, parse_rule
from engine.rules.evaluate import evaluate
from engine.rules.templates import TEMPLATES, RuleTemplate

if TYPE_CHECKING:
    from collections.abc import Sequence


def as_they_are(actions: object, _path: str) -> Sequence[object]:
    assert isinstance(actions, list)
    return actions


def test_ids_conditions_and_actions_are_exactly_the_specifications() -> None:
    found = {
        key: (item.field, item.operator, item.threshold, item.window, item.action, item.percent)
        for key, item in TEMPLATES.items()
    }
    assert found == {
        "pause_high_cpa": ("cpa", ">", 50, None, "pause_underperforming", None),
        "increase_budget_high_roas": ("roas", ">", 3.0, None, "increase_budget", 20),
        "decrease_budget_low_ctr": ("ctr", "<", 0.01, None, "decrease_budget", 30),
        "notify_high_spend": ("spend", ">", 1000, "today", "notify", None),
        "notify_low_conversion_rate": ("conversion_rate", "<", 0.02, None, "notify", None),
        "pause_low_roas": ("roas", "<", 1.5, None, "pause_underperforming", None),
    }


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_is_a_valid_draft_rule(template: RuleTemplate) -> None:
    document = json.loads(json.dumps(template.document()))
    rule = parse_rule(document, parse_actions=as_they_are)
    assert rule.status is InitialStatus.DRAFT
    assert rule.name == template.name
    assert rule.actions[0] == document["actions"][0]


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_does_not_fire_at_its_threshold(template: RuleTemplate) -> None:
    condition = parse(template.document()["conditions"])
    key = f"{template.field}@{template.window}" if template.window else template.field
    beyond = template.threshold * (1.01 if template.operator == ">" else 0.99)
    assert evaluate(condition, {key: template.threshold}) is False
    assert evaluate(condition, {key: beyond}) is True
    assert evaluate(condition, {}) is None


def test_a_document_can_be_changed_without_changing_the_template() -> None:
    template = TEMPLATES["pause_high_cpa"]
    template.document().clear()
    assert template.document()["name"] == "Pause high CPA"
