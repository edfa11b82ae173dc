"""How a task ends that does not simply succeed: taken apart, tried again, given up."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from core import clock
from core.db import ENGINE_ACTOR, Context, repeat_on_conflict
from engine import retry
from engine.failing import fail
from engine.lease import LostClaimError, ended, owned
from engine.run_workflow import answers, items
from engine.run_workflow.came import Broke
from engine.run_workflow.proceed import reassign, settle
from engine.run_workflow.turn import Turn
from engine.run_workflow.work import GaveUp, NotClaimed, Retrying, TakenApart
from engine.store import occurrences, tasks
from models.enums import Outcome
from models.transitions import STEP_ACTIVE

if TYPE_CHECKING:
    from core.db import Database
    from engine.run_workflow.items import Item
    from engine.run_workflow.run import Run
    from engine.run_workflow.work import Result

logger = logging.getLogger(__name__)

_LATER: Final = timedelta(minutes=5)
_SPLIT: Final = {"code": "SPLIT", "message": "taken apart: a worker that had claimed it did not finish it"}


def take_apart(turn: Turn) -> TakenApart:
    """Replace a task whose claim was lost by one for each of its instances: only one that kills workers shall fail."""
    carried = items.read(turn.claim.payload)
    turn.lock([item.instance_id for item in carried])
    moved, parts = [], []
    for item in carried:
        run = turn.runs.get(item.instance_id)
        if run is not None:
            parts.append(turn.pass_on(run, item.document))
        else:
            parts.append(turn.carry(item.document))
            moved += [item.occurrence | {"task_id": parts[-1]}] if item.start is not None else []
    turn.write()
    occurrences.move(turn.connection, turn.org_id, moved)
    result = {"split": [str(task_id) for task_id in parts]}
    owned(tasks.finish(turn.connection, turn.claim, "cancelled", now=turn.now, result=result, error=_SPLIT))
    return TakenApart(len(carried))


def give_back(database: Database, claimed: tasks.Claim, error: Exception) -> Result:
    """After the work's transaction is rolled back: make the task ready again after a delay, or fail what it began."""
    decision = retry.plan(claimed.attempt, claimed.max_attempts, error)
    if isinstance(decision, retry.Retry):
        logger.warning("task %s failed and is retried: %s", claimed.task_id, error)
    else:
        logger.error("task %s failed (%s)", claimed.task_id, decision.reason, exc_info=error)
    try:
        return repeat_on_conflict(lambda: _end(database, claimed, error, decision))
    except LostClaimError:  # taken over; or the commit had happened, although its answer was lost
        return NotClaimed()


def _end(database: Database, claimed: tasks.Claim, error: Exception, decision: retry.Retry | retry.GiveUp) -> Result:
    with database.transaction(Context(claimed.org_id, ENGINE_ACTOR), ended(claimed)) as connection:
        owned(tasks.hold(connection, claimed))
        turn = Turn.of(connection, claimed, clock.now(connection), clock.monotonic(), 1)
        document = Broke.of(error).document(claimed.attempt)
        if isinstance(decision, retry.Retry):
            owned(tasks.retry(connection, claimed, after=decision.after, now=turn.now, error=document))
            return Retrying(decision.after, document)
        if not turn.single:
            return take_apart(turn)
        _fail(turn, Broke(document["code"], document["message"], "permanent"))
        fail(connection, claimed, document, now=turn.now)
        return GaveUp(document)


def _untold(turn: Turn, run: Run, item: Item, broke: Broke) -> None:
    """Take care of what could not be told, as `cmis.abandon_steps` does of tasks whose workers died.

    A step that waits for it fails; what concerns the instance as a whole runs nobody's code, and is tried again later.
    """
    if item.step_id is None:
        turn.carry({key: one for key, one in item.document.items() if key != "start"}, run_at=turn.now + _LATER)
    elif item.signal is not None:
        lost = {"kind": "lost", "of": item.signal.get("of", item.signal), "error": {"message": broke.message}}
        answers.answer(turn, run, item.step_id, lost)


def _fail(turn: Turn, broke: Broke) -> None:
    """Fail the steps that the task was executing, whatever it was that failed."""
    [item] = items.read(turn.claim.payload)
    turn.lock([item.instance_id])
    run = turn.runs.get(item.instance_id)
    if run is None:
        if item.start is not None:
            items.end_start(turn, item, Outcome.FAILURE, broke.message)
        return
    if run.is_over:
        return
    steps = run.assigned(turn.task_id)
    for step_id in steps:
        if not run.is_over and run.state.of(step_id).status in STEP_ACTIVE:
            settle(turn, run, step_id, broke)
    if not steps:
        _untold(turn, run, item, broke)
    for step_id in run.agenda:  # what follows is not for this task, which is over
        reassign(turn, run, step_id)
    turn.write()
