"""A run as the engine decides on it: the status of its instance and of each step, and the labels steps were left by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from models.transitions import STEP_ENDS
from models.workflow_enums import InstanceStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.workflows.definition import Definition


class StepState(NamedTuple):
    """One step of a run."""

    status: StepStatus
    branch: str | None = None
    """The label that it was left by; None = it led nowhere: it is under way, or no way goes on from it."""

    @property
    def resolved(self) -> bool:
        """Whether it is known which of its ways are taken. A failed step whose failure stops the run is not."""
        return self.status in STEP_ENDS and (self.status is not StepStatus.FAILED or self.branch is not None)


_PENDING = StepState(StepStatus.PENDING)


@dataclass(slots=True)
class State:
    """A run, as it was read, with what has been decided since."""

    status: InstanceStatus
    steps: dict[str, StepState] = field(default_factory=dict)
    """Steps that are not in it are pending."""

    @classmethod
    def initial(cls, definition: Definition) -> State:
        """Return the state of a run that is about to begin."""
        return cls(InstanceStatus.PENDING, {definition.start: StepState(StepStatus.QUEUED)})

    def of(self, step_id: str) -> StepState:
        """Return the state of a step."""
        return self.steps.get(step_id, _PENDING)

    def apply(self, steps: Mapping[str, StepState], status: InstanceStatus | None) -> None:
        """Take over what was decided."""
        self.steps.update(steps)
        if status is not None:
            self.status = status
