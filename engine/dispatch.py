"""Find due jobs, decide each planned time, record it and enqueue its work: one short transaction per batch.

Any number of schedulers may do this at once: a claimed job is skipped by the others; the commit is the only hand-over.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from core import faults
from core.clock import monotonic
from core.db import RESERVED_ORG
from core.ids import uuid7
from engine import chunk
from engine.schedule.due import decide
from engine.schedule.stored import from_columns
from engine.store import dispatch as store
from models.enums import JobStatus, Origin, Queue, TaskKind, TriggerType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Row

    from core.db import Database
    from engine.schedule.due import Plan, Stretch

logger = logging.getLogger(__name__)

BATCH: Final = 500
SECONDS: Final = 0.5
COMPUTED: Final = 5_000
_SHOWN_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What one batch did: jobs seen, evaluations enqueued, tasks they were packed in."""

    jobs: int
    runs: int
    tasks: int


@dataclass(slots=True)
class _Batch:
    """Rows to record, as they are decided."""

    now: datetime
    jobs: list[dict[str, Any]] = field(default_factory=list)
    occurrences: list[dict[str, Any]] = field(default_factory=list)
    due: list[chunk.Due] = field(default_factory=list)
    computed: int = 0


def dispatch_due(database: Database, limit: int = BATCH) -> Dispatched:
    """Dispatch up to `limit` due jobs. A batch is also bounded by 0.5 s and 5,000 planned times; the rest stays due."""
    with database.transaction(None) as connection:
        rows = store.claim_due_jobs(connection, limit)
        if not rows:
            return Dispatched(0, 0, 0)
        batch = _decide(rows)
        tasks = _pack(batch)
        store.record(connection, now=batch.now, jobs=batch.jobs, occurrences=batch.occurrences, tasks=tasks)
        faults.crash("dispatch.before_commit")
    faults.crash("dispatch.committed")
    return Dispatched(len(batch.jobs), len(batch.due), len(tasks))


def _decide(rows: Sequence[Row[Any]]) -> _Batch:
    batch = _Batch(now=rows[0].now)
    deadline = monotonic() + SECONDS
    for row in rows:
        _decide_job(batch, row)
        if monotonic() > deadline or batch.computed >= COMPUTED:
            break
    return batch


def _decide_job(batch: _Batch, row: Row[Any]) -> None:
    """Add one job's decisions to the batch. A job whose times cannot be computed fails alone."""
    try:
        plan = decide(
            from_columns(row._asdict()),
            first=row.next_run_at,
            now=batch.now,
            previous=row.last_scheduled_for,
            run_open=row.run_open,
            limit=COMPUTED - batch.computed,
        )
    except Exception as error:
        logger.exception("the next time of job %s cannot be computed", row.job_id)
        batch.jobs.append(_failed(row, error))
        return
    batch.computed += plan.computed
    batch.jobs.append(_advanced(row, plan))
    batch.occurrences.extend(_occurrence(batch, row, stretch) for stretch in plan.stretches)


def _advanced(row: Row[Any], plan: Plan) -> dict[str, Any]:
    return _job(row) | {
        "next_run_at": plan.next_run_at,
        "last_scheduled_for": plan.last_scheduled_for,
        "last_run_for": plan.run.scheduled_for if plan.run else None,
        "runs": 1 if plan.run else 0,
        "status": (JobStatus.ACTIVE if plan.next_run_at else JobStatus.COMPLETED).value,
        "last_error": None,
    }


def _failed(row: Row[Any], error: Exception) -> dict[str, Any]:
    return _job(row) | {
        "next_run_at": None,
        "last_scheduled_for": row.last_scheduled_for,
        "last_run_for": None,
        "runs": 0,
        "status": JobStatus.FAILED.value,
        "last_error": f"{type(error).__name__}: {error}"[:_SHOWN_ERROR],
    }


def _job(row: Row[Any]) -> dict[str, Any]:
    key = {"org_id": row.org_id, "job_id": row.job_id, "revision": row.revision}
    return key | {"previous": row.last_scheduled_for}


def _occurrence(batch: _Batch, row: Row[Any], stretch: Stretch) -> dict[str, Any]:
    occurrence = {
        "org_id": row.org_id,
        "job_id": row.job_id,
        "scheduled_for": stretch.scheduled_for,
        "until": stretch.until,
        "count": stretch.count,
        "previous": stretch.previous,
        "job_revision": row.revision,
        "decision": stretch.decision,
    }
    if stretch.decision == "run":
        item = chunk.Item(
            row.rule_id,
            uuid7(batch.now),
            TriggerType.SCHEDULE.value,
            row.job_id,
            Origin.SCHEDULE.value,
            stretch.scheduled_for,
        )
        batch.due.append(chunk.Due(row.org_id, item, row.entities))
        occurrence["execution_id"] = item.execution_id
    return occurrence


def _pack(batch: _Batch) -> list[dict[str, Any]]:
    """Pack the runs into tasks, and name in each occurrence the task that carries it."""
    carriers: dict[UUID, UUID] = {}
    tasks: list[dict[str, Any]] = []
    for groups in chunk.pack(batch.due):
        task_id = uuid7(batch.now)
        carriers |= {item.execution_id: task_id for group in groups for item in group.items}
        tasks.append(
            {
                "org_id": groups[0].org_id if len(groups) == 1 else RESERVED_ORG,
                "task_id": task_id,
                "kind": TaskKind.EVALUATE_RULES.value,
                "queue": Queue.RULES.value,
                "payload": chunk.payload(groups),
            }
        )
    for occurrence in batch.occurrences:
        occurrence["task_id"] = carriers[occurrence["execution_id"]] if "execution_id" in occurrence else None
    return tasks
