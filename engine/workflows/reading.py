"""Read the definition of a workflow from its JSON document, telling all that is wrong with it at once. Pure.

A document is `{steps: [{id, type, config, next, …}], start, timeout_seconds, on_failure}`; docs/workflows.md has an
example of each type. The structure is also published as a JSON Schema (engine.workflows.schema). null is as good as
absent everywhere.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.errors import InputError
from engine.rules.definition import MAX_JSON_DEPTH
from engine.rules.reading import Problems, listed, refuse_unstorable, shown
from engine.workflows import graph, referring
from engine.workflows.definition import Definition
from engine.workflows.drafts import MAX_SECONDS, object_reader
from engine.workflows.steps import Placed, read_on_failure, read_step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.rules.objects import ObjectReader

KEYS: Final = ("steps", "start", "timeout_seconds", "on_failure")
MAX_STEPS: Final = 2_000  # SPEC §4
MAX_BYTES: Final = 1_048_576  # SPEC §4: 1 MiB of JSON without blanks
_NESTED: Final = 3  # a step's config stands three levels deep
_LEAST_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Read:
    """What was read. The definition means nothing where a problem was noted."""

    definition: Definition
    steps: Sequence[Placed]


def parse_definition(document: object, *, path: str = "") -> Definition:
    """Return the definition, or raise InputError with every problem and its path (`steps[3].config.true_next`).

    Whether actions, callables, secrets and other workflows exist is not looked at: see engine.define_workflows.
    """
    problems = Problems()
    read = read_definition(document, problems, path=path)
    problems.arrange()
    problems.raise_if_any()
    return read.definition


def read_definition(document: object, problems: Problems, *, path: str = "") -> Read:
    """Read a definition, noting its problems; raises InputError at once for what is too large, or no JSON object."""
    if not isinstance(document, dict):
        raise InputError.of(path, f"a definition must be an object, not {shown(document)}", f"keys: {listed(KEYS)}")
    refuse_unstorable(document, path, MAX_JSON_DEPTH + _NESTED)
    _refuse_large(document, path)
    problems.refuse_unknown_keys(document, KEYS, path)
    members = object_reader(document, problems, path)
    steps, whole = _steps(members, problems)
    by_id = {placed.step.id: placed for placed in reversed(steps)}  # of several with an id the first
    by_id = {placed.step.id: placed for placed in steps if by_id[placed.step.id] is placed}
    start = _start(members, problems)
    found = graph.check(by_id, start, members.at("start"), problems, whole=whole) if steps else ""
    referring.check(by_id, problems)
    timeout = None
    if members.get("timeout_seconds") is not None:
        timeout = members.number("timeout_seconds", 1, _LEAST_SECONDS, MAX_SECONDS)
    read = {step_id: placed.step for step_id, placed in by_id.items()}
    return Read(Definition(read, found, timeout), steps)


def size_of(document: object) -> int:
    """Return the bytes of a JSON document without blanks."""
    return len(json.dumps(document, separators=(",", ":"), ensure_ascii=False, default=str).encode())


def _refuse_large(document: object, path: str) -> None:
    size = size_of(document)
    if size > MAX_BYTES:
        raise InputError.of(path, f"the definition has {size:,} bytes", f"give at most {MAX_BYTES:,} (1 MiB)")


def _start(members: ObjectReader, problems: Problems) -> str | None:
    start = members.get("start")
    if start is None or isinstance(start, str):
        return start
    problems.add(members.at("start"), f"must be the id of a step, not {shown(start)}", "write its id as a text")
    return None


def _steps(members: ObjectReader, problems: Problems) -> tuple[list[Placed], bool]:
    """Read the steps; returns those that have an id, and whether that is all of them with all their ways out."""
    default = read_on_failure(members.get("on_failure"), members.at("on_failure"), problems)
    document, place = members.required("steps"), members.at("steps")
    if document is None:
        return [], False
    if not isinstance(document, list) or not document:
        problems.add(place, "must be a list of at least one step", "write [{id, type, config, next}]")
        return [], False
    if len(document) > MAX_STEPS:
        problems.add(place, f"has {len(document):,} steps", f"give at most {MAX_STEPS:,}")
    read = [read_step(step, f"{place}[{index}]", default, problems) for index, step in enumerate(document)]
    steps = [placed for placed in read if placed is not None]
    twice = _refuse_twice(steps, problems)
    return steps, len(steps) == len(read) and not twice and all(placed.whole for placed in steps)


def _refuse_twice(steps: Sequence[Placed], problems: Problems) -> bool:
    first: dict[str, str] = {}
    twice = False
    for placed in steps:
        there = first.setdefault(placed.step.id, placed.path)
        if there != placed.path:
            twice = True
            problems.add(f"{placed.path}.id", f"is the id of {there}, too", "give each step an id of its own")
    return twice
