"""A run that is walked through by chance, each decision of `advance` held against what the graph itself says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.workflows.advance import Completed, Failed, Looked, Moved, Skipped, Switched, advance
from engine.workflows.definition import ALL_BRANCHES, NEXT
from engine.workflows.state import State
from models.transitions import INSTANCE_ENDS, STEP_ENDS
from models.workflow_enums import InstanceStatus, StepStatus, StepType

if TYPE_CHECKING:
    from engine.workflows.advance import Decided, Outcome
    from engine.workflows.definition import Definition

UNDER_WAY = {StepStatus.QUEUED, StepStatus.RUNNING, StepStatus.WAITING, StepStatus.RETRYING}


@dataclass
class Walk:
    """One run. `begun` counts how often each step was given out to be executed, `ended` how often each ended."""

    definition: Definition
    state: State = field(init=False)
    begun: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin."""
        self.state = State.initial(self.definition)
        self.begun[self.definition.start] = 1
        self.tell(Switched(InstanceStatus.RUNNING))

    @property
    def is_over(self) -> bool:
        """Whether the instance has ended."""
        return self.state.status in INSTANCE_ENDS

    def active(self) -> list[str]:
        """Return the steps that are under way, in the order of the document."""
        return [one for one in self.definition.steps if self.state.of(one).status in UNDER_WAY]

    def failed(self) -> list[str]:
        """Return the steps whose failure waits for a person."""
        return [
            one
            for one in self.definition.steps
            if self.state.of(one).status is StepStatus.FAILED and not self.state.of(one).resolved
        ]

    def tell(self, outcome: Outcome) -> Decided:
        """Let something happen, and hold what follows against the graph."""
        before = {step_id: self.state.of(step_id) for step_id in self.definition.steps}
        was_over = self.is_over
        decided = advance(self.definition, self.state, outcome)
        self.state.apply(decided.steps, decided.status)
        assert not (was_over and (decided.steps or decided.status))
        assert len(set(decided.ready)) == len(decided.ready)
        for step_id in decided.ready:
            self.begun[step_id] = self.begun.get(step_id, 0) + 1
            assert decided.steps[step_id].status is StepStatus.QUEUED
            self._check_ready(step_id)
        for step_id, after in decided.steps.items():
            assert before[step_id].status not in STEP_ENDS - {StepStatus.FAILED}
            if after.status in STEP_ENDS:
                self.ended[step_id] = self.ended.get(step_id, 0) + 1
            self._check_dropped(step_id, before[step_id].status, outcome)
        if decided.status is InstanceStatus.COMPLETED:
            assert all(self.state.of(step_id).resolved for step_id in self.definition.steps)
        return decided

    def takes(self, source: str, target: str) -> bool:
        """Whether a step was left towards another one."""
        return target in self.definition.steps[source].taken(self.state.of(source).branch)

    def _check_ready(self, step_id: str) -> None:
        """A step begins once all before it are resolved and one leads on to it; a merge may be content with some."""
        sources = self.definition.sources[step_id]
        if not sources:
            return
        open_ = [one for one in sources if not self.state.of(one).resolved]
        taken = [one for one in sources if self.takes(one, step_id)]
        assert taken
        step = self.definition.steps[step_id]
        enough = {"any": 1, "n": step.config.get("n")}.get(step.config.get("mode", ""))
        early = step.type is StepType.MERGE and enough is not None and len(taken) >= enough
        assert not open_ or early

    def _check_dropped(self, step_id: str, before: StepStatus, outcome: Outcome) -> None:
        """What nobody executes is what no way leads to, or what lost against a merge that has fired."""
        after = self.state.of(step_id)
        told = getattr(outcome, "step", None) == step_id
        if told or (self.is_over and self.state.status is not InstanceStatus.COMPLETED):
            return
        sources = self.definition.sources[step_id]
        dead = all(self.state.of(one).resolved and not self.takes(one, step_id) for one in sources)
        if after.status is StepStatus.SKIPPED and before is StepStatus.PENDING:
            assert dead or self._lost(step_id)
        if after.status is StepStatus.CANCELLED:
            assert self._lost(step_id)

    def _lost(self, step_id: str) -> bool:
        """Whether all ways from a step lead to a merge that has fired and cancels who comes late."""
        return any(
            not leads_past(self.definition, step_id, merge.id)
            for merge in self.definition.steps.values()
            if merge.type is StepType.MERGE
            and merge.config["cancel_losers"]
            and merge.id != step_id
            and self.state.of(merge.id).status is not StepStatus.PENDING
        )


def leads_past(definition: Definition, step_id: str, merge: str) -> bool:
    """Whether a way from a step ends, at a step that leads nowhere, without having come to the merge."""
    targets = definition.steps[step_id].targets
    return not targets or any(target != merge and leads_past(definition, target, merge) for target in targets)


def labels(definition: Definition, step_id: str) -> list[str]:
    """Return the labels by which a step may be left that completes."""
    step = definition.steps[step_id]
    if step.type is StepType.SPLIT and step.config["mode"] == "parallel":
        return [ALL_BRANCHES]
    return [label for label in step.edges if label != "failure"] or [NEXT]


def outcomes(walk: Walk) -> list[Outcome]:
    """Return all that may happen next, short of a pause."""
    found: list[Outcome] = []
    for step_id in walk.active():
        status = walk.state.of(step_id).status
        if walk.state.status is InstanceStatus.RUNNING:
            found += [Moved(step_id, new) for new in _MOVES[status]]
        found += [Completed(step_id, label) for label in labels(walk.definition, step_id)]
        found.append(Failed(step_id))
    return found


_MOVES: dict[Any, list[StepStatus]] = {
    StepStatus.QUEUED: [StepStatus.RUNNING, StepStatus.WAITING, StepStatus.RETRYING],
    StepStatus.RUNNING: [StepStatus.RETRYING],
    StepStatus.WAITING: [],
    StepStatus.RETRYING: [],
}


def mend(walk: Walk, *, retry: bool, label: int) -> None:
    """Do what a person does about the failed steps of a paused instance, and let it go on."""
    for step_id in walk.failed():
        if retry:
            walk.tell(Moved(step_id, StepStatus.QUEUED))
        else:
            known = labels(walk.definition, step_id)
            walk.tell(Skipped(step_id, known[label % len(known)]))
    if walk.state.status is InstanceStatus.PAUSED:
        walk.tell(Switched(InstanceStatus.RUNNING))
        if not walk.is_over:
            walk.tell(Looked())
