"""What follows in a run from what became of one of its steps. Pure: definition, state and outcome in, decisions out.

Whoever executes steps knows nothing of graphs, and this knows nothing of executing. A way that is not taken is
followed to where it ends: what only it leads to is skipped (dead-path elimination, as BPEL has it), so that a step with
several ways in never waits for one that will not come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from engine.workflows.definition import FAILURE, NEXT
from engine.workflows.state import StepState
from models.transitions import INSTANCE, INSTANCE_ENDS, STEP, STEP_ACTIVE, STEP_ENDS, check
from models.workflow_enums import InstanceStatus, StepStatus, StepType

if TYPE_CHECKING:
    from engine.workflows.definition import Definition
    from engine.workflows.state import State


@dataclass(frozen=True, slots=True)
class Completed:
    """The step is done, and left by a label; one that the step does not have leads nowhere."""

    step: str
    branch: str = NEXT


@dataclass(frozen=True, slots=True)
class Failed:
    """The step failed for good."""

    step: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A person let the step be skipped: the run goes on by a label as if it had completed."""

    step: str
    branch: str = NEXT


@dataclass(frozen=True, slots=True)
class Moved:
    """The step is under way: `running`, `waiting`, `retrying`, or `queued` again."""

    step: str
    status: StepStatus


@dataclass(frozen=True, slots=True)
class Ended:
    """The instance as a whole is cancelled, or failed (its time is up): what is not over is cancelled."""

    status: InstanceStatus


@dataclass(frozen=True, slots=True)
class Switched:
    """The instance is paused by a person, or goes on (`running`)."""

    status: InstanceStatus


@dataclass(frozen=True, slots=True)
class Looked:
    """Nothing happened; but an instance that was paused when its last step ended is complete once it goes on."""


Outcome: TypeAlias = Completed | Failed | Skipped | Moved | Ended | Switched | Looked


@dataclass(slots=True)
class Decided:
    """What follows: the steps that change, those of them that are to be executed now, the instance's new status."""

    steps: dict[str, StepState] = field(default_factory=dict)
    ready: list[str] = field(default_factory=list)
    """In the order of the document; each is `queued`."""
    status: InstanceStatus | None = None


def advance(definition: Definition, state: State, outcome: Outcome) -> Decided:
    """Decide what follows from an outcome.

    Raises ConflictError where the outcome is none that the present state allows (models.transitions).
    """
    decided = Decided()
    match outcome:
        case Switched(status=status):
            _turn(state, decided, status)
            return decided
        case Ended(status=status):
            _turn(state, decided, status)
            _cancel_rest(definition, state, decided)
            return decided
        case Looked():
            _complete(definition, state, decided)
            return decided
        case Moved(step=step_id, status=status):
            _change(state, decided, step_id, StepState(status))
            return decided
        case Completed(step=step_id, branch=branch):
            _change(state, decided, step_id, StepState(StepStatus.COMPLETED, branch))
        case Skipped(step=step_id, branch=branch):
            _change(state, decided, step_id, StepState(StepStatus.SKIPPED, branch))
        case Failed(step=step_id):
            if not _fail(definition, state, decided, step_id):
                return decided
    _spread(definition, state, decided, step_id)
    _complete(definition, state, decided)
    return decided


def done(definition: Definition, state: State) -> bool:
    """Whether every step of a run is resolved."""
    return all(state.of(step_id).resolved for step_id in reversed(definition.order))


def _fail(definition: Definition, state: State, decided: Decided, step_id: str) -> bool:
    """Let a step fail; returns whether the run goes on from it."""
    on_failure = definition.steps[step_id].on_failure
    branch = {"continue": NEXT, "branch": FAILURE}.get(on_failure)
    _change(state, decided, step_id, StepState(StepStatus.FAILED, branch))
    if branch is not None:
        return True
    if on_failure == "fail":
        _turn(state, decided, InstanceStatus.FAILED)
        _cancel_rest(definition, state, decided)
    elif state.status is not InstanceStatus.PAUSED:
        _turn(state, decided, InstanceStatus.PAUSED)
    return False


def _turn(state: State, decided: Decided, status: InstanceStatus) -> None:
    check(INSTANCE, state.status, status, "instance")
    decided.status = status


def _change(state: State, decided: Decided, step_id: str, after: StepState) -> None:
    check(STEP, _now(state, decided, step_id).status, after.status, f"step {step_id}")
    decided.steps[step_id] = after


def _now(state: State, decided: Decided, step_id: str) -> StepState:
    return decided.steps.get(step_id) or state.of(step_id)


def _spread(definition: Definition, state: State, decided: Decided, step_id: str) -> None:
    """Follow the ways out of a resolved step, those that are not taken, too, as far as something is decided by it."""
    waiting = [step_id]
    for resolved in waiting:
        for target in definition.steps[resolved].targets:
            if _now(state, decided, target).status is not StepStatus.PENDING:
                continue
            verdict = _verdict(definition, state, decided, target)
            if verdict is None:
                continue
            _change(state, decided, target, StepState(verdict))
            if verdict is StepStatus.SKIPPED:
                waiting.append(target)
                continue
            decided.ready.append(target)
            if _cancels(definition, target):
                _cancel_losers(definition, state, decided, target)


def _verdict(definition: Definition, state: State, decided: Decided, target: str) -> StepStatus | None:
    """Whether a step that waits for its ways in is to be executed or skipped; None = it goes on waiting."""
    taken, open_ = 0, 0
    for source in definition.sources[target]:
        one = _now(state, decided, source)
        if not one.resolved:
            open_ += 1
        elif target in definition.steps[source].taken(one.branch):
            taken += 1
    if taken and (not open_ or taken >= _needed(definition, target)):
        return StepStatus.QUEUED
    return None if open_ else StepStatus.SKIPPED


def _needed(definition: Definition, step_id: str) -> float:
    """How many taken ways in suffice although others are open; infinite where all are waited for."""
    step = definition.steps[step_id]
    if step.type is not StepType.MERGE or step.config["mode"] == "all":
        return float("inf")
    return 1 if step.config["mode"] == "any" else int(step.config["n"])


def _cancels(definition: Definition, step_id: str) -> bool:
    step = definition.steps[step_id]
    return step.type is StepType.MERGE and bool(step.config["cancel_losers"])


def _cancel_losers(definition: Definition, state: State, decided: Decided, merge: str) -> None:
    """Stop what a merge that has fired need not wait for. Nothing follows from it: all its ways lead to the merge."""
    for step_id in definition.losers(merge):
        status = _now(state, decided, step_id).status
        if status in STEP_ACTIVE:
            _change(state, decided, step_id, StepState(StepStatus.CANCELLED))
        elif status is StepStatus.PENDING:
            _change(state, decided, step_id, StepState(StepStatus.SKIPPED))
    decided.ready[:] = [one for one in decided.ready if decided.steps[one].status is StepStatus.QUEUED]


def _cancel_rest(definition: Definition, state: State, decided: Decided) -> None:
    for step_id in definition.steps:
        if _now(state, decided, step_id).status not in STEP_ENDS:
            _change(state, decided, step_id, StepState(StepStatus.CANCELLED))


def _complete(definition: Definition, state: State, decided: Decided) -> None:
    """Let a running instance complete once every step is resolved; a paused one does so when it goes on."""
    if decided.ready or decided.status is not None or state.status in INSTANCE_ENDS:
        return
    # from the end: what comes last is what is open for longest
    if state.status is InstanceStatus.RUNNING and all(
        _now(state, decided, step_id).resolved for step_id in reversed(definition.order)
    ):
        decided.status = InstanceStatus.COMPLETED
