"""What a task carries: instances, whose steps are given to it; and what has happened that a step waits for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError, PermanentError
from core.ids import uuid_of
from engine.run_workflow import answers
from engine.run_workflow.proceed import reassign
from engine.start_workflow import Start, start
from engine.store import occurrences, tasks
from engine.workflows.advance import Looked
from models.enums import Outcome
from models.workflow_enums import InstanceTrigger, StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from engine.run_workflow.run import Run
    from engine.run_workflow.turn import Turn

logger = logging.getLogger(__name__)

_SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class Item:
    """An instance that a task is about; `document` is it as its payload has it."""

    instance_id: UUID
    step_id: str | None
    signal: Mapping[str, Any] | None
    start: Mapping[str, Any] | None
    document: Mapping[str, Any]

    @property
    def occurrence(self) -> dict[str, Any]:
        """The key of the run of a job that it starts."""
        wanted = _start(self)
        return {"job_id": wanted.job_id, "origin": wanted.origin, "scheduled_for": wanted.scheduled_for}


def read(payload: Mapping[str, Any]) -> list[Item]:
    """Return what a task carries. Raises PermanentError if it makes no sense."""
    try:
        found = [
            Item(uuid_of(one["instance_id"]), one.get("step_id"), one.get("signal"), one.get("start"), one)
            for one in payload["items"]
        ]
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        message = f"the task's payload cannot be read: {type(error).__name__}: {error}"
        raise PermanentError(message[:_SHOWN]) from error
    if not found:
        message = "the task's payload names nothing to do"
        raise PermanentError(message)
    return found


def take(turn: Turn) -> list[Run]:
    """Lock the instances that a task carries, make those that are only meant as yet, and hand over its signals.

    Returns the instances whose steps this task is to go on with.
    """
    carried = read(turn.claim.payload)
    _await_starts(turn, carried)
    turn.lock([item.instance_id for item in carried])
    _start_all(turn, [item for item in carried if item.start is not None and item.instance_id not in turn.runs])
    going: list[Run] = []
    for item in carried:
        run = turn.runs.get(item.instance_id)
        if run is None or run.is_over:
            continue
        if item.signal is not None and item.signal["kind"] in answers.WHOLE:
            answers.end(turn, run, item.signal)
        elif run.is_paused:
            if item.signal is not None or run.assigned(turn.task_id):
                turn.hold(run, item.document)
        else:
            if item.signal is not None and item.step_id is not None:
                answers.answer(turn, run, item.step_id, item.signal)
            going.append(run)
    return going


def give(turn: Turn, run: Run) -> None:
    """Put on an instance's agenda what belongs to this task of it, and take over what somebody else left."""
    if run.is_over:
        return
    for step_id in run.assigned(turn.task_id):
        if step_id in run.agenda:
            continue
        status, wake_at = run.state.of(step_id).status, run.known(step_id).wake_at
        due = wake_at is not None and wake_at <= turn.now
        if status is StepStatus.QUEUED or (status is StepStatus.RETRYING and due):
            run.agenda.append(step_id)
        elif status is StepStatus.RETRYING and turn.retry is None:  # else it failed just now, and this task comes again
            reassign(turn, run, step_id, run_at=wake_at)
        elif status is StepStatus.RUNNING:
            answers.lost(turn, run, step_id)
        elif status is StepStatus.WAITING and due:
            answers.wake(turn, run, step_id)
    if not run.agenda and not run.is_over:
        run.decide(Looked(), turn.moment)


def _await_starts(turn: Turn, carried: Sequence[Item]) -> None:
    """Let who is about to make an instance commit, before a signal to it finds none: it holds the task of its run."""
    for item in carried:
        if item.signal is not None and item.signal.get("after") is not None:
            tasks.lock(turn.connection, turn.org_id, uuid_of(item.signal["after"]))


def _start_all(turn: Turn, items: Sequence[Item]) -> None:
    """Make instances, for this task to begin. A run of a job that is not started any more ends, and says why."""
    cancelled = _cancelled(turn, items)
    for item in cancelled:
        end_start(turn, item, Outcome.CANCELLED, "it was cancelled before it began")
    by_template: dict[UUID, list[Item]] = {}
    for item in items:
        if item not in cancelled:
            by_template.setdefault(_start(item).template_id, []).append(item)
    made: list[UUID] = []
    for template_id, alike in by_template.items():
        try:
            with turn.connection.begin_nested():
                wanted = [_start(item) for item in alike]
                start(turn.connection, turn.org_id, wanted, now=turn.now, task_id=turn.task_id, counted=False)
        except InputError as error:
            reason = "; ".join(problem.message for problem in error.problems)
            logger.warning("runs of jobs do not start the workflow %s: %s", template_id, reason)
            for item in alike:
                end_start(turn, item, Outcome.FAILURE, reason)
        else:
            turn.made[template_id] += len(alike)
            made += [item.instance_id for item in alike]
    turn.lock(made)


def end_start(turn: Turn, item: Item, outcome: Outcome, reason: str) -> None:
    """End the run of a job whose instance is never made."""
    ended = [item.occurrence | {"outcome": outcome.value, "reason": reason[:_SHOWN]}]
    occurrences.finish(turn.connection, turn.org_id, ended, now=turn.now)


def _cancelled(turn: Turn, items: Sequence[Item]) -> list[Item]:
    """Return those of the runs whose cancelling was requested before they began."""
    keys = [tuple(item.occurrence.values()) for item in items]
    found = occurrences.cancelled(turn.connection, turn.org_id, [scheduled_for for _, _, scheduled_for in keys])
    return [item for item, key in zip(items, keys, strict=True) if key in found]


def _start(item: Item) -> Start:
    document = item.start or {}
    return Start(
        uuid_of(document["template_id"]),
        document.get("context") or {},
        InstanceTrigger.SCHEDULED,
        instance_id=item.instance_id,
        triggered_by=uuid_of(document["requested_by"]) if document.get("requested_by") else None,
        job_id=uuid_of(document["job_id"]),
        origin=document["origin"],
        scheduled_for=datetime.fromisoformat(document["scheduled_for"]),
        idempotency_key=f"job:{document['job_id']}:{document['origin']}:{document['scheduled_for']}",
        timeout_seconds=document.get("timeout_seconds"),
    )
