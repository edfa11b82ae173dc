"""Whether steps make a graph that can be run: targets that exist, one start, no cycle, nothing out of reach. Pure.

Every check takes time in proportion to the steps and ways, whatever is wrong with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.rules.reading import listed, shown
from models.workflow_enums import StepType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from engine.rules.reading import Problems
    from engine.workflows.steps import Placed

Ways = dict[str, list[str]]

_SHOWN: Final = 10
_LEAST_INPUTS: Final = 2


def check(steps: Mapping[str, Placed], start: str | None, place: str, problems: Problems, *, whole: bool) -> str:
    """Note what is wrong with the graph, and return the id of its start.

    `start` is what was written, at `place`. Not `whole`: some steps could not be read, so that what follows from
    missing ways is not told.
    """
    ways = _ways(steps, problems)
    sources = _reversed(ways)
    looped = _check_cycles(steps, ways, problems)
    begins = _starts(steps, sources, start, place, problems, whole=whole)
    if whole:
        _check_reach(steps, ways, begins, looped, problems)
        _check_merges(steps, sources, problems)
    return begins[0] if begins else ""


def ways_of(steps: Mapping[str, Placed]) -> Ways:
    """Return for each step the steps that it leads to, each once; targets that do not exist are left out."""
    return {step_id: [one for one in placed.step.targets if one in steps] for step_id, placed in steps.items()}


def in_order(ways: Ways) -> list[str]:
    """Return the steps so that each comes after all that lead to it; what is in a cycle or after one is left out."""
    left = {step_id: len(sources) for step_id, sources in _reversed(ways).items()}
    free = [step_id for step_id, count in left.items() if not count]
    for step_id in free:
        for target in ways[step_id]:
            left[target] -= 1
            if not left[target]:
                free.append(target)
    return free


def _ways(steps: Mapping[str, Placed], problems: Problems) -> Ways:
    for placed in steps.values():
        for label, place in placed.places.items():
            target = placed.step.edges[label]
            if target is not None and target not in steps:
                problems.add(place, f"there is no step {shown(target)}", "name the id of a step, or add that step")
    return ways_of(steps)


def _reversed(ways: Ways) -> Ways:
    sources: Ways = {step_id: [] for step_id in ways}
    for step_id, targets in ways.items():
        for target in targets:
            sources[target].append(step_id)
    return sources


def _starts(
    steps: Mapping[str, Placed], sources: Ways, start: str | None, place: str, problems: Problems, *, whole: bool
) -> list[str]:
    if start is not None:
        if start in steps:
            return [start]
        problems.add(place, f"there is no step {shown(start)}", "name the id of a step")
        return []
    found = [step_id for step_id, before in sources.items() if not before]
    if len(found) > 1 and whole:
        message = f"{len(found)} steps have nothing that leads to them: {_named(found)}"
        problems.add(place, message, "let something lead to all of them but one, or take the others away")
    return found  # none at all: there is a cycle then, which was told


def _check_reach(
    steps: Mapping[str, Placed], ways: Ways, begins: Sequence[str], looped: frozenset[str], problems: Problems
) -> None:
    reached = set(begins)
    waiting = list(begins)
    while waiting:
        for target in ways[waiting.pop()]:
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    if begins:
        for step_id, placed in steps.items():
            if step_id not in reached and step_id not in looped:
                message = f"{step_id} cannot be reached from the start {_named(begins)}"
                problems.add(placed.path, message, "let a step lead to it, or take it away")


def _check_merges(steps: Mapping[str, Placed], sources: Ways, problems: Problems) -> None:
    for step_id, placed in steps.items():
        step, inputs = placed.step, len(sources[step_id])
        if step.type is not StepType.MERGE:
            continue
        if inputs < _LEAST_INPUTS:
            led = f"{inputs} step leads" if inputs == 1 else f"{inputs} steps lead"
            problems.add(
                placed.path, f"{step_id} is a merge, and {led} to it", "lead two or more there, or do without it"
            )
        elif (step.config.get("n") or 0) > inputs:
            message = f"is {step.config['n']}, and {inputs} steps lead to the merge"
            problems.add(f"{placed.path}.config.n", message, f"give at most {inputs}")


def _check_cycles(steps: Mapping[str, Placed], ways: Ways, problems: Problems) -> frozenset[str]:
    """Note one cycle of each knot of steps that lead to each other, and return all the steps of such knots."""
    looped: set[str] = set()
    if len(in_order(ways)) < len(ways):
        position = {step_id: index for index, step_id in enumerate(steps)}
        for knot in sorted(_knots(ways), key=lambda one: min(position[step_id] for step_id in one)):
            first = min(knot, key=lambda step_id: position[step_id])
            cycle = _cycle(first, knot, ways)
            message = f"the steps {_arrows(cycle)} lead in a circle"
            problems.add(steps[cycle[0]].path, message, "take one of these ways away: a step is executed once")
            looped |= knot
    return frozenset(looped)


def _cycle(first: str, knot: frozenset[str], ways: Ways) -> list[str]:
    """Walk within a knot until a step is met again; what lies before that one is no part of the cycle."""
    walked = {first: 0}
    step_id = first
    while True:
        step_id = next(target for target in ways[step_id] if target in knot)
        if step_id in walked:
            return list(walked)[walked[step_id] :]
        walked[step_id] = len(walked)


def _knots(ways: Ways) -> Iterator[frozenset[str]]:
    """Yield the strongly connected components that hold a cycle (Kosaraju's way, without recursion)."""
    sources, known = _reversed(ways), set[str]()
    for root in reversed(_finished(ways)):
        if root in known:
            continue
        known.add(root)
        knot = [root]
        for step_id in knot:
            fresh = [source for source in sources[step_id] if source not in known]
            known.update(fresh)
            knot += fresh
        if len(knot) > 1 or root in ways[root]:
            yield frozenset(knot)


def _finished(ways: Ways) -> list[str]:
    """Return the steps in the order in which a walk in depth is done with them."""
    done: list[str] = []
    seen: set[str] = set()
    for root in ways:
        walk = [] if root in seen else [(root, iter(ways[root]))]
        seen.add(root)
        while walk:
            following = next((target for target in walk[-1][1] if target not in seen), None)
            if following is None:
                done.append(walk.pop()[0])
            else:
                seen.add(following)
                walk.append((following, iter(ways[following])))
    return done


def _named(step_ids: Sequence[str]) -> str:
    more = f" and {len(step_ids) - _SHOWN} more" if len(step_ids) > _SHOWN else ""
    return f"{listed(step_ids[:_SHOWN])}{more}"


def _arrows(cycle: Sequence[str]) -> str:
    shortened = [*cycle[: _SHOWN - 1], "…", cycle[-1]] if len(cycle) > _SHOWN else cycle
    return " → ".join([*shortened, cycle[0]])
