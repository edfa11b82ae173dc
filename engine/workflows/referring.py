"""Whether what a step refers to can be there: names that exist, and steps that come before it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from engine.rules.reading import shown
from engine.workflows.graph import in_order, ways_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from engine.rules.reading import Problems
    from engine.workflows.steps import Placed

STEPS: Final = "steps"
INSTANCE: Final = "instance"
OF_INSTANCE: Final = ("id", "template_id", "version")
_MOST: Final = 100
"""References of one step."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MAX_NAMES: Final = 17
_FORMS: Final = r"write {{ context.NAME }} or {{ steps.ID.output.NAME }}, or \{{ … }} for braces that are meant"


def check(steps: Mapping[str, Placed], problems: Problems) -> None:
    """Note each reference that is none, and each to a step that is not there or does not come before."""
    before = _Before(steps)
    for step_id, placed in steps.items():
        if len(placed.references) > _MOST:
            message = f"{step_id} has {len(placed.references)} references"
            problems.add(f"{placed.path}.config", message, f"use at most {_MOST} in a step")
            continue
        for place, path in dict.fromkeys(placed.references):
            fault = _fault(path) or _step_fault(path, step_id, steps, before)
            if fault is not None:
                problems.add(place, *fault)


class _Before:
    """Which steps come before which: a set of bits for each step, made when it is first asked for."""

    def __init__(self, steps: Mapping[str, Placed]) -> None:
        self._steps = steps
        self._bits: dict[str, int] | None = None
        self._sets: dict[str, int] = {}

    def known(self, step_id: str) -> bool:
        """Whether the place of a step is known: those in cycles have none."""
        return step_id in self._made()

    def comes(self, one: str, step_id: str) -> bool:
        """Whether one step can lead to another."""
        return bool(self._sets[step_id] & self._made()[one])

    def _made(self) -> dict[str, int]:
        if self._bits is None:
            ways = ways_of(self._steps)
            order = in_order(ways)
            self._bits = {step_id: 1 << place for place, step_id in enumerate(order)}
            self._sets = dict.fromkeys(self._steps, 0)
            for step_id in order:
                passed = self._sets[step_id] | self._bits[step_id]
                for target in ways[step_id]:
                    self._sets[target] |= passed
        return self._bits


def _fault(path: tuple[str, ...]) -> tuple[str, str] | None:
    """Return what is wrong with a path by itself, and the remedy."""
    written = ".".join(path)
    if len(path) > _MAX_NAMES or not all(_NAME.fullmatch(name) for name in path):
        return f"{shown(written)} in double braces is no reference", _FORMS
    match path:
        case ("context", *_) | ("instance", "id" | "template_id" | "version") | ("steps", _, "output", *_):
            return None
        case ("instance", *_):
            return f"there is no {shown(written)} to refer to", f"allowed: {', '.join(_of_instance())}"
        case ("steps", *_):
            return f"{shown(written)} is no output of a step", "write steps.ID.output, and what is wanted of it"
        case _:
            return f"there is no {shown(written)} to refer to", _FORMS


def _of_instance() -> Iterator[str]:
    return (f"{INSTANCE}.{name}" for name in OF_INSTANCE)


def _step_fault(
    path: tuple[str, ...], step_id: str, steps: Mapping[str, Placed], before: _Before
) -> tuple[str, str] | None:
    if path[0] != STEPS:
        return None
    named = path[1]
    if named not in steps:
        return f"there is no step {shown(named)} to refer to", "name the id of a step that comes before this one"
    if before.known(step_id) and before.known(named) and not before.comes(named, step_id):
        return f"{named} does not come before {step_id}", "refer to steps that lead to this one"
    return None
