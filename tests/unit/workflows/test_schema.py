"""The published JSON Schema against the reader: what one takes for a step's structure, the other does."""

from __future__ import annotations

import copy
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from core.errors import InputError
from engine.rules.reading import Problems
from engine.workflows.reading import parse_definition
from engine.workflows.schema import schema
from engine.workflows.steps import read_step
from tests.unit.rules.strategies import PATIENT
from tests.unit.workflows.documents import LEAF, STEPS, around, chain, noop

VALIDATOR: Final = Draft202012Validator(schema())
ODD: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    1,
    -1,
    2.5,
    10**12,
    "",
    " ",
    "x",
    "b c",
    "x" * 3_000,
    [],
    {},
    ["b"],
    [3],
    {"b": 1},
    {"days": 1},
)
_INSIDE: Final = frozenset({"conditions", "when"})
"""Of condition trees the schema knows the shape, not what each operator compares with."""


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    if isinstance(node, dict | list) and not (path and path[-1] in _INSIDE):
        members = node.items() if isinstance(node, dict) else enumerate(node)
        found += [one for key, value in members for one in places(value, (*path, key))]
    return found


def changed(step: dict[str, Any], path: tuple[Any, ...], how: str, value: object) -> dict[str, Any]:
    made = copy.deepcopy(step)
    holder: Any = made
    for key in path[:-1]:
        holder = holder[key]
    match how:
        case "replace":
            holder[path[-1]] = value
        case "remove":
            del holder[path[-1]]
        case _:
            if isinstance(holder, dict):
                holder["odd" if how == "add" else how] = value
    return made


def structure_is_read(step: dict[str, Any]) -> bool:
    problems = Problems()
    read_step(step, "steps[0]", "fail", problems)
    return not len(problems)


def beside_is_read(document: dict[str, Any]) -> bool:
    try:
        parse_definition(document)
    except InputError as error:
        # whether there is a step of that name is no question of structure
        return all("there is no step" in one.message for one in error.problems)
    return True


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_definition_of_each_form_is_taken_by_both(step: dict[str, Any]) -> None:
    document = around(step)
    parse_definition(document)
    assert list(VALIDATOR.iter_errors(document)) == []


@PATIENT
@given(st.data())
def test_what_is_changed_in_a_step_is_taken_or_refused_by_both(data: st.DataObject) -> None:
    step = data.draw(st.sampled_from([*STEPS.values()]))
    path = data.draw(st.sampled_from(places(step)))
    names = sorted({key for one in STEPS.values() for key in (*one, *one.get("config", {}))})
    how = data.draw(st.sampled_from(["replace", "replace", "remove", "add", *names]))
    made = changed(step, path, how, data.draw(st.sampled_from(ODD)))
    assert VALIDATOR.is_valid({"steps": [made]}) == structure_is_read(made), made


@pytest.mark.parametrize("key", ["start", "timeout_seconds", "on_failure", "odd"])
@pytest.mark.parametrize("value", [*ODD, "a", "pause"], ids=lambda value: repr(value)[:12])
def test_what_stands_beside_the_steps_is_taken_or_refused_by_both(key: str, value: object) -> None:
    document = {"steps": [noop("a")], key: value}
    assert VALIDATOR.is_valid(document) == beside_is_read(document)


@pytest.mark.parametrize(
    "tree",
    [[], {}, {"all": []}, {"all": [LEAF], "any": [LEAF]}, {"field": "x"}, {"operator": ">", "value": 1}, [1], "x", 3,
     {"field": "x", "metric": "y", "operator": "=", "value": 1}, {"field": "x", "operator": "~", "value": 1}],
)  # fmt: skip
def test_what_is_no_condition_is_refused_by_both(tree: object) -> None:
    step = {"id": "a", "type": "condition", "config": {"conditions": tree}}
    assert not structure_is_read(step)
    assert not VALIDATOR.is_valid({"steps": [step]})


def test_the_schema_knows_how_many_steps_there_may_be() -> None:
    assert VALIDATOR.is_valid(chain(3))
    assert not VALIDATOR.is_valid({"steps": []})
    assert schema()["properties"]["steps"]["maxItems"] == 2_000
