"""One locked instance while it is run: what is known of it, what has been decided, and what is to be written."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from core.ids import uuid7
from engine.workflows.advance import Decided, Moved, advance
from engine.workflows.state import State, StepState
from models.transitions import INSTANCE_ENDS, STEP_ACTIVE, STEP_ENDS
from models.workflow_enums import InstanceStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from engine.workflows.advance import Outcome
    from engine.workflows.definition import Definition

_TOLD: Final = {
    StepStatus.COMPLETED: "step_completed",
    StepStatus.FAILED: "step_failed",
    StepStatus.SKIPPED: "step_skipped",
    StepStatus.CANCELLED: "step_cancelled",
}
_KEPT: Final = (
    "task_id",
    "attempt",
    "started_at",
    "input_data",
    "note",
    "decided_by",
    "action_id",
    "child_instance_id",
)
"""Columns of a step that a later change of the same commit does not take back."""


@dataclass(slots=True)
class Known:
    """What is known of a step that is not pending, besides its state."""

    attempt: int = 0
    task_id: UUID | None = None
    wake_at: datetime | None = None
    waits_for: str | None = None
    action_id: UUID | None = None
    child_instance_id: UUID | None = None
    started_at: datetime | None = None


@dataclass(slots=True)
class Run:
    """One locked instance."""

    org_id: UUID
    row: Any
    definition: Definition
    state: State
    steps: dict[str, Known]
    agenda: deque[str] = field(default_factory=deque)
    """Steps that this task is to execute, next first."""
    outputs: dict[str, Any] = field(default_factory=dict)
    """What steps put out, as far as it is known here."""
    context: Mapping[str, Any] | None = None
    """None = it is not read yet."""
    about: Mapping[str, str | int] = field(init=False)
    """What steps may know of their instance."""
    written: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Rows of steps that are to be written."""
    counts: Counter[StepStatus] = field(default_factory=Counter)
    """Steps that ended since the last commit, by status."""
    current: str | None = None
    error: dict[str, Any] | None = None
    note: str | None = None
    """What the person said who switches it."""
    changed: bool = False
    executed: int = 0
    """Steps that were executed since the last commit."""
    ended: bool = False
    """Whether the instance ended since the last commit."""
    stopped: set[UUID] = field(default_factory=set)
    """Tasks of steps that were cancelled, or that a person took out of their hands; timers of what came in time."""
    unwanted: list[UUID] = field(default_factory=list)
    """Effects whose steps do not wait for them any more."""
    children: list[UUID] = field(default_factory=list)
    """Instances that such steps had started."""

    @classmethod
    def of(cls, org_id: UUID, row: Any, definition: Definition, steps: Sequence[Any]) -> Run:
        """Return the run of an instance's locked row and the rows of its steps."""
        state = State(InstanceStatus(row.status))
        known: dict[str, Known] = {}
        for step in steps:
            state.steps[step.step_id] = StepState(StepStatus(step.status), step.branch_taken)
            known[step.step_id] = Known(
                step.attempt,
                step.task_id,
                step.wake_at,
                step.waits_for,
                step.action_id,
                step.child_instance_id,
                step.started_at,
            )
        return cls(org_id, row, definition, state, known, context=row.context)

    def __post_init__(self) -> None:
        row = self.row
        self.about = {"id": str(row.instance_id), "template_id": str(row.template_id), "version": row.version}

    @property
    def instance_id(self) -> UUID:
        """The instance's id."""
        found: UUID = self.row.instance_id
        return found

    @property
    def is_over(self) -> bool:
        """Whether nothing changes it any more."""
        return self.state.status in INSTANCE_ENDS

    @property
    def is_paused(self) -> bool:
        """Whether nothing of it begins."""
        return self.state.status is InstanceStatus.PAUSED

    @property
    def has_begun(self) -> bool:
        """Whether it is under way, or was: one that was paused before its first step is not."""
        return self.current is not None or self.state.status not in {InstanceStatus.PENDING, InstanceStatus.PAUSED}

    @property
    def was_switched(self) -> bool:
        """Whether it was paused, or goes on, since the last commit."""
        before, after = self.row.status, self.state.status
        paused = InstanceStatus.PAUSED
        return before != after and (after is paused or (before == paused and after is InstanceStatus.RUNNING))

    def known(self, step_id: str) -> Known:
        """Return what is known of a step."""
        known = self.steps.get(step_id)
        if known is None:
            known = self.steps[step_id] = Known()
        return known

    def assigned(self, task_id: UUID) -> list[str]:
        """Return the steps under way that belong to a task: one that waits does so only if the task is its timer."""
        return [
            step_id
            for step_id, known in self.steps.items()
            if known.task_id == task_id
            and (status := self.state.of(step_id).status) in STEP_ACTIVE
            and (status is not StepStatus.WAITING or known.wake_at is not None)
        ]

    def decide(self, outcome: Outcome, moment: datetime) -> Decided:
        """Take an outcome: what follows is decided, applied here, and noted to be written."""
        decided = advance(self.definition, self.state, outcome)
        self.take(decided, moment)
        return decided

    def take(self, decided: Decided, moment: datetime) -> None:
        """Take over what was decided, and note that it is to be written."""
        for step_id, after in decided.steps.items():
            self._note(step_id, self.state.of(step_id), after, moment)
        self.state.apply(decided.steps, decided.status)
        self.changed = True
        if decided.status in INSTANCE_ENDS:
            self.ended = True
            self.agenda.clear()

    def move(self, step_id: str, status: StepStatus, moment: datetime, **columns: Any) -> None:
        """Note that a step is under way."""
        self.decide(Moved(step_id, status), moment)
        self.put(step_id, **columns)

    def put(self, step_id: str, **columns: Any) -> None:
        """Give columns to a step that this commit changes."""
        known = self.known(step_id)
        for name, value in columns.items():
            if name in Known.__dataclass_fields__:
                setattr(known, name, value)
        self.written[step_id].update(columns)

    def stop(self, step_id: str) -> None:
        """Note that nobody goes on with a step as it was under way until now: its task, and what it had started."""
        known = self.known(step_id)
        if known.task_id is not None:
            self.stopped.add(known.task_id)
        if known.waits_for == "instance" and known.child_instance_id is not None:
            self.children.append(known.child_instance_id)

    def _note(self, step_id: str, before: StepState, after: StepState, moment: datetime) -> None:
        known = self.known(step_id)
        kept = self.written.get(step_id, {})
        row = self._key(step_id, after) | {name: kept[name] for name in _KEPT if name in kept}
        if after.status in STEP_ENDS:
            row |= self._end(step_id, known, after, moment)
            self.counts[after.status] += 1
        if before.status is StepStatus.FAILED:
            self.counts[StepStatus.FAILED] -= 1
        if after.status is StepStatus.CANCELLED and before.status in STEP_ACTIVE:
            self.stop(step_id)
        given_up = after.status in {StepStatus.CANCELLED, StepStatus.SKIPPED}
        if given_up and known.waits_for == "effect" and known.action_id is not None:
            self.unwanted.append(known.action_id)
        if before.status is StepStatus.WAITING and known.wake_at is not None and known.task_id is not None:
            self.stopped.add(known.task_id)  # its timer: what it waited for came first, or it is the timer's own task
        known.wake_at = known.waits_for = None
        self.written[step_id] = row

    def _key(self, step_id: str, state: StepState) -> dict[str, Any]:
        return {
            "instance_id": self.instance_id,
            "step_id": step_id,
            "status": state.status.value,
            "branch_taken": state.branch,
        }

    def _end(self, step_id: str, known: Known, after: StepState, moment: datetime) -> dict[str, Any]:
        began = known.started_at
        took = None if began is None else max(0, round((moment - began).total_seconds() * 1000))
        told: dict[str, Any] = {"step": step_id, "type": self.definition.steps[step_id].type.value}
        if known.attempt:
            told |= {"attempt": known.attempt}
        if took is not None:
            told |= {"duration_ms": took}
        if after.branch is not None:
            told |= {"branch": after.branch}
        return {
            "finished_at": moment,
            "duration_ms": took,
            "audit_id": uuid7(moment),
            "told": _TOLD[after.status],
            "details": told,
        }
