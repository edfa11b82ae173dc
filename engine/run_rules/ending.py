"""How a task ends that does not simply succeed: tried again, taken apart, given up."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from core import clock
from core.db import ENGINE_ACTOR, Context, repeat_on_conflict
from core.errors import OutOfTimeError
from engine import retry
from engine.failing import fail
from engine.lease import LostClaimError, ended, owned
from engine.retry import out_of_time
from engine.run_rules import following
from engine.run_rules.ended import Carrier, error_document
from engine.run_rules.group import record_failures
from engine.run_rules.optimized import record_failed
from engine.run_rules.splitting import take_apart
from engine.run_rules.work import GaveUp, NotClaimed, Result, Retrying, Work
from engine.store import tasks
from models.enums import TaskKind

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from core.db import Database

logger = logging.getLogger(__name__)


def end_single(connection: Connection, work: Work) -> Result:
    """Retry the one item by retrying its task, or give it up."""
    [(_, unfinished)] = work.again
    error = unfinished.error
    decision = retry.plan(work.claim.attempt, work.claim.max_attempts, error, left=work.left)
    document = error_document(error)
    match decision:
        case retry.Retry(after=after):
            work.enter(connection, work.claim.org_id)
            owned(tasks.retry(connection, work.claim, after=after, now=work.now, error=document))
            return Retrying(after, document)
        case retry.GiveUp(reason=reason):
            return _fail(connection, work, _over(work.claim, error) if reason == "timeout" else error)


def give_back(database: Database, claimed: tasks.Claim, error: Exception) -> Result:
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
    with database.transaction(Context(claimed.org_id, ENGINE_ACTOR), ended(claimed)) as connection:
        owned(tasks.hold(connection, claimed))  # the task before its rules: the reaper locks in this order, too
        work = Work(claimed, clock.now(connection))
        match decision:
            case retry.Retry(after=after) if after < work.left or work.size > 1:
                document = error_document(error)
                owned(tasks.retry(connection, claimed, after=after, now=work.now, error=document))
                return Retrying(after, document)
            case retry.GiveUp(reason="timeout" | "exhausted") if work.size > 1:
                owned(
                    tasks.hold(connection, claimed, unless_stopped=True)
                )  # else its lease ends, and all of it with it
                return take_apart(connection, work)
            case retry.Retry() | retry.GiveUp(reason="timeout"):
                return _fail(connection, work, _over(claimed, error))
            case retry.GiveUp():
                return _fail(connection, work, error)


def _over(claimed: tasks.Claim, error: Exception) -> OutOfTimeError:
    """Say of a run that its time is up; of what it was at last."""
    message = f"did not finish within its timeout of {claimed.timeout_seconds} s"
    return OutOfTimeError(message if out_of_time(error) else f"{message}: {error_document(error)['message']}")


def _fail(connection: Connection, work: Work, error: Exception) -> GaveUp:
    """End the task as failed, with a failure recorded for each of its items, or each of its actions."""
    document = error_document(error)
    for group in work.groups:
        work.enter(connection, group.org_id)
        if work.claim.kind == TaskKind.APPLY_ACTIONS:
            following.give_up(connection, group.org_id, work, document)
            continue
        carrier = Carrier(group.org_id, work.claim.task_id, work.claim.attempt)
        record_failures(connection, carrier, group.items, error, now=work.now)
        if group.optimization is not None:
            record_failed(connection, carrier, group.optimization, document, now=work.now)
    work.enter(connection, work.claim.org_id)
    fail(connection, work.claim, document, now=work.now)
    return GaveUp(document)
