"""Run one task of rule evaluations, from its message to its commit.

The first message of an untried task is claimed, worked on and finished in one transaction: a crash leaves nothing. On
any later delivery the claim commits alone first, so that crashes use up attempts, and a heartbeat keeps the lease.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from core import clock, faults
from core.db import ENGINE_ACTOR, Context, repeat_on_conflict, switch
from core.ids import uuid7
from engine import chunk, retry
from engine.lease import Heartbeat, LostClaimError
from engine.run_rules.group import Unfinished, Wave, record_failures, run_wave, waves
from engine.run_rules.record import Carrier, error_document
from engine.store import audit, occurrences, tasks
from models.enums import AuditAction, Queue, TaskKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta
    from uuid import UUID

    from sqlalchemy import Connection

    from core.db import Database

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NotClaimed:
    """There was nothing to claim: a duplicate, or somebody else was faster. A normal answer."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The task succeeded; `evaluated` items are recorded, `retried` ones became tasks of their own."""

    evaluated: int
    retried: int


@dataclass(frozen=True, slots=True)
class Retrying:
    """The task is ready again, to be run after a delay."""

    after: timedelta
    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The task failed for good; its items are recorded as failures."""

    error: dict[str, Any]


Result: TypeAlias = NotClaimed | Finished | Retrying | GaveUp


@dataclass(slots=True)
class _Work:
    """A claimed task while it is worked on."""

    claim: tasks.Claim
    now: datetime
    still_ours: Callable[[], None]
    again: list[tuple[UUID, Unfinished]] = field(default_factory=list)

    @property
    def groups(self) -> Sequence[chunk.Group]:
        return chunk.groups(self.claim.payload)

    @property
    def size(self) -> int:
        return sum(len(group.items) for group in self.groups)


def run(database: Database, org_id: UUID, task_id: UUID, *, worker: str) -> Result:
    """Claim the task, evaluate its rules, record everything, commit.

    An error that comes out of a first delivery has left nothing behind, not even a claim: the task's next message,
    which is due in seconds, claims it alone, and from then on failures are counted and recorded.
    """
    claimed = repeat_on_conflict(lambda: _claim_and_work(database, org_id, task_id, worker))
    if not isinstance(claimed, tasks.Claim):
        return claimed
    faults.crash("rules.claimed")
    try:
        with Heartbeat(database, claimed) as heartbeat:
            return repeat_on_conflict(lambda: _work_alone(database, claimed, heartbeat))
    except LostClaimError:
        logger.warning("task %s was taken over", task_id)
        return NotClaimed()
    except Exception as error:  # noqa: BLE001 - it is logged there, by how grave it is
        return _give_back(database, claimed, error)


def _claim_and_work(database: Database, org_id: UUID, task_id: UUID, worker: str) -> Result | tasks.Claim:
    """Claim; on the first delivery go on in the same transaction, else commit the claim and return it."""
    with database.transaction(Context(org_id, ENGINE_ACTOR)) as connection:
        now = clock.now(connection)
        claimed = tasks.claim(connection, org_id, task_id, worker=worker, now=now)
        if claimed is None:
            return NotClaimed()
        if not claimed.first:
            return claimed
        result = _work(connection, _Work(claimed, now, lambda: None))
        faults.crash("rules.before_commit")
    faults.crash("rules.committed")
    return result


def _work_alone(database: Database, claimed: tasks.Claim, heartbeat: Heartbeat) -> Result:
    with database.transaction(Context(claimed.org_id, ENGINE_ACTOR)) as connection:
        result = _work(connection, _Work(claimed, clock.now(connection), heartbeat.check))
        faults.crash("rules.before_commit")
    faults.crash("rules.committed")
    return result


def _work(connection: Connection, work: _Work) -> Result:
    """Evaluate all groups and finish the task; the caller commits."""
    for group in work.groups:
        switch(connection, Context(group.org_id, ENGINE_ACTOR))
        for items in waves(group.items):
            carrier = Carrier(group.org_id, work.claim.task_id, work.claim.attempt)
            unfinished = run_wave(connection, Wave(carrier, items, work.now, work.still_ours))
            work.again += [(group.org_id, one) for one in unfinished]
    if work.size == 1 and work.again:
        return _end_single(connection, work)
    for org_id, one in work.again:
        _split_off(connection, work, org_id, one)
    result = {"evaluated": work.size - len(work.again), "retried": len(work.again)}
    switch(connection, Context(work.claim.org_id, ENGINE_ACTOR))
    _owned(tasks.finish(connection, work.claim, "succeeded", now=work.now, result=result))
    return Finished(**result)


def _end_single(connection: Connection, work: _Work) -> Result:
    """Retry the one item by retrying its task, or give it up."""
    [(_, unfinished)] = work.again
    error = unfinished.error
    decision = retry.plan(work.claim.attempt, work.claim.max_attempts, error)
    document = error_document(error)
    match decision:
        case retry.Retry(after=after):
            switch(connection, Context(work.claim.org_id, ENGINE_ACTOR))
            _owned(tasks.retry(connection, work.claim, after=after, now=work.now, error=document))
            return Retrying(after, document)
        case retry.GiveUp():
            return _fail(connection, work, error)


def _split_off(connection: Connection, work: _Work, org_id: UUID, unfinished: Unfinished) -> None:
    """Give an item that must be retried a task of its own; its chunk has used up the first attempt, and succeeds."""
    item = unfinished.item
    logger.warning("rule %s is retried on its own: %s", item.rule_id, error_document(unfinished.error)["message"])
    switch(connection, Context(org_id, ENGINE_ACTOR))
    task_id = uuid7(work.now)
    row = {
        "org_id": org_id,
        "task_id": task_id,
        "kind": TaskKind.EVALUATE_RULES.value,
        "queue": Queue.RULES.value,
        "payload": chunk.payload([chunk.Group(org_id, (item,))]),
        "run_at": work.now + retry.backoff(1),
        "attempt": 1,
    }
    tasks.insert(connection, [row], now=work.now)
    if item.job_id is not None:
        key = {"job_id": item.job_id, "origin": item.origin, "scheduled_for": item.scheduled_for, "task_id": task_id}
        occurrences.move(connection, org_id, [key])


def _give_back(database: Database, claimed: tasks.Claim, error: Exception) -> Result:
    """After the work's transaction is rolled back: make the task ready again after a delay, or fail all of it."""
    decision = retry.plan(claimed.attempt, claimed.max_attempts, error)
    if isinstance(decision, retry.Retry):
        logger.warning("task %s failed and is retried: %s", claimed.task_id, error_document(error)["message"])
    else:
        logger.error("task %s failed (%s)", claimed.task_id, decision.reason, exc_info=error)
    try:
        return repeat_on_conflict(lambda: _end_without_work(database, claimed, error, decision))
    except LostClaimError:  # taken over; or the commit had happened, although its answer was lost
        return NotClaimed()


def _end_without_work(
    database: Database, claimed: tasks.Claim, error: Exception, decision: retry.Retry | retry.GiveUp
) -> Result:
    with database.transaction(Context(claimed.org_id, ENGINE_ACTOR)) as connection:
        _owned(tasks.hold(connection, claimed))  # the task before its rules: the reaper locks in this order, too
        work = _Work(claimed, clock.now(connection), lambda: None)
        match decision:
            case retry.Retry(after=after):
                document = error_document(error)
                _owned(tasks.retry(connection, claimed, after=after, now=work.now, error=document))
                return Retrying(after, document)
            case retry.GiveUp():
                return _fail(connection, work, error)


def _fail(connection: Connection, work: _Work, error: Exception) -> GaveUp:
    """End the task as failed, with a failure recorded for each of its items."""
    document = error_document(error)
    for group in work.groups:
        switch(connection, Context(group.org_id, ENGINE_ACTOR))
        carrier = Carrier(group.org_id, work.claim.task_id, work.claim.attempt)
        record_failures(connection, carrier, group.items, error, now=work.now)
    switch(connection, Context(work.claim.org_id, ENGINE_ACTOR))
    _owned(tasks.finish(connection, work.claim, "failed", now=work.now, error=document))
    entry = {
        "audit_id": uuid7(work.now),
        "action": AuditAction.TASK_FAILED.value,
        "entity_type": "task",
        "entity_id": work.claim.task_id,
        "details": {"attempt": work.claim.attempt, "error": document},
    }
    audit.record(connection, work.claim.org_id, [entry], now=work.now)
    return GaveUp(document)


def _owned(still: bool) -> None:  # noqa: FBT001 - the answer of a fenced write
    if not still:
        message = "the task's fence moved on"
        raise LostClaimError(message)
