"""Run one task of rules, evaluations or actions that follow after a delay, from its message to its commit.

The first message of an untried task is claimed, worked on and finished in one transaction: a crash leaves nothing. On
any later delivery the claim commits alone first, so that crashes use up attempts, and a heartbeat keeps the lease. A
chunk whose worker died is split, until what kills its workers is alone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from core import clock, faults
from core.db import ENGINE_ACTOR, Context, repeat_on_conflict
from core.errors import PermanentError
from engine.failing import refuse
from engine.lease import Heartbeat, LostClaimError, begun, ended, owned
from engine.retry import classify, out_of_time
from engine.run_rules import following
from engine.run_rules.ended import Carrier
from engine.run_rules.ending import end_single, give_back
from engine.run_rules.group import Unfinished, Wave, raise_if_over, run_wave, waves
from engine.run_rules.optimize import optimize
from engine.run_rules.splitting import split, split_off
from engine.run_rules.work import Applied, Finished, GaveUp, NotClaimed, Result, Work, occurrence_key
from engine.store import occurrences, tasks
from models.enums import Outcome, TaskKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from core.db import Database
    from engine import chunk

logger = logging.getLogger(__name__)


def run(database: Database, org_id: UUID, task_id: UUID, *, worker: str) -> Result:
    """Claim the task, do what its row says, record everything, commit.

    An error that comes out of a first delivery has left nothing behind, not even a claim: the task's next message,
    which is due in seconds, claims it alone, and from then on failures are counted and recorded.
    """
    try:
        claimed = repeat_on_conflict(lambda: _claim_and_work(database, org_id, task_id, worker))
    except Exception as error:
        if not out_of_time(error):
            raise
        again = _claim_alone(database, org_id, task_id, worker)
        return give_back(database, again, error) if again else NotClaimed()
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
        return give_back(database, claimed, error)


def _claim_and_work(database: Database, org_id: UUID, task_id: UUID, worker: str) -> Result | tasks.Claim:
    """Claim; on the first delivery go on in the same transaction, else commit the claim and return it.

    A chunk that was lost is not tried again as it is: its halves take its place.
    """
    claimed: tasks.Claim | None = None
    with database.transaction(Context(org_id, ENGINE_ACTOR), begun(lambda: claimed)) as connection:
        now = clock.now(connection)
        claimed = tasks.claim(connection, org_id, task_id, worker=worker, now=now)
        if claimed is None:
            return NotClaimed()
        try:
            work = Work(claimed, now)
        except PermanentError as error:
            return GaveUp(refuse(connection, claimed, error, now=now))
        if not claimed.first:
            return split(connection, work) if claimed.lost and work.size > 1 else claimed
        result = _work(connection, work)
        faults.crash("rules.before_commit")
    faults.crash("rules.committed")
    return result


def _claim_alone(database: Database, org_id: UUID, task_id: UUID, worker: str) -> tasks.Claim | None:
    with database.transaction(Context(org_id, ENGINE_ACTOR)) as connection:
        return tasks.claim(connection, org_id, task_id, worker=worker, now=clock.now(connection))


def _work_alone(database: Database, claimed: tasks.Claim, heartbeat: Heartbeat) -> Result:
    with database.transaction(Context(claimed.org_id, ENGINE_ACTOR), ended(claimed)) as connection:
        result = _work(connection, Work(claimed, clock.now(connection), heartbeat.check))
        faults.crash("rules.before_commit")
    faults.crash("rules.committed")
    return result


def _work(connection: Connection, work: Work) -> Result:
    """Do the work of the task's kind and finish it; the caller commits."""
    if work.claim.kind == TaskKind.APPLY_ACTIONS:
        return _apply(connection, work)
    optimizing = work.optimization
    return _evaluate(connection, work) if optimizing is None else optimize(connection, work, optimizing)


def _apply(connection: Connection, work: Work) -> Result:
    """Apply what was queued, in a savepoint: what fails is retried or given up in this transaction."""
    work.still_ours()
    [group] = work.groups
    try:
        with connection.begin_nested():
            counts = following.apply(connection, group.org_id, work)
    except Exception as error:
        raise_if_over(error)
        if classify(error) != "transient":
            logger.exception("the actions of task %s failed", work.claim.task_id)
        work.again.append((group.org_id, Unfinished(group.items[0], error)))
        return end_single(connection, work)
    owned(tasks.finish(connection, work.claim, "succeeded", now=work.now, result=counts))
    return Applied(counts)


def _evaluate(connection: Connection, work: Work) -> Result:
    """Evaluate all groups and finish the task."""
    for group in work.groups:
        work.enter(connection, group.org_id)
        unwanted: list[chunk.Item] = []
        for wave in waves(group.items):
            work.still_ours()
            items = _wanted(connection, group.org_id, wave, unwanted)
            carrier = Carrier(group.org_id, work.claim.task_id, work.claim.attempt)
            unfinished = run_wave(connection, Wave(carrier, items, work.now, work.still_ours)) if items else []
            work.again += [(group.org_id, one) for one in unfinished]
        _close_cancelled(connection, work, group.org_id, unwanted)
    if work.size == 1 and work.again:
        return end_single(connection, work)
    for org_id, one in work.again:
        split_off(connection, work, org_id, one)
    counts = {"retried": len(work.again), "cancelled": work.cancelled}
    result = {"evaluated": work.size - sum(counts.values())} | counts
    work.enter(connection, work.claim.org_id)
    owned(tasks.finish(connection, work.claim, "succeeded", now=work.now, result=result))
    return Finished(**result)


def _wanted(
    connection: Connection, org_id: UUID, items: Sequence[chunk.Item], unwanted: list[chunk.Item]
) -> Sequence[chunk.Item]:
    """Return the items but those whose cancelling was requested before they began, which join the `unwanted`."""
    planned = [item.scheduled_for for item in items if item.scheduled_for is not None]
    cancelled = occurrences.cancelled(connection, org_id, planned)
    if not cancelled:
        return items
    keys = [(item.job_id, item.origin, item.scheduled_for) in cancelled for item in items]
    unwanted += [item for item, drop in zip(items, keys, strict=True) if drop]
    return [item for item, drop in zip(items, keys, strict=True) if not drop]


def _close_cancelled(connection: Connection, work: Work, org_id: UUID, items: Sequence[chunk.Item]) -> None:
    """Give runs that are not begun their outcome; after all rules of the org, as the order of locks wants it."""
    outcome = {"outcome": Outcome.CANCELLED.value}
    occurrences.finish(connection, org_id, [occurrence_key(item) | outcome for item in items], now=work.now)
    work.cancelled += len(items)
