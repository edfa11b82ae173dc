"""Evaluations and optimisations that a person or an event asks for, as tasks: the same queue and worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.ids import uuid7
from engine import chunk
from models.enums import Queue, TargetType, TaskKind, TriggerType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Row

    from core.db import Context
    from models.enums import Origin

TIMEOUT_SECONDS: Final = 300
"""How long an evaluation may take that belongs to no job."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A task that waits for a worker, and the id of the execution, or of the optimisation, that it will make."""

    task_id: UUID
    execution_id: UUID


def job_item(
    context: Context, job: Row[Any], origin: Origin, moment: datetime, *, now: datetime
) -> chunk.Item | chunk.Optimization:
    """Return the evaluation of a job's rule, or its optimisation, for one moment, outside the job's schedule."""
    run = (uuid7(now), TriggerType.MANUAL.value, job.job_id, origin.value, moment, context.user_id)
    given = job.execution_context or None
    if job.target_type == TargetType.OPTIMIZATION:
        return chunk.Optimization(*run, context=given, campaign_id=job.campaign_id)
    return chunk.Item(job.rule_id, *run, context=given)


def tasks_of(org_id: UUID, items: Sequence[chunk.Item], *, now: datetime) -> list[dict[str, Any]]:
    """Return the rows of new tasks, due now, that carry evaluations of one org."""
    due = [chunk.Due(org_id, item, 1, TIMEOUT_SECONDS, now) for item in items]
    return [_row(org_id, groups, uuid7(now), now, now, TIMEOUT_SECONDS) for groups in chunk.pack(due)] if due else []


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
