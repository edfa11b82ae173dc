"""Run one task of rule evaluations, from its message to its commit.

The first message of an untried task is claimed, worked on and finished in one transaction: a crash leaves nothing. On
any later delivery the claim commits alone first, so that crashes use up attempts, and a heartbeat keeps the lease.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from core import clock, faults
from core.db import ENGINE_ACTOR, Context, repeat_on_conflict, switch
from core.errors import OutOfTimeError
from core.ids import uuid7
from engine import chunk, retry
from engine.lease import Heartbeat, LostClaimError
from engine.retry import out_of_time
from engine.run_rules.group import Unfinished, Wave, record_failures, run_wave, waves
from engine.run_rules.record import Carrier, error_document
from engine.store import audit, occurrences, tasks
from models.enums import AuditAction, Outcome, Queue, TaskKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from core.db import Database

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NotClaimed:
    """There was nothing to claim: a duplicate, or somebody else was faster. A normal answer."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The task is done: `evaluated` items are recorded, `retried` ones became tasks of their own.

    `cancelled` ones were not begun, because somebody wanted so.
    """

    evaluated: int
    retried: int
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class TakenApart:
    """The chunk took too long as a whole: each of its `items` became a task of its own, with all the time to itself."""

    items: int


@dataclass(frozen=True, slots=True)
class Retrying:
    """The task is ready again, to be run after a delay."""

    after: timedelta
    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The task failed for good; its items are recorded as failures."""

    error: dict[str, Any]


Result: TypeAlias = NotClaimed | Finished | TakenApart | Retrying | GaveUp


@dataclass(slots=True)
class _Work:
    """A claimed task while it is worked on."""

    claim: tasks.Claim
    now: datetime
    owned: Callable[[], None]
    """Raises LostClaimError once the task was taken over."""
    again: list[tuple[UUID, Unfinished]] = field(default_factory=list)
    cancelled: int = 0
    begun: float = field(default_factory=clock.monotonic)

    @property
    def left(self) -> timedelta:
        """How much of the task's time is left."""
        return self.claim.ends_at - self.now - timedelta(seconds=clock.monotonic() - self.begun)

    def still_ours(self) -> None:
        """Raise LostClaimError once the task was taken over, OutOfTimeError once its time is up."""
        self.owned()
        if self.left <= timedelta(0):
            message = f"did not finish within its timeout of {self.claim.timeout_seconds} s"
            raise OutOfTimeError(message)

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
    try:
        claimed = repeat_on_conflict(lambda: _claim_and_work(database, org_id, task_id, worker))
    except Exception as error:
        if not out_of_time(error):
            raise
        again = _claim_alone(database, org_id, task_id, worker)
        return _give_back(database, again, error) if again else NotClaimed()
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


def _claim_alone(database: Database, org_id: UUID, task_id: UUID, worker: str) -> tasks.Claim | None:
    with database.transaction(Context(org_id, ENGINE_ACTOR)) as connection:
        return tasks.claim(connection, org_id, task_id, worker=worker, now=clock.now(connection))


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
        for items in waves(_wanted(connection, work, group)):
            work.still_ours()
            carrier = Carrier(group.org_id, work.claim.task_id, work.claim.attempt)
            unfinished = run_wave(connection, Wave(carrier, items, work.now, work.still_ours))
            work.again += [(group.org_id, one) for one in unfinished]
    if work.size == 1 and work.again:
        return _end_single(connection, work)
    for org_id, one in work.again:
        _split_off(connection, work, org_id, one)
    counts = {"retried": len(work.again), "cancelled": work.cancelled}
    result = {"evaluated": work.size - sum(counts.values())} | counts
    switch(connection, Context(work.claim.org_id, ENGINE_ACTOR))
    _owned(tasks.finish(connection, work.claim, "succeeded", now=work.now, result=result))
    return Finished(**result)


def _wanted(connection: Connection, work: _Work, group: chunk.Group) -> Sequence[chunk.Item]:
    """Close the runs whose cancelling was requested before they began; returns the others."""
    planned = [item.scheduled_for for item in group.items if item.scheduled_for is not None]
    unwanted = occurrences.cancelled(connection, group.org_id, planned)
    if not unwanted:
        return group.items
    dropped = [item for item in group.items if (item.job_id, item.origin, item.scheduled_for) in unwanted]
    outcome = {"outcome": Outcome.CANCELLED.value}
    occurrences.finish(connection, group.org_id, [_key(item) | outcome for item in dropped], now=work.now)
    work.cancelled += len(dropped)
    return [item for item in group.items if item not in dropped]


def _key(item: chunk.Item) -> dict[str, Any]:
    """Return the key of an item's occurrence."""
    return {"job_id": item.job_id, "origin": item.origin, "scheduled_for": item.scheduled_for}


def _end_single(connection: Connection, work: _Work) -> Result:
    """Retry the one item by retrying its task, or give it up."""
    [(_, unfinished)] = work.again
    error = unfinished.error
    decision = retry.plan(work.claim.attempt, work.claim.max_attempts, error, left=work.left)
    document = error_document(error)
    match decision:
        case retry.Retry(after=after):
            switch(connection, Context(work.claim.org_id, ENGINE_ACTOR))
            _owned(tasks.retry(connection, work.claim, after=after, now=work.now, error=document))
            return Retrying(after, document)
        case retry.GiveUp(reason=reason):
            return _fail(connection, work, _over(work.claim, error) if reason == "timeout" else error)


def _split_off(connection: Connection, work: _Work, org_id: UUID, unfinished: Unfinished) -> None:
    """Give an item that must be retried a task of its own; its chunk has used up the first attempt, and succeeds."""
    item = unfinished.item
    logger.warning("rule %s is retried on its own: %s", item.rule_id, error_document(unfinished.error)["message"])
    used = {"run_at": work.now + retry.backoff(1), "attempt": 1, "started_at": work.claim.started_at}
    switch(connection, Context(org_id, ENGINE_ACTOR))
    _carry_alone(connection, work, org_id, [item], used)


def _carry_alone(
    connection: Connection, work: _Work, org_id: UUID, items: Sequence[chunk.Item], used: dict[str, Any]
) -> None:
    """Insert a task for each of an org's items; `used`: the columns that say when, and what of it is used up."""
    rows = {item: _task(work, org_id, item) | used for item in items}
    tasks.insert(connection, list(rows.values()), now=work.now)
    planned = [_key(item) | {"task_id": row["task_id"]} for item, row in rows.items() if item.job_id is not None]
    occurrences.move(connection, org_id, planned)


def _task(work: _Work, org_id: UUID, item: chunk.Item) -> dict[str, Any]:
    return {
        "org_id": org_id,
        "task_id": uuid7(work.now),
        "kind": TaskKind.EVALUATE_RULES.value,
        "queue": Queue.RULES.value,
        "payload": chunk.payload([chunk.Group(org_id, (item,))]),
        "timeout_seconds": work.claim.timeout_seconds,
    }


def _give_back(database: Database, claimed: tasks.Claim, error: Exception) -> Result:
    """After the work's transaction is rolled back: make the task ready again after a delay, or fail all of it."""
    decision = retry.plan(claimed.attempt, claimed.max_attempts, error)
    if isinstance(decision, retry.Retry):
        logger.warning("task %s failed and is retried: %s", claimed.task_id, error_document(error)["message"])
    elif decision.reason == "timeout":
        logger.warning("task %s ran out of time: %s", claimed.task_id, error_document(error)["message"])
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
            case retry.Retry(after=after) if after < work.left or work.size > 1:
                document = error_document(error)
                _owned(tasks.retry(connection, claimed, after=after, now=work.now, error=document))
                return Retrying(after, document)
            case retry.GiveUp(reason="timeout") if work.size > 1:
                return _take_apart(connection, work)
            case retry.Retry() | retry.GiveUp(reason="timeout"):
                return _fail(connection, work, _over(claimed, error))
            case retry.GiveUp():
                return _fail(connection, work, error)


def _take_apart(connection: Connection, work: _Work) -> TakenApart:
    """Replace a chunk that takes too long by a task for each item: only one that does so by itself shall fail."""
    logger.warning("task %s took more than %d s and is taken apart", work.claim.task_id, work.claim.timeout_seconds)
    for group in work.groups:
        switch(connection, Context(group.org_id, ENGINE_ACTOR))
        _carry_alone(connection, work, group.org_id, group.items, {"run_at": work.now, "attempt": 0})
    switch(connection, Context(work.claim.org_id, ENGINE_ACTOR))
    error = {"code": OutOfTimeError.code, "message": "taken apart: it took too long as a whole"}
    _owned(tasks.finish(connection, work.claim, "cancelled", now=work.now, result={"split": work.size}, error=error))
    return TakenApart(work.size)


def _over(claimed: tasks.Claim, error: Exception) -> OutOfTimeError:
    """Say of a run that its time is up; of what it was at last."""
    message = f"did not finish within its timeout of {claimed.timeout_seconds} s"
    return OutOfTimeError(message if out_of_time(error) else f"{message}: {error_document(error)['message']}")


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
