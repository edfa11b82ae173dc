"""Run a rule, a job or an optimisation because somebody asked for it: the same queue, worker's function and records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy.exc import IntegrityError

from core import clock
from core.db import sqlstate
from core.errors import ConflictError
from core.ids import uuid7
from core.waiting import until_found
from engine import chunk, urgency
from engine.enqueue import job_run, one_task
from engine.store import actions, audit, executions, maintenance, occurrences, optimizations, tasks
from models.audit_actions import AuditAction
from models.enums import Decision, Origin, Role, TriggerType

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from engine.enqueue import Queued

    # The worker's function, `engine.run_rules.service.run`: services of the engine know nothing of each other.
    Evaluate: TypeAlias = Callable[[Database, UUID, UUID], object]
    Get: TypeAlias = Callable[[Connection, UUID, UUID], Row[Any] | None]
    Make: TypeAlias = Callable[[datetime], chunk.Item | chunk.Optimization]

OURS_FOR: Final = timedelta(seconds=15)
"""No message is sent for a task that this process is about to claim; if it dies first, the scheduler sends one then."""
_AT_ONCE: Final = timedelta(0)
_UNIQUE_VIOLATION: Final = "23505"


@dataclass(frozen=True, slots=True)
class Triggered:
    """A run of a job by hand: its row in the ledger of occurrences."""

    job_id: UUID
    origin: str
    scheduled_for: datetime
    decision: str
    job_revision: int
    execution_id: UUID | None
    """None = it starts an instance."""
    instance_id: UUID | None
    task_id: UUID
    actor_id: UUID
    decided_at: datetime


def queue_rule(database: Database, context: Context, rule_id: UUID) -> Queued:
    """Leave one evaluation of a rule to the workers."""
    return _queue(database, context, partial(_rule_item, context, rule_id))


def queue_optimization(database: Database, context: Context, campaign_id: UUID | None) -> Queued:
    """Leave an optimisation of the org, or of one campaign, to the workers."""
    return _queue(database, context, partial(_optimization, context, campaign_id))


def run_rule(
    database: Database, context: Context, rule_id: UUID, evaluate: Evaluate, *, seconds: float
) -> tuple[Queued, Row[Any] | None]:
    """Evaluate a rule in this process, as a worker does; returns its execution.

    Should somebody else have claimed the task, it is waited for; None if it is not there after `seconds`.
    """
    queued = _run(database, context, partial(_rule_item, context, rule_id), evaluate)
    return queued, wait_for_execution(database, context, queued.execution_id, seconds=seconds)


def run_optimization(
    database: Database, context: Context, campaign_id: UUID | None, evaluate: Evaluate, *, seconds: float
) -> tuple[Queued, Row[Any] | None]:
    """Optimise the org, or one campaign, in this process, as a worker does; returns as `run_rule` does its result."""
    queued = _run(database, context, partial(_optimization, context, campaign_id), evaluate)
    return queued, wait_for_optimization(database, context, queued.execution_id, seconds=seconds)


def run_job(database: Database, context: Context, job: Row[Any]) -> Triggered:
    """Record a run of the job outside its schedule, leave it to the workers and wake the schedulers.

    A paused or completed job may be run so, too; neither its cursor nor its counters move. Raises ConflictError if it
    was run by hand in this very millisecond.
    """
    try:
        with database.transaction(context) as connection:
            actions.require_role(connection, Role.OPERATOR)
            return _trigger(connection, context, job, clock.now(connection))
    except IntegrityError as error:
        if sqlstate(error) != _UNIQUE_VIOLATION:
            raise
        message = f"the job {job.name!r} was run by hand in this very moment"
        raise ConflictError.of("job", message, "look at that run, or try again") from error


def wait_for_execution(database: Database, context: Context, execution_id: UUID, *, seconds: float) -> Row[Any] | None:
    """Return an execution once it is there; None if it is not after `seconds`."""
    return _wait_for(database, context, executions.get, execution_id, seconds)


def wait_for_optimization(
    database: Database, context: Context, optimization_id: UUID, *, seconds: float
) -> Row[Any] | None:
    """Return the result of an optimisation once it is there; None if it is not after `seconds`."""
    return _wait_for(database, context, optimizations.get, optimization_id, seconds)


def wait_for_run(database: Database, context: Context, run: Triggered, *, seconds: float) -> Row[Any] | None:
    """Return the ledger's row of a run once it has its outcome; None if it has not after `seconds`."""

    def get(connection: Connection, org_id: UUID, job_id: UUID) -> Row[Any] | None:
        return occurrences.ended(connection, org_id, job_id, run.origin, run.scheduled_for)

    return _wait_for(database, context, get, run.job_id, seconds)


def _wait_for(database: Database, context: Context, get: Get, key: UUID, seconds: float) -> Row[Any] | None:
    def look() -> Row[Any] | None:
        with database.transaction(context) as connection:
            return get(connection, context.org_id, key)

    return until_found(look, seconds=seconds)


def _rule_item(context: Context, rule_id: UUID, now: datetime) -> chunk.Item:
    return chunk.Item(rule_id, uuid7(now), TriggerType.MANUAL.value, requested_by=context.user_id)


def _optimization(context: Context, campaign_id: UUID | None, now: datetime) -> chunk.Optimization:
    by_hand = TriggerType.MANUAL.value
    return chunk.Optimization(uuid7(now), by_hand, requested_by=context.user_id, campaign_id=campaign_id)


def _queue(database: Database, context: Context, make: Make) -> Queued:
    with database.transaction(context) as connection:
        queued = _enqueue(connection, context, make, _AT_ONCE)
        maintenance.wake_schedulers(connection)
        return queued


def _run(database: Database, context: Context, make: Make, evaluate: Evaluate) -> Queued:
    with database.transaction(context) as connection:
        queued = _enqueue(connection, context, make, OURS_FOR)
    evaluate(database, context.org_id, queued.task_id)
    return queued


def _enqueue(connection: Connection, context: Context, make: Make, quiet: timedelta) -> Queued:
    actions.require_role(connection, Role.OPERATOR)
    now = clock.now(connection)
    queued, row = one_task(context.org_id, make(now), now=now, run_at=now, publish_at=now + quiet)
    tasks.insert(connection, [row | {"priority": urgency.MANUAL}], now=now)
    return queued


def _trigger(connection: Connection, context: Context, job: Row[Any], now: datetime) -> Triggered:
    # To the millisecond: the time is part of the occurrence's key, and has to survive every JSON on its way.
    moment = now.replace(microsecond=now.microsecond // 1000 * 1000)
    queued, row = job_run(context, job, Origin.MANUAL, moment, now=now)
    tasks.insert(connection, [row], now=now)
    run = Triggered(
        job_id=job.job_id,
        origin=Origin.MANUAL.value,
        scheduled_for=moment,
        decision=Decision.RUN.value,
        job_revision=job.revision,
        execution_id=queued.execution_id,
        instance_id=queued.instance_id,
        task_id=queued.task_id,
        actor_id=context.user_id,
        decided_at=now,
    )
    _record(connection, context, job, run)
    maintenance.wake_schedulers(connection)
    return run


def _record(connection: Connection, context: Context, job: Row[Any], run: Triggered) -> None:
    keys = ("job_id", "origin", "scheduled_for", "job_revision", "execution_id", "instance_id", "task_id", "actor_id")
    row = {key: getattr(run, key) for key in keys}
    occurrences.insert_runs(connection, context.org_id, [row], now=run.decided_at)
    details = {"scheduled_for": run.scheduled_for.isoformat()}
    if run.instance_id is not None:
        details["instance_id"] = str(run.instance_id)
    entry = {
        "audit_id": uuid7(run.decided_at),
        "action": AuditAction.JOB_TRIGGERED.value,
        "entity_type": "job",
        "entity_id": run.job_id,
        "rule_id": job.rule_id,
        "execution_id": run.execution_id,
        "details": details,
    }
    audit.record(connection, context.org_id, [entry], now=run.decided_at)
