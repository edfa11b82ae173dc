"""Runs that a person or an event asks for, as tasks: the same queues and workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.ids import uuid7
from engine import chunk, urgency
from engine.workflows.job_start import TASK_SECONDS, JobStart
from models.enums import Origin, Queue, TargetType, TaskKind, TriggerType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Row

    from core.db import Context

TIMEOUT_SECONDS: Final = 300
"""How long an evaluation may take that belongs to no job."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A task that waits for a worker, and the id of the execution, or of the optimisation, that it will make."""

    task_id: UUID
    execution_id: UUID


@dataclass(frozen=True, slots=True)
class QueuedRun:
    """A run of a job that waits for a worker, and the id of what it will make: an instance, or else an execution."""

    task_id: UUID
    execution_id: UUID | None = None
    instance_id: UUID | None = None


def job_run(
    context: Context, job: Row[Any], origin: Origin, moment: datetime, *, now: datetime
) -> tuple[QueuedRun, dict[str, Any]]:
    """Return a run of a job for one moment, outside its schedule, and the row of its task, which is due now."""
    if job.target_type == TargetType.WORKFLOW:
        return _job_start(context, job, origin, moment, now)
    item = _job_item(context, job, origin, moment, now)
    seconds = job.timeout_seconds
    queued, row = one_task(context.org_id, item, now=now, run_at=now, publish_at=now, timeout_seconds=seconds)
    return QueuedRun(queued.task_id, execution_id=queued.execution_id), row | {"priority": _of_origin(origin)}


def _job_start(
    context: Context, job: Row[Any], origin: Origin, moment: datetime, now: datetime
) -> tuple[QueuedRun, dict[str, Any]]:
    key = (uuid7(now), job.template_id, job.job_id, origin.value, moment)
    start = JobStart(*key, job.execution_context or None, job.timeout_seconds, context.user_id)
    task_id = uuid7(now)
    row = {
        "org_id": context.org_id,
        "task_id": task_id,
        "kind": TaskKind.RUN_WORKFLOW.value,
        "queue": Queue.WORKFLOWS.value,
        "payload": {"items": [start.document()]},
        "run_at": now,
        "publish_at": now,
        "timeout_seconds": TASK_SECONDS,
        "attempt": 0,
        "priority": _of_origin(origin),
    }
    return QueuedRun(task_id, instance_id=start.instance_id), row


def _of_origin(origin: Origin) -> int:
    """Return how urgent a run outside its schedule is: somebody waits for it, or it is one of many that fill a gap."""
    return urgency.BULK if origin is Origin.BACKFILL else urgency.MANUAL


def _job_item(
    context: Context, job: Row[Any], origin: Origin, moment: datetime, now: datetime
) -> chunk.Item | chunk.Optimization:
    run = (uuid7(now), TriggerType.MANUAL.value, job.job_id, origin.value, moment, context.user_id)
    given = job.execution_context or None
    if job.target_type == TargetType.OPTIMIZATION:
        return chunk.Optimization(*run, context=given, campaign_id=job.campaign_id)
    return chunk.Item(job.rule_id, *run, context=given)


def tasks_of(
    org_id: UUID, items: Sequence[chunk.Item], urgencies: Mapping[UUID, int], *, now: datetime
) -> list[dict[str, Any]]:
    """Return the rows of new tasks, due now, that carry evaluations of one org; `urgencies` of their rules."""
    due = [chunk.Due(org_id, item, 1, TIMEOUT_SECONDS, now) for item in items]
    rows = []
    for groups in chunk.pack(due) if due else ():
        most = urgency.of_several(urgencies[item.rule_id] for group in groups for item in group.items)
        rows.append(_row(org_id, groups, uuid7(now), now, now, TIMEOUT_SECONDS) | {"priority": most})
    return rows


def one_task(
    org_id: UUID,
    item: chunk.Item | chunk.Optimization,
    *,
    now: datetime,
    run_at: datetime,
    publish_at: datetime,
    timeout_seconds: int = TIMEOUT_SECONDS,
) -> tuple[Queued, dict[str, Any]]:
    """Return a new task of one evaluation or optimisation, and its row; its first message is due at `publish_at`."""
    task_id = uuid7(now)
    group = chunk.Group(org_id, (), item) if isinstance(item, chunk.Optimization) else chunk.Group(org_id, (item,))
    row = _row(org_id, [group], task_id, run_at, publish_at, timeout_seconds)
    return Queued(task_id, item.execution_id), row


def _row(
    org_id: UUID, groups: Sequence[chunk.Group], task_id: UUID, run_at: datetime, publish_at: datetime, timeout: int
) -> dict[str, Any]:
    return {
        "org_id": org_id,
        "task_id": task_id,
        "kind": TaskKind.EVALUATE_RULES.value,
        "queue": Queue.RULES.value,
        "payload": chunk.payload(groups),
        "run_at": run_at,
        "publish_at": publish_at,
        "timeout_seconds": timeout,
        "attempt": 0,
    }
