"""A transaction's desk: the instances that it has locked, what is decided about them, and how that is written.

Who decides is a worker, by its task (`Turn`), or a person (`engine.control_workflows`): what is written is the same.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from core import clock, driver
from core.ids import uuid7
from engine import published, urgency
from engine.run_workflow.run import Run
from engine.store import audit, instances, occurrences, step_effects, tasks, versions
from engine.store.dispatch import Message
from engine.store.tasks import PRIORITY
from engine.workflows.reading import size_of
from models.enums import Outcome, Queue, TaskKind
from models.workflow_enums import InstanceStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

MAX_OUTPUT: Final = 256 * 1024
"""Bytes of what an instance has put out, as JSON."""
_CANCEL: Final = "cancel"
_SOON: Final = timedelta(seconds=15)
_TOLD: Final = {
    InstanceStatus.RUNNING: "instance_resumed",
    InstanceStatus.PAUSED: "instance_paused",
    InstanceStatus.COMPLETED: "instance_completed",
    InstanceStatus.FAILED: "instance_failed",
    InstanceStatus.CANCELLED: "instance_cancelled",
}
_OUTCOMES: Final = {
    InstanceStatus.COMPLETED: Outcome.SUCCESS,
    InstanceStatus.FAILED: Outcome.FAILURE,
    InstanceStatus.CANCELLED: Outcome.CANCELLED,
}


@dataclass(slots=True)
class Desk:
    """One transaction's share of work on instances."""

    connection: Connection
    org_id: UUID
    """The org whose instances these are."""
    now: datetime
    begun: float = field(default_factory=clock.monotonic)
    runs: dict[UUID, Run] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Tasks that are to be inserted."""
    made: Counter[UUID] = field(default_factory=Counter)
    """By template, instances that this transaction has made; they are counted at its end."""
    messages: list[Message] = field(default_factory=list)
    """First messages that the process itself sends after the commit."""
    assigned: list[dict[str, Any]] = field(default_factory=list)
    """Steps that are given to other tasks and stay as they are."""
    sends: bool = True
    """Whether the process sends the first messages of new tasks itself."""
    leaves: bool = False
    """Whether the schedulers are to send some: who can wake them does."""
    entries: list[dict[str, Any]] = field(default_factory=list)
    """What the audit log is told besides: what a person did."""

    @property
    def task_id(self) -> UUID | None:
        """The task that is worked on; None = a person decides."""
        return None

    @property
    def moment(self) -> datetime:
        """The time now: the database's when the transaction began, and what has passed since."""
        return self.now + timedelta(seconds=clock.monotonic() - self.begun)

    def lock(self, ids: Sequence[UUID]) -> None:
        """Lock instances and read their steps; those that are not there are left out."""
        found, under_way = instances.lock_with_steps(self.connection, self.org_id, ids) if ids else ([], [])
        steps: dict[UUID, list[Any]] = {row.instance_id: [] for row in found}
        for step in under_way:
            steps[step.instance_id].append(step)
        for row in found:
            definition = published.definition(self.connection, self.org_id, row.template_id, row.version)
            self.runs[row.instance_id] = Run.of(self.org_id, row, definition, steps[row.instance_id])

    def task(
        self, instance_id: UUID, step_id: str | None = None, signal: Mapping[str, Any] | None = None, **others: Any
    ) -> UUID:
        """Make a task for an instance: for the steps that are then given to it, or for a signal. Returns its id.

        The message of one that is due is sent after the commit.
        """
        item: dict[str, Any] = {"instance_id": str(instance_id)}
        if signal is not None and signal["kind"] == _CANCEL:
            others["priority"] = urgency.SIGNAL
        return self.carry(item if signal is None else instances.signalled(instance_id, step_id, signal), **others)

    def carry(self, item: Mapping[str, Any], **others: Any) -> UUID:
        """Make a task for an item, as `task` does."""
        row = instances.task(self.org_id, [item], now=self.now, **others)
        if row.get("state") != "held" and row["run_at"] <= self.now:
            if self.sends:
                row |= {"delivery": 1, "publish_at": self.now + _SOON}
                self.send(row["task_id"], row["timeout_seconds"])
            else:
                self.leaves = True
        self.rows.append(row)
        made: UUID = row["task_id"]
        return made

    def send(self, task_id: UUID, timeout_seconds: int = instances.TIMEOUT_SECONDS) -> None:
        """Send the first message of a new task after the commit."""
        kind, queue = TaskKind.RUN_WORKFLOW.value, Queue.WORKFLOWS.value
        self.messages.append(Message(self.org_id, task_id, kind, queue, PRIORITY, timeout_seconds))

    def write(self) -> None:
        """Write all that was decided: steps with their audit, tasks, instances, and what hangs on an instance's end."""
        changed = [run for run in self.runs.values() if run.changed]
        steps = [row for run in changed for row in run.written.values()]
        ended = [run for run in changed if run.ended]
        self._stop(changed)
        self._answer_parents(ended)
        self._leave(tasks.insert(self.connection, self.rows, now=self.now)())
        rows = [self._instance(run) for run in changed]
        with driver.together(self.connection):  # none of these says anything that the next one needs
            instances.write(self.connection, self.org_id, steps, rows, now=self.now)
            instances.assign(self.connection, self.org_id, self.assigned)
            self._tell(changed)
            self._settle(ended)
        for run in changed:
            run.written, run.counts, run.executed, run.changed, run.ended = {}, Counter(), 0, False, False
            run.stopped, run.children, run.unwanted, run.note = set(), [], [], None
            run.outputs = {}  # they can be read again, and of many steps they are many
            run.row = run.row._replace(revision=run.row.revision + 1, status=run.state.status.value)
        self.rows, self.assigned, self.entries = [], [], []

    def _stop(self, changed: Sequence[Run]) -> None:
        """Stop the tasks of steps that are over, timeouts of instances that are, and what such steps had started."""
        over = {run.row.timeout_task_id for run in changed if run.ended} - {None}
        stopped = {one for run in changed for one in run.stopped if not run.assigned(one)} | over
        self._unmake(stopped)
        instances.cancel_tasks(self.connection, self.org_id, stopped - {self.task_id}, now=self.now)
        for run in changed:
            if run.ended and run.row.status == InstanceStatus.PAUSED:
                instances.drop_held(self.connection, self.org_id, run.instance_id, now=self.now)
        unwanted = [action_id for run in changed for action_id in run.unwanted]
        step_effects.discard_held(self.connection, self.org_id, unwanted, now=self.now)
        for run in changed:
            for child in run.children:
                self.task(child, None, {"kind": "cancel", "reason": f"the step of {run.instance_id} is cancelled"})

    def _leave(self, left: AbstractSet[UUID]) -> None:
        """Leave first messages to the schedulers: the org's turn in the queue is theirs to say."""
        self.messages = [message for message in self.messages if message.task_id not in left]
        self.leaves = self.leaves or bool(left)

    def _unmake(self, stopped: AbstractSet[UUID]) -> None:
        """Drop tasks that are not inserted yet: what made them and what stopped them is one commit."""
        self.rows = [row for row in self.rows if row["task_id"] not in stopped]
        self.messages = [message for message in self.messages if message.task_id not in stopped]

    def _answer_parents(self, ended: Sequence[Run]) -> None:
        for run in ended:
            if run.row.parent_instance_id is not None:
                signal = {"kind": "instance", "instance_id": str(run.instance_id)}
                self.task(run.row.parent_instance_id, run.row.parent_step_id, signal)

    def _instance(self, run: Run) -> dict[str, Any]:
        row: dict[str, Any] = {
            "instance_id": run.instance_id,
            "status": run.state.status.value,
            "current_step": run.current,
            "completed": run.counts[StepStatus.COMPLETED],
            "failed": run.counts[StepStatus.FAILED],
            "skipped": run.counts[StepStatus.SKIPPED],
            "cancelled": run.counts[StepStatus.CANCELLED],
            "error": run.error,
            "started_at": self.now if run.row.started_at is None and run.has_begun else None,
        }
        if run.ended:
            moment = self.moment
            began = run.row.started_at or self.now
            row |= {"finished_at": moment, "duration_ms": max(0, round((moment - began).total_seconds() * 1000))}
            if run.state.status is InstanceStatus.COMPLETED:
                row["output_data"] = self.output(run)
        elif run.is_paused:
            row["pause_note"] = run.note if run.error is None else run.error["message"]
        return row

    def output(self, run: Run) -> dict[str, Any]:
        """Return what an instance has put out: by step, the outputs of those that lead nowhere."""
        missing = [step_id for step_id in run.definition.ends if step_id not in run.outputs]
        if missing:
            run.outputs |= instances.outputs(self.connection, self.org_id, run.instance_id, missing)
        found = {step_id: run.outputs.get(step_id) for step_id in run.definition.ends}
        output = {step_id: one for step_id, one in found.items() if one}
        size = size_of(output)
        return output if size <= MAX_OUTPUT else {"omitted": f"{size:,} bytes: see the outputs of the steps themselves"}

    def _tell(self, changed: Sequence[Run]) -> None:
        entries = [
            {
                "audit_id": uuid7(self.now),
                "action": _TOLD[run.state.status],
                "entity_type": "instance",
                "entity_id": run.instance_id,
                "details": ({"error": run.error} if run.error else {}) | ({"note": run.note} if run.note else {}),
            }
            for run in changed
            if run.ended or run.was_switched
        ]
        audit.record(self.connection, self.org_id, self.entries + entries, now=self.moment)

    def _settle(self, ended: Sequence[Run]) -> None:
        """End the runs of jobs that these instances were, and count them and those that were made; templates last."""
        planned = [
            {
                "job_id": run.row.job_id,
                "origin": run.row.origin,
                "scheduled_for": run.row.scheduled_for,
                "outcome": _OUTCOMES[run.state.status].value,
            }
            for run in ended
            if run.row.job_id is not None
        ]
        occurrences.finish(self.connection, self.org_id, planned, now=self.now)
        over = Counter(run.row.template_id for run in ended)
        counts = {key: (self.made[key], over[key]) for key in sorted({*self.made, *over})}
        versions.count(self.connection, self.org_id, counts, now=self.now)
        self.made = Counter()
