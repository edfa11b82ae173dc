"""Whether a run that is under way can go on by another version of its definition, and what changes by that. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.workflows.advance import Decided
from engine.workflows.definition import ALL_BRANCHES
from engine.workflows.replay import replay
from engine.workflows.state import StepState
from models.transitions import STEP_ACTIVE
from models.workflow_enums import StepStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.workflows.definition import Definition
    from engine.workflows.state import State

_DEAD = frozenset({StepStatus.SKIPPED, StepStatus.CANCELLED})
"""How a step ends that nobody waits for: on no way that was taken, or too late for a merge."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What moving a run to another version means."""

    reasons: list[str] = field(default_factory=list)
    """Why it cannot be done; empty = it can."""
    left_out: list[str] = field(default_factory=list)
    """Steps that were still to come, and that the version does not have."""
    decided: Decided = field(default_factory=Decided)
    """Steps whose state changes by it: on no way any more, or to be executed now."""


def plan(old: Definition, new: Definition, state: State, order: Sequence[str]) -> Plan:
    """Plan the move of a run from one definition to another; `order` = its steps that ended, as they did.

    It can be done where the new definition could have led to where the run is: all that was done follows from it, and
    what is under way is under way there, too.
    """
    left_out = [step_id for step_id in old.steps if step_id not in new.steps and _is_pending(state, step_id)]
    reasons = [*_unlike(old, new, state), *_left_otherwise(old, new, state)]
    if reasons:
        return Plan(reasons, left_out)
    replayed, _ = replay(new, {step_id: state.of(step_id) for step_id in order})
    decided = Decided()
    for step_id in new.steps:
        now, then = state.of(step_id), replayed.of(step_id)
        if now.status is StepStatus.PENDING:
            _come_to(decided, step_id, then)
        elif not _agree(now, then):
            reasons.append(_contradiction(new, replayed, step_id, now))
    return Plan(reasons, left_out, decided)


def _is_pending(state: State, step_id: str) -> bool:
    return state.of(step_id).status is StepStatus.PENDING


def _unlike(old: Definition, new: Definition, state: State) -> list[str]:
    """Say which steps that are not pending another version has not, or has as something else."""
    found = []
    for step_id, step in old.steps.items():
        status = state.of(step_id).status
        if status is StepStatus.PENDING:
            continue
        other = new.steps.get(step_id)
        if other is None:
            found.append(f"step {step_id} is {status}, and the version has none of this id")
        elif other.type is not step.type:
            found.append(f"step {step_id} is {status}, and is of type {other.type} there instead of {step.type}")
        elif status is StepStatus.WAITING and other.config != step.config:
            found.append(f"step {step_id} is waiting, and is configured otherwise there")
    return found


def _left_otherwise(old: Definition, new: Definition, state: State) -> list[str]:
    """Say which steps were left by a label that led somewhere, and that they do not have there."""
    return [
        f"step {step_id} was left by {state.of(step_id).branch}, which it does not have there"
        for step_id, step in old.steps.items()
        if (branch := state.of(step_id).branch) is not None
        and branch != ALL_BRANCHES
        and branch in step.edges
        and step_id in new.steps
        and branch not in new.steps[step_id].edges
    ]


def _come_to(decided: Decided, step_id: str, then: StepState) -> None:
    """Let a step that was still to come be what the definition makes of it."""
    if then.status is StepStatus.QUEUED:
        decided.steps[step_id] = then
        decided.ready.append(step_id)
    elif then.status in _DEAD:
        decided.steps[step_id] = StepState(StepStatus.SKIPPED)


def _agree(now: StepState, then: StepState) -> bool:
    """Whether a step is what the definition would have made of it."""
    if now.status in STEP_ACTIVE or not now.resolved:
        return then.status is StepStatus.QUEUED
    if now.branch is None:
        return then.status in _DEAD
    return now == then


def _contradiction(new: Definition, replayed: State, step_id: str, now: StepState) -> str:
    said = f"step {step_id} is {now.status}"
    if replayed.of(step_id).status is StepStatus.PENDING:
        missing = [one for one in new.sources[step_id] if not replayed.of(one).resolved]
        return f"{said}, and would wait for {', '.join(missing)} there"
    return f"{said}, and would be {replayed.of(step_id).status} there"
