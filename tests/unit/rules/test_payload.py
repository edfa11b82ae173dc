"""Paths into an event's payload: what they find, and what a rule that reads them may say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from engine.rules.closures import compile_tree
from engine.rules.conditions import parse
from engine.rules.definition import parse_rule
from engine.rules.evaluate import evaluate, trace
from engine.rules.fields import PAYLOAD_FIELDS
from engine.rules.payload import value_at
from engine.rules.sentence import Terms, rule_sentence
from engine.rules.tree import operands

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = st.text(alphabet="abcxyz019_-", min_size=1, max_size=4)
TEXTS = st.text(alphabet="abc5.é ", max_size=4)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(SCALARS, lambda nested: st.lists(nested, max_size=3) | st.dictionaries(KEYS, nested, max_size=3))
PAYLOADS = st.dictionaries(KEYS, VALUES, max_size=4)
ANYWHERE = st.lists(KEYS | st.integers(0, 12).map(str), min_size=1, max_size=5).map(".".join)
RULE: dict[str, Any] = {
    "name": "leads",
    "trigger_type": "event",
    "event_type": "lead.created",
    "conditions": [{"field": "lead.score", "operator": ">", "value": 50}],
    "actions": [{}],
}


def _places(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    """Yield every path in a document with its value, by walking it."""
    if path:
        yield ".".join(path), value
    nodes = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, node in nodes:
        yield from _places(node, (*path, str(key)))


@given(payload=PAYLOADS)
def test_every_value_is_found_at_its_path(payload: dict[str, Any]) -> None:
    for path, value in _places(payload):
        assert value_at(payload, path) is value


@given(payload=PAYLOADS, path=ANYWHERE)
def test_what_is_at_no_path_has_no_value(payload: dict[str, Any], path: str) -> None:
    there = dict(_places(payload))
    if path not in there:
        spelled = {".".join(str(int(part)) if part.isdecimal() else part for part in path.split(".")), path}
        found = value_at(payload, path)
        assert found is None or any(there.get(other) is found for other in spelled)


@pytest.mark.parametrize(
    "path", ["items.-1", "items.1", "items.x", "items.²", "items.0.price.0", "items", "none.x", "no"]
)
def test_what_is_no_index_is_no_error(path: str) -> None:
    payload = {"items": [{"price": 5}], "none": None}
    assert value_at(payload, path) == (payload["items"] if path == "items" else None)


@given(
    payload=PAYLOADS,
    path=ANYWHERE,
    operator=st.sampled_from([">", "=", "!=", "in", "contains", "starts_with", "is_null", "is_not_null"]),
    value=st.integers(-5, 5) | TEXTS,
)
def test_no_payload_breaks_a_comparison_and_what_is_missing_is_unknown(
    payload: dict[str, Any], path: str, operator: str, value: object
) -> None:
    leaf: dict[str, Any] = {"field": path, "operator": operator}
    if operator == "starts_with":
        leaf["value"] = str(value)
    elif operator == ">":
        leaf["value"] = 3
    elif not operator.startswith("is_"):
        leaf["value"] = [value] if operator == "in" else value
    tree = parse(leaf, known_fields=PAYLOAD_FIELDS)
    facts = {operand.key: value_at(payload, operand.field) for operand in operands(tree)}
    result = evaluate(tree, facts)
    closures = compile_tree(tree)
    assert closures.evaluate(facts) is result
    written, traced = closures.trace(facts, {}, None)
    assert (json.loads(written), traced) == (json.loads(json.dumps(trace(tree, facts))), result)
    if value_at(payload, path) is None:
        assert result is {"is_null": True, "is_not_null": False}.get(operator)


def test_a_path_is_of_any_type_even_where_a_field_has_its_name() -> None:
    tree = parse({"field": "ctr", "operator": "=", "value": "high"}, known_fields=PAYLOAD_FIELDS)
    [operand] = operands(tree)
    assert (operand.window, operand.key) == (None, "ctr")
    assert evaluate(tree, {"ctr": "high"}) is True
    two = parse({"field": "a", "operator": ">", "value": {"field": "b.0", "times": 2}}, known_fields=PAYLOAD_FIELDS)
    assert evaluate(two, {"a": 5, "b.0": 2}) is True


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"event_type": None}, "event_type", "is required where trigger_type is event"),
        ({"event_type": "Lead Created"}, "event_type", "cannot be 'Lead Created'"),
        ({"event_type": "x" * 101}, "event_type", "cannot be"),
        ({"trigger_type": "manual", "conditions": []}, "event_type", "means nothing where trigger_type is manual"),
        ({"min_sample": {"clicks": 5}}, "min_sample", "is about metrics"),
        ({"max_data_age": 3600}, "max_data_age", "is about metrics"),
        ({"entity_type": "event", "entity_id": "0" * 32}, "entity_id", "names a campaign"),
        ({"entity_type": "event", "delay_between_actions_seconds": 5}, "delay_between_actions_seconds", "more than 0"),
        (
            {"entity_type": "event", "trigger_type": "schedule", "event_type": None},
            "entity_type",
            "can be event only where trigger_type is event",
        ),
        (
            {"conditions": [{"field": "score", "window": "last_7d", "operator": ">", "value": 1}]},
            "conditions[0].window",
            "score is no metric and has no window",
        ),
        (
            {"conditions": [{"field": "score", "operator": "changed_pct", "value": 1}]},
            "conditions[0].operator",
            "changed_pct compares windows and score has none",
        ),
        ({"conditions": [{"field": "a..b", "operator": "is_null"}]}, "conditions[0].field", "'a..b' is no dotted path"),
        ({"conditions": [{"field": 5, "operator": "is_null"}]}, "conditions[0].field", "must be the name of a field"),
    ],
)
def test_what_makes_no_sense_for_an_event_is_refused_at_its_path(
    changes: dict[str, Any], field: str, message: str
) -> None:
    document = {key: value for key, value in (RULE | changes).items() if value is not None}
    with pytest.raises(InputError) as refused:
        parse_rule(document, parse_actions=lambda nodes, _: nodes)  # type: ignore[arg-type, return-value]
    told = {problem.field: problem.message for problem in refused.value.problems}
    assert message in told[field]


def test_an_event_rule_is_told_in_plain_english() -> None:
    condition = parse(RULE["conditions"], known_fields=PAYLOAD_FIELDS)
    told = rule_sentence(condition, ["send a notification"], Terms(event_type="lead.created", about_event=True))
    assert told == 'When "lead.created" happens: if lead.score is above 50, then send a notification.'
    told = rule_sentence(condition, ["pause the campaign"], Terms(event_type="lead.created"))
    assert told.startswith('When "lead.created" happens, for the campaign that it names or else for each: if ')
