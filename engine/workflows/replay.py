"""A run gone through again by what its steps came to: how far does a definition lead with it? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.workflows.advance import Completed, Failed, Skipped, advance
from engine.workflows.definition import NEXT
from engine.workflows.state import State
from models.workflow_enums import StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.workflows.advance import Outcome
    from engine.workflows.definition import Definition
    from engine.workflows.state import StepState


def outcome_of(step_id: str, state: StepState) -> Outcome | None:
    """Return the outcome that made a step what it is; None where others made it so: cancelled, or on no way taken."""
    match state.status:
        case StepStatus.COMPLETED:
            return Completed(step_id, state.branch or NEXT)
        case StepStatus.SKIPPED if state.branch is not None:
            return Skipped(step_id, state.branch)
        case StepStatus.FAILED if state.branch is not None:
            return Failed(step_id)
        case _:
            return None


def replay(definition: Definition, ended: Mapping[str, StepState]) -> tuple[State, list[Outcome]]:
    """Return the state that the outcomes of these steps lead to from the beginning, and those that came to pass.

    `ended` is in the order in which they ended. A step whose turn does not come is left out; so is one that the
    definition leaves by another way than the run did.
    """
    state = State.initial(definition)
    passed: list[Outcome] = []
    waiting = {step_id: one for step_id, one in ended.items() if step_id in definition.steps}
    while True:
        came = [step_id for step_id, one in waiting.items() if _take(definition, state, passed, step_id, one)]
        for step_id in came:
            del waiting[step_id]
        if not came:
            return state, passed


def _take(definition: Definition, state: State, passed: list[Outcome], step_id: str, ended: StepState) -> bool:
    outcome = outcome_of(step_id, ended)
    if outcome is None or state.of(step_id).status is not StepStatus.QUEUED:
        return False
    decided = advance(definition, state, outcome)
    if decided.status is not None or decided.steps[step_id] != ended:
        return False
    state.apply(decided.steps, None)
    passed.append(outcome)
    return True
