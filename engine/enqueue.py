"""Evaluations that a person asked for, each in a task of its own: the same queue and the same worker as any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.ids import uuid7
from engine import chunk
from models.enums import Queue, TaskKind, TriggerType

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
    """A task that waits for a worker, and the id of the execution that it will make."""

    task_id: UUID
    execution_id: UUID


def job_item(context: Context, job: Row[Any], origin: Origin, moment: datetime, *, now: datetime) -> chunk.Item:
    """Return the evaluation of a job's rule for one moment, outside the job's schedule."""
    return chunk.Item(
        job.rule_id,
        uuid7(now),
        TriggerType.MANUAL.value,
        job.job_id,
        origin.value,
        scheduled_for=moment,
        requested_by=context.user_id,
        context=job.execution_context or None,
    )


def one_task(
    org_id: UUID,
    item: chunk.Item,
    *,
    now: datetime,
    run_at: datetime,
    publish_at: datetime,
    timeout_seconds: int = TIMEOUT_SECONDS,
) -> tuple[Queued, dict[str, Any]]:
    """Return a new task of one evaluation, and its row; its first message is due at `publish_at`."""
    task_id = uuid7(now)
    row = {
        "org_id": org_id,
        "task_id": task_id,
        "kind": TaskKind.EVALUATE_RULES.value,
        "queue": Queue.RULES.value,
        "payload": chunk.payload([chunk.Group(org_id, (item,))]),
        "run_at": run_at,
        "publish_at": publish_at,
        "timeout_seconds": timeout_seconds,
        "attempt": 0,
    }
    return Queued(task_id, item.execution_id), row
