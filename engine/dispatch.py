"""Find due jobs, decide each planned time, record it and enqueue its work: one short transaction per batch.

Any number of schedulers may do this at once: a claimed job is skipped by the others; the commit is the only hand-over.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

from core import faults
from core.clock import monotonic
from core.db import RESERVED_ORG, first_line, must_restart, repeat_on_conflict
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

    from sqlalchemy import Connection, Row

    from core.db import Database
    from engine.schedule.due import Plan, Stretch

logger = logging.getLogger(__name__)

BATCH: Final = 500
SECONDS: Final = 0.5
COMPUTED: Final = 5_000
_SHOWN_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What one batch did: jobs decided, evaluations enqueued, their tasks; `more` = some jobs are still due."""

    jobs: int
    runs: int
    tasks: int
    more: bool


@dataclass(frozen=True, slots=True)
class _Decided:
    """What becomes of one claimed job: its new columns, the planned times to record, and the evaluation if one runs."""

    row: Row[Any]
    job: dict[str, Any]
    occurrences: tuple[dict[str, Any], ...] = ()
    due: chunk.Due | None = None


def dispatch_due(database: Database, limit: int = BATCH) -> Dispatched:
    """Dispatch up to `limit` due jobs. A batch is also bounded by 0.5 s and 5,000 planned times; the rest stays due."""
    done = repeat_on_conflict(lambda: _dispatch(database, limit))
    faults.crash("dispatch.committed")
    return done


def _dispatch(database: Database, limit: int) -> Dispatched:
    with database.transaction(None) as connection:
        rows = store.claim_due_jobs(connection, limit)
        if not rows:
            return Dispatched(0, 0, 0, more=False)
        now: datetime = rows[0].now
        decided = _decide(rows, now)
        tasks = _record(connection, decided, now)
        faults.crash("dispatch.before_commit")
    waiting = (one.job["next_run_at"] for one in decided)
    return Dispatched(
        jobs=len(decided),
        runs=sum(one.due is not None for one in decided),
        tasks=tasks,
        more=len(rows) == limit or len(decided) < len(rows) or any(time and time <= now for time in waiting),
    )


def _decide(rows: Sequence[Row[Any]], now: datetime) -> list[_Decided]:
    deadline = monotonic() + SECONDS
    decided: list[_Decided] = []
    computed = 0
    for row in rows:
        one, cost = _decide_job(row, now, COMPUTED - computed)
        decided.append(one)
        computed += cost
        if monotonic() > deadline or computed >= COMPUTED:
            break
    return decided


def _decide_job(row: Row[Any], now: datetime, limit: int) -> tuple[_Decided, int]:
    """Decide one job, and say how many planned times that took. A job whose times cannot be computed fails alone."""
    try:
        plan = decide(
            from_columns(row._asdict()),
            first=row.next_run_at,
            now=now,
            previous=row.last_scheduled_for,
            run_open=row.run_open,
            limit=limit,
        )
    except Exception as error:
        logger.exception("the next time of job %s cannot be computed", row.job_id)
        return _Decided(row, _failed(row, str(error) or type(error).__name__)), 1
    item = _item(row, plan.run, now) if plan.run else None
    return _Decided(
        row,
        _advanced(row, plan),
        tuple(_occurrence(row, stretch, item) for stretch in plan.stretches),
        chunk.Due(row.org_id, item, row.entities) if item else None,
    ), plan.computed


def _record(connection: Connection, decided: Sequence[_Decided], now: datetime) -> int:
    """Record the batch at once; if the database refuses it, job by job: the one that it refuses fails alone.

    Returns the number of tasks.
    """
    try:
        return _record_together(connection, decided, now)
    except DBAPIError as error:
        if must_restart(error):
            raise
        logger.warning("a batch of %d jobs was refused, trying one by one: %s", len(decided), first_line(error))
    return sum(_record_alone(connection, one, now) for one in decided)


def _record_alone(connection: Connection, one: _Decided, now: datetime) -> int:
    try:
        return _record_together(connection, [one], now)
    except DBAPIError as error:
        if must_restart(error):
            raise
        logger.exception("job %s cannot be recorded", one.row.job_id)
        return _record_together(connection, [_Decided(one.row, _failed(one.row, first_line(error)))], now)


def _record_together(connection: Connection, decided: Sequence[_Decided], now: datetime) -> int:
    tasks, carriers = _pack([one.due for one in decided if one.due], now)
    occurrences = [row | {"task_id": carriers.get(row["execution_id"])} for one in decided for row in one.occurrences]
    with connection.begin_nested():
        store.record(connection, now=now, jobs=[one.job for one in decided], occurrences=occurrences, tasks=tasks)
    return len(tasks)


def _advanced(row: Row[Any], plan: Plan) -> dict[str, Any]:
    return _job(row) | {
        "next_run_at": plan.next_run_at,
        "last_scheduled_for": plan.last_scheduled_for,
        "last_run_for": plan.run.scheduled_for if plan.run else None,
        "runs": 1 if plan.run else 0,
        "status": (JobStatus.ACTIVE if plan.next_run_at else JobStatus.COMPLETED).value,
        "last_error": None,
    }


def _failed(row: Row[Any], reason: str) -> dict[str, Any]:
    return _job(row) | {
        "next_run_at": None,
        "last_scheduled_for": row.last_scheduled_for,
        "last_run_for": None,
        "runs": 0,
        "status": JobStatus.FAILED.value,
        "last_error": reason[:_SHOWN_ERROR],
    }


def _job(row: Row[Any]) -> dict[str, Any]:
    key = {"org_id": row.org_id, "job_id": row.job_id, "revision": row.revision}
    return key | {"previous": row.last_scheduled_for}


def _item(row: Row[Any], run: Stretch, now: datetime) -> chunk.Item:
    key = (row.job_id, Origin.SCHEDULE.value, run.scheduled_for)
    return chunk.Item(row.rule_id, uuid7(now), TriggerType.SCHEDULE.value, *key)


def _occurrence(row: Row[Any], stretch: Stretch, item: chunk.Item | None) -> dict[str, Any]:
    return {
        "org_id": row.org_id,
        "job_id": row.job_id,
        "scheduled_for": stretch.scheduled_for,
        "until": stretch.until,
        "count": stretch.count,
        "previous": stretch.previous,
        "job_revision": row.revision,
        "decision": stretch.decision,
        "execution_id": item.execution_id if item and stretch.decision == "run" else None,
    }


def _pack(due: Sequence[chunk.Due], now: datetime) -> tuple[list[dict[str, Any]], dict[UUID, UUID]]:
    """Pack the runs into tasks; returns them, and for each execution the task that carries it."""
    carriers: dict[UUID, UUID] = {}
    tasks: list[dict[str, Any]] = []
    for groups in chunk.pack(due):
        task_id = uuid7(now)
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
    return tasks, carriers
