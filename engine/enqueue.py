"""Evaluations and optimisations that a person asked for, each in a task of its own: the same queue and worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.ids import uuid7
from engine import chunk
from models.enums import Queue, TargetType, TaskKind, TriggerType

if TYPE_CHECKING:
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
    row = {
        "org_id": org_id,
        "task_id": task_id,
        "kind": TaskKind.EVALUATE_RULES.value,
        "queue": Queue.RULES.value,
        "payload": chunk.payload([group]),
        "run_at": run_at,
        "publish_at": publish_at,
        "timeout_seconds": timeout_seconds,
        "attempt": 0,
    }
    return Queued(task_id, item.execution_id), row
