"""Rule documents: defaults, bounds, and every refusal at its path."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from core.errors import InputError, Problem
from engine.rules.definition import RuleDefinition, parse_rule
from engine.rules.guardrails import Guardrails
from engine.rules.tree import Group, Logic

if TYPE_CHECKING:
    from collections.abc import Sequence

CONDITION = {"field": "cpa", "operator": ">", "value": 50}
RULE: dict[str, Any] = {"name": "Pause", "conditions": [CONDITION], "actions": [{"type": "pause_campaign"}]}


def types_of(actions: object, path: str) -> Sequence[str]:
    """Stand for the parser of actions: takes those with a type."""
    assert isinstance(actions, list)
    wrong = [
        Problem(f"{path}[{index}].type", "is required") for index, item in enumerate(actions) if "type" not in item
    ]
    if wrong:
        raise InputError(wrong)
    return [item["type"] for item in actions]


def rule(**changes: Any) -> RuleDefinition[str]:
    return parse_rule({**RULE, **changes}, parse_actions=types_of)


def problems_of(document: object) -> list[Problem]:
    with pytest.raises(InputError) as refused:
        parse_rule(document, parse_actions=types_of)
    return list(refused.value.problems)


def test_all_but_name_conditions_and_actions_has_a_default() -> None:
    made = rule()
    assert (made.description, made.rule_type, made.entity_type, made.entity_id) == (
        None,
        "performance",
        "campaign",
        None,
    )
    assert (made.trigger_type, made.condition_logic, made.priority, made.status) == (
        "schedule",
        "and",
        "medium",
        "draft",
    )
    assert (made.stop_on_error, made.max_executions_per_day, made.cooldown_minutes) == (False, None, 60)
    assert made.guardrails == Guardrails(None)
    assert made.guardrails.document() == {}
    assert made.actions == ("pause_campaign",)


def test_every_column_can_be_given() -> None:
    made = rule(
        description=" Too dear ",
        rule_type="budget",
        entity_type="campaign",
        entity_id="018f3a5e-0000-7000-8000-000000000001",
        trigger_type="manual",
        condition_logic="any",
        actions=[{"type": "b"}, {"type": "a"}],
        stop_on_error=True,
        priority="critical",
        status="active",
        max_executions_per_day=3,
        cooldown_minutes=0,
        guardrails={"budget_floor": 12.5},
    )
    assert made.description == "Too dear"
    assert made.entity_id == UUID("018f3a5e-0000-7000-8000-000000000001")
    assert made.condition_logic == "or"
    assert isinstance(made.conditions, Group)
    assert made.conditions.logic is Logic.ANY
    assert made.actions == ("b", "a")
    assert made.guardrails == Guardrails(Decimal("12.5"))
    assert made.guardrails.document() == {"budget_floor": 12.5}
    assert (made.stop_on_error, made.max_executions_per_day, made.cooldown_minutes) == (True, 3, 0)


@pytest.mark.parametrize(("written", "stored"), [("and", "and"), ("all", "and"), ("or", "or"), ("any", "or")])
def test_a_logic_is_stored_as_and_or_or(written: str, stored: str) -> None:
    assert rule(condition_logic=written).condition_logic == stored


@pytest.mark.parametrize(
    ("written", "age"),
    [
        ("26h", timedelta(hours=26)),
        ("2d", timedelta(days=2)),
        ("90m", timedelta(minutes=90)),
        (60, timedelta(minutes=1)),
    ],
)
def test_an_age_of_data_is_a_duration(written: object, age: timedelta) -> None:
    assert rule(max_data_age=written).max_data_age == age


def test_a_sample_is_asked_for_by_metric() -> None:
    assert rule(min_sample={"impressions": 1000}).min_sample == {"impressions": Decimal(1000)}
    assert rule().min_sample is None


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"name": "  "}, "name", "is blank"),
        ({"name": 5}, "name", "must be a string, not 5"),
        ({"name": None}, "name", "is required"),
        ({"name": "x" * 201}, "name", "has 201 characters"),
        ({"description": 5}, "description", "must be a string, not 5"),
        ({"rule_type": "x" * 51}, "rule_type", "has 51 characters"),
        ({"entity_type": "ad"}, "entity_type", "cannot be 'ad'"),
        ({"entity_id": "7"}, "entity_id", "must be a UUID, not '7'"),
        ({"entity_id": 7}, "entity_id", "must be a UUID, not 7"),
        ({"trigger_type": "webhook"}, "trigger_type", "cannot be 'webhook'"),
        ({"trigger_type": "event"}, "event_type", "is required where trigger_type is event"),
        ({"condition_logic": "xor"}, "condition_logic", "cannot be 'xor'"),
        ({"condition_logic": ["and"]}, "condition_logic", "cannot be a list"),
        ({"conditions": []}, "conditions", "has no conditions"),
        ({"conditions": None}, "conditions", "is required"),
        ({"conditions": [{**CONDITION, "value": True}]}, "conditions[0].value", "must be a number, not true"),
        ({"actions": []}, "actions", "must be a list of 1 to 20 actions, not 0 of them"),
        ({"actions": [{"type": "x"}] * 21}, "actions", "must be a list of 1 to 20 actions, not 21 of them"),
        ({"actions": "pause"}, "actions", "must be a list of 1 to 20 actions, not 'pause'"),
        ({"actions": [{"type": "x"}, {}]}, "actions[1].type", "is required"),
        ({"stop_on_error": 1}, "stop_on_error", "must be true or false, not 1"),
        ({"priority": "urgent"}, "priority", "cannot be 'urgent'"),
        ({"priority": None}, "priority", "cannot be null"),
        ({"status": "archived"}, "status", "cannot be 'archived'"),
        ({"max_executions_per_day": 0}, "max_executions_per_day", "cannot be 0"),
        ({"max_executions_per_day": -3}, "max_executions_per_day", "cannot be -3"),
        ({"max_executions_per_day": 1.5}, "max_executions_per_day", "must be a whole number, not 1.5"),
        ({"max_executions_per_day": True}, "max_executions_per_day", "must be a whole number, not true"),
        ({"max_executions_per_day": 10**30}, "max_executions_per_day", "cannot be 1000000"),
        ({"cooldown_minutes": -1}, "cooldown_minutes", "cannot be -1"),
        ({"cooldown_minutes": 525_601}, "cooldown_minutes", "cannot be 525601"),
        ({"cooldown_minutes": "60"}, "cooldown_minutes", "must be a whole number, not '60'"),
        ({"guardrails": 10}, "guardrails", "must be an object, not 10"),
        ({"guardrails": {"budget_floor": -1}}, "guardrails.budget_floor", "must be a number of at least 0, not -1"),
        ({"guardrails": {"budget_floor": True}}, "guardrails.budget_floor", "must be a number of at least 0, not true"),
        ({"guardrails": {"budget_limit": 5}}, "guardrails.budget_limit", "unknown key"),
        (
            {"guardrails": {"max_entities_per_run": 0}},
            "guardrails.max_entities_per_run",
            "must be a whole number of at",
        ),
        (
            {"guardrails": {"max_change_pct": 0}},
            "guardrails.max_change_pct",
            "must be a number of at least 0.01, not 0",
        ),
        (
            {"guardrails": {"budget_floor": 9, "budget_ceiling": 8}},
            "guardrails.budget_floor",
            "is above the budget_ceiling",
        ),
        ({"min_sample": {}}, "min_sample", "must be an object, not an object"),
        ({"min_sample": {"cpa": 5}}, "min_sample.cpa", "unknown key"),
        ({"min_sample": {"clicks": 0}}, "min_sample.clicks", "must be a number above 0, not 0"),
        ({"max_data_age": "soon"}, "max_data_age", "must be a duration, not 'soon'"),
        ({"max_data_age": 0}, "max_data_age", "cannot be 0"),
        ({"max_data_age": "999999999w"}, "max_data_age", "cannot be '999999999w'"),
        ({"delay_between_actions_seconds": -1}, "delay_between_actions_seconds", "cannot be -1"),
        ({"colour": "red"}, "colour", "unknown key"),
        ({"rule_id": "7"}, "rule_id", "unknown key"),
        ({"name": "a\x00b"}, "name", "holds a character that no database text can hold"),
        ({"name": "\ud800"}, "name", "holds a character that no database text can hold"),
        ({"actions": [{"type": "x", "value": float("nan")}]}, "actions[0].value", "is not a finite number"),
    ],
)
def test_a_wrong_rule_is_refused_at_its_path(changes: dict[str, Any], path: str, message: str) -> None:
    (problem,) = problems_of({**RULE, **changes})
    assert problem.field == path
    assert problem.message.startswith(message)


@pytest.mark.parametrize("document", [None, [], "rule", 5])
def test_a_rule_is_an_object(document: object) -> None:
    (problem,) = problems_of(document)
    assert problem.message.startswith("a rule must be an object, not ")


def test_the_three_columns_without_a_default_are_required() -> None:
    assert [(problem.field, problem.message) for problem in problems_of({})] == [
        ("name", "is required"),
        ("conditions", "is required"),
        ("actions", "is required"),
    ]


def test_all_that_is_wrong_is_told_at_once() -> None:
    document = {
        "name": "",
        "conditions": {"any": [{**CONDITION, "operator": "~"}, {}]},
        "condition_logic": "xor",
        "actions": [{}, {}],
        "max_executions_per_day": -1,
        "min_sample": 5,
        "guardrails": {"max_change": 1},
        "colour": "red",
    }
    assert {problem.field for problem in problems_of(document)} == {
        "name",
        "conditions.any[0].operator",
        "conditions.any[1]",
        "condition_logic",
        "actions[0].type",
        "actions[1].type",
        "max_executions_per_day",
        "min_sample",
        "guardrails.max_change",
        "colour",
    }


@pytest.mark.parametrize("column", ["conditions", "actions", "guardrails", "colour"])
def test_a_hostile_depth_is_refused_wherever_it_stands(column: str) -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = [{"all": deep}]
    (problem,) = problems_of({**RULE, column: deep})
    assert problem.field.startswith(column)
    assert problem.message == "is nested too deep"


def test_the_deepest_allowed_tree_fits_the_allowed_depth_of_json() -> None:
    node: dict[str, Any] = {**CONDITION, "operator": "in", "value": [1]}
    for _ in range(6):
        node = {"all": [node]}
    assert rule(conditions=node).conditions is not None
