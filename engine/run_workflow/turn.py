"""One transaction's share of a task: the instances that it has locked, and what is to be written with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import orjson

from core import clock
from core.ids import uuid7
from engine import published
from engine.run_workflow.run import Run
from engine.store import audit, instances, occurrences, tasks, versions
from engine.store.dispatch import Message
from models.enums import InstanceStatus, Outcome, Queue, StepStatus, TaskKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.run_workflow.came import Apart
    from engine.store.tasks import Claim

COMMIT_SECONDS: Final = 0.5
"""How long a transaction goes on executing steps."""
MARGIN_SECONDS: Final = 15
"""What a task needs besides the time of a callable that it calls."""
PRIORITY: Final = 4
MAX_OUTPUT: Final = 256 * 1024
"""Bytes of what an instance has put out, as JSON."""
SEND_AT_ONCE: Final = 100
"""Tasks that one commit makes and whose messages the worker itself sends; a scheduler sends the others."""
_SOON: Final = timedelta(seconds=15)
_TOLD: Final = {
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
class Turn:
    """One transaction's share of a task."""

    connection: Connection
    claim: Claim
    now: datetime
    claimed: float
    """When the task was claimed, on the process's monotonic clock."""
    commit_steps: int
    begun: float = field(default_factory=clock.monotonic)
    runs: dict[UUID, Run] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    """Tasks that are to be inserted."""
    made: Counter[UUID] = field(default_factory=Counter)
    """By template, instances that this transaction has made; they are counted at its end."""
    executed: int = 0
    """Steps that were executed."""
    messages: list[Message] = field(default_factory=list)
    """First messages that the worker itself sends after the commit."""
    assigned: list[dict[str, Any]] = field(default_factory=list)
    """Steps that are given to other tasks and stay as they are."""
    retry: tuple[timedelta, dict[str, Any]] | None = None
    """When the task is to be tried again, and why: its step is."""

    @property
    def org_id(self) -> UUID:
        """The org whose instances these are."""
        return self.claim.org_id

    @property
    def task_id(self) -> UUID:
        """The task."""
        return self.claim.task_id

    @property
    def single(self) -> bool:
        """Whether the task carries one instance: its own retry is that of its step."""
        return len(self.claim.payload["items"]) == 1

    @property
    def is_full(self) -> bool:
        """Whether it is time to commit: nobody can pause, cancel or answer what is locked."""
        return self.executed >= self.commit_steps or clock.monotonic() - self.begun >= COMMIT_SECONDS

    @property
    def moment(self) -> datetime:
        """The time now: the database's when the transaction began, and what has passed since."""
        return self.now + timedelta(seconds=clock.monotonic() - self.begun)

    def can_call(self, apart: Apart) -> bool:
        """Whether this task may call a callable apart: it keeps no other instance waiting, and has the time."""
        left = self.claim.timeout_seconds - (clock.monotonic() - self.claimed)
        return self.single and left >= apart.timeout + MARGIN_SECONDS

    @staticmethod
    def seconds_for(apart: Apart) -> int:
        """Return how long the task of a call of its own may take."""
        return ceil(apart.timeout) + 4 * MARGIN_SECONDS

    def context(self, run: Run) -> Mapping[str, Any]:
        """Return an instance's context; with it are read those of all others that the task carries."""
        if run.context is None:
            missing = [other.instance_id for other in self.runs.values() if other.context is None]
            for instance_id, found in instances.contexts(self.connection, self.org_id, missing).items():
                self.runs[instance_id].context = found
        return run.context or {}

    def about(self, run: Run) -> dict[str, Any]:
        """Return what steps may know of their instance."""
        return {"id": str(run.instance_id), "template_id": str(run.row.template_id), "version": run.row.version}

    def lock(self, ids: Sequence[UUID]) -> None:
        """Lock instances and read their steps; those that are not there are left out."""
        found = instances.lock(self.connection, self.org_id, ids) if ids else []
        steps: dict[UUID, list[Any]] = {row.instance_id: [] for row in found}
        for step in instances.steps(self.connection, self.org_id, list(steps)) if steps else []:
            steps[step.instance_id].append(step)
        for row in found:
            definition = published.definition(self.connection, self.org_id, row.template_id, row.version)
            self.runs[row.instance_id] = Run.of(self.org_id, row, definition, steps[row.instance_id])

    def resume(self, runs: Mapping[UUID, Run]) -> list[Run]:
        """Lock the instances of the transaction before this one; those that were written meanwhile are read anew.

        Returns the latter.
        """
        found = instances.lock(self.connection, self.org_id, list(runs))
        same = [row for row in found if row.revision == runs[row.instance_id].row.revision]
        for row in same:
            runs[row.instance_id].row = row
            self.runs[row.instance_id] = runs[row.instance_id]
        others = [row.instance_id for row in found if row.instance_id not in self.runs]
        self.lock(others)
        return [self.runs[instance_id] for instance_id in others]

    def task(
        self, instance_id: UUID, step_id: str | None = None, signal: Mapping[str, Any] | None = None, **others: Any
    ) -> UUID:
        """Make a task for an instance: for the steps that are then given to it, or for a signal. Returns its id.

        The message of one that is due is sent after the commit.
        """
        item: dict[str, Any] = {"instance_id": str(instance_id)}
        return self.carry(item if signal is None else instances.signalled(instance_id, step_id, signal), **others)

    def carry(self, item: Mapping[str, Any], **others: Any) -> UUID:
        """Make a task for an item, as `task` does."""
        row = instances.task(self.org_id, [item], now=self.now, **others)
        if row.get("state") != "held" and row["run_at"] <= self.now and len(self.messages) < SEND_AT_ONCE:
            row |= {"delivery": 1, "publish_at": self.now + _SOON}
            self.send(row["task_id"], row["timeout_seconds"])
        self.rows.append(row)
        made: UUID = row["task_id"]
        return made

    def send(self, task_id: UUID, timeout_seconds: int = instances.TIMEOUT_SECONDS) -> None:
        """Send the first message of a new task after the commit."""
        kind, queue = TaskKind.RUN_WORKFLOW.value, Queue.WORKFLOWS.value
        self.messages.append(Message(self.org_id, task_id, kind, queue, PRIORITY, timeout_seconds))

    def hold(self, run: Run, item: Mapping[str, Any]) -> None:
        """Keep an item of a paused instance, and the steps that the task has of it, for when it goes on."""
        self.pass_on(run, item, state="held")

    def pass_on(self, run: Run, item: Mapping[str, Any], **others: Any) -> None:
        """Give an item, and the steps that this task has of its instance, to another task; they stay as they are."""
        task_id = self.carry(item, **others)
        for step_id in run.assigned(self.task_id):
            run.known(step_id).task_id = task_id
            self.assigned.append({"instance_id": run.instance_id, "step_id": step_id, "task_id": task_id})

    def write(self) -> None:
        """Write all that was decided: steps with their audit, tasks, instances, and what hangs on an instance's end."""
        changed = [run for run in self.runs.values() if run.changed]
        steps = [row for run in changed for row in run.written.values()]
        ended = [run for run in changed if run.ended]
        self._stop(changed)
        self._answer_parents(ended)
        tasks.insert(self.connection, self.rows, now=self.now)
        rows = [self._instance(run) for run in changed]
        instances.write(self.connection, self.org_id, steps, rows, now=self.now)
        instances.assign(self.connection, self.org_id, self.assigned)
        self._tell(changed)
        self._settle(ended)
        for run in changed:
            run.written, run.counts, run.changed, run.ended = {}, Counter(), False, False
            run.stopped, run.children = set(), []
            run.row = run.row._replace(revision=run.row.revision + 1, status=run.state.status.value)
        self.rows, self.assigned = [], []

    def _stop(self, changed: Sequence[Run]) -> None:
        """Stop tasks of cancelled steps, timeouts of what is over, and what cancelled steps had started."""
        over = {run.row.timeout_task_id for run in changed if run.ended} - {None}
        stopped = {task_id for run in changed for task_id in run.stopped} | over
        instances.cancel_tasks(self.connection, self.org_id, stopped - {self.task_id}, now=self.now)
        for run in changed:
            for child in run.children:
                self.task(child, None, {"kind": "cancel", "reason": f"the step of {run.instance_id} is cancelled"})

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
            "started_at": self.now
            if run.row.started_at is None and run.state.status != InstanceStatus.PENDING
            else None,
        }
        if run.ended:
            moment = self.moment
            began = run.row.started_at or self.now
            row |= {"finished_at": moment, "duration_ms": max(0, round((moment - began).total_seconds() * 1000))}
            if run.state.status is InstanceStatus.COMPLETED:
                row["output_data"] = self.output(run)
        elif run.is_paused:
            row["pause_note"] = None if run.error is None else run.error["message"]
        return row

    def output(self, run: Run) -> dict[str, Any]:
        """Return what an instance has put out: by step, the outputs of those that lead nowhere."""
        missing = [step_id for step_id in run.definition.ends if step_id not in run.outputs]
        if missing:
            run.outputs |= instances.outputs(self.connection, self.org_id, run.instance_id, missing)
        found = {step_id: run.outputs.get(step_id) for step_id in run.definition.ends}
        output = {step_id: one for step_id, one in found.items() if one}
        size = len(orjson.dumps(output))
        return output if size <= MAX_OUTPUT else {"omitted": f"{size:,} bytes: see the outputs of the steps themselves"}

    def _tell(self, changed: Sequence[Run]) -> None:
        entries = [
            {
                "audit_id": uuid7(self.now),
                "action": _TOLD[run.state.status],
                "entity_type": "instance",
                "entity_id": run.instance_id,
                "details": {"error": run.error} if run.error else {},
            }
            for run in changed
            if run.ended or (run.is_paused and run.row.status != run.state.status)
        ]
        audit.record(self.connection, self.org_id, entries, now=self.now)

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
