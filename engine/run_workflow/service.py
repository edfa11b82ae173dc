"""Run one task of workflows, from its message to its commit.

The first message of an untried task is claimed, worked on and finished in one transaction, as far as everything is
internal and there is not too much of it; a crash leaves nothing. From its first commit on, and on any later delivery,
the claim is committed, a heartbeat keeps the lease, and every transaction begins by holding the task under its fence.
A callable that must run apart has a commit before it and one after it, and no transaction is open meanwhile.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from core import clock, faults
from core.db import ENGINE_ACTOR, Context, repeat_on_conflict
from core.errors import PermanentError
from core.ids import uuid_of
from engine import lease
from engine.callables.process import run_apart
from engine.failing import refuse
from engine.lease import Heartbeat, LostClaimError, owned
from engine.retry import out_of_time
from engine.run_workflow import items
from engine.run_workflow.came import called
from engine.run_workflow.ending import give_back, take_apart
from engine.run_workflow.proceed import proceed, settle
from engine.run_workflow.turn import Turn
from engine.run_workflow.work import Finished, GaveUp, NotClaimed, Retrying
from engine.store import tasks
from models.workflow_enums import StepStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from core.db import Database
    from engine.callables.outcome import Outcome
    from engine.run_workflow.came import Apart
    from engine.run_workflow.run import Run
    from engine.run_workflow.work import Result
    from engine.store.dispatch import Message

    Send: TypeAlias = Callable[[Sequence[Message]], None]
    """Sends the first messages of tasks that were just committed; what it cannot send is sent later by a scheduler."""

logger = logging.getLogger(__name__)

COMMIT_STEPS: Final = 1000
"""Steps of one instance that share a commit, at most."""


@dataclass(slots=True)
class _Begun:
    """A claim while it is worked on, from one transaction to the next."""

    claim: tasks.Claim
    commit_steps: int
    send: Send
    runs: dict[UUID, Run] = field(default_factory=dict)
    """What is known of its instances, as of the last commit."""
    apart: Apart | None = None
    """What is to be called before the next transaction."""
    steps: int = 0
    """Steps that were executed and committed."""
    executed: int = 0
    """Steps that the transaction has executed."""
    began: float = field(default_factory=clock.monotonic)
    messages: list[Message] = field(default_factory=list)

    def committed(self) -> None:
        """Send what the transaction has left to be sent."""
        faults.crash("workflow.committed")
        self.steps, self.executed = self.steps + self.executed, 0
        messages, self.messages = self.messages, []
        if messages:
            self.send(messages)


def run(
    database: Database, org_id: UUID, task_id: UUID, *, worker: str, send: Send, commit_steps: int = COMMIT_STEPS
) -> Result:
    """Claim the task, go on with what it carries, record everything, commit.

    An error that comes out of a first delivery has left nothing behind, not even a claim: the task's next message,
    which is due in seconds, claims it alone, and from then on failures are counted and recorded.
    """
    claim = partial(_claim_and_work, database, org_id, task_id, worker, commit_steps, send)
    try:
        result, begun = repeat_on_conflict(claim)
    except Exception as error:
        if not out_of_time(error):
            raise
        again = _claim_alone(database, org_id, task_id, worker)
        return give_back(database, again, error) if again else NotClaimed()
    if begun is not None:
        begun.committed()
    if result is not None or begun is None:
        return result or NotClaimed()
    faults.crash("workflow.claimed")
    try:
        with Heartbeat(database, begun.claim) as heartbeat:
            return _go_on(database, begun, heartbeat)
    except LostClaimError:
        logger.warning("task %s was taken over", task_id)
        return NotClaimed()
    except Exception as error:  # noqa: BLE001 - it is logged there, by how grave it is
        return give_back(database, begun.claim, error)


def _claim_and_work(
    database: Database, org_id: UUID, task_id: UUID, worker: str, commit_steps: int, send: Send
) -> tuple[Result | None, _Begun | None]:
    """Claim; on the first delivery work in the same transaction, else only commit the claim."""
    claimed: tasks.Claim | None = None
    with database.transaction(Context(org_id, ENGINE_ACTOR), lease.begun(lambda: claimed)) as connection:
        now, read = clock.now(connection), clock.monotonic()
        claimed = tasks.claim(connection, org_id, task_id, worker=worker, now=now)
        if claimed is None:
            return NotClaimed(), None
        begun = _Begun(claimed, commit_steps, send)
        try:
            carried = items.read(claimed.payload)
        except PermanentError as error:
            return GaveUp(refuse(connection, claimed, error, now=now)), None
        if claimed.first:
            result = _work(Turn.of(connection, claimed, now, begun.began, commit_steps, begun=read), begun)
            faults.crash("workflow.before_commit")
            return result, begun
        if len(carried) > 1:
            return take_apart(Turn.of(connection, claimed, now, begun.began, commit_steps, begun=read)), begun
        return None, begun


def _claim_alone(database: Database, org_id: UUID, task_id: UUID, worker: str) -> tasks.Claim | None:
    with database.transaction(Context(org_id, ENGINE_ACTOR)) as connection:
        return tasks.claim(connection, org_id, task_id, worker=worker, now=clock.now(connection))


def _go_on(database: Database, begun: _Begun, heartbeat: Heartbeat) -> Result:
    """Work in one transaction after the other until nothing is left to do; in between is called what runs apart."""
    while True:
        came = None
        if begun.apart is not None:
            apart = begun.apart
            came = apart, run_apart(apart.registered, apart.call, timeout=apart.timeout, stopped=heartbeat.lost.is_set)
            faults.crash("workflow.called")
        result = repeat_on_conflict(partial(_transact, database, begun, came))
        begun.committed()
        if result is not None:
            return result


def _transact(database: Database, begun: _Begun, came: tuple[Apart, Outcome] | None) -> Result | None:
    with database.transaction(Context(begun.claim.org_id, ENGINE_ACTOR)) as connection:
        owned(tasks.hold(connection, begun.claim))
        now = clock.now(connection)
        result = _work(Turn.of(connection, begun.claim, now, begun.began, begun.commit_steps), begun, came)
        faults.crash("workflow.before_commit")
        return result


def _work(turn: Turn, begun: _Begun, came: tuple[Apart, Outcome] | None = None) -> Result | None:
    """Do one transaction's share of the work; returns the task's result once there is nothing left to do.

    What is known of the instances is good for one try: a transaction that is repeated reads them anew. What a call came
    to is not: `came` is handed over each time.
    """
    known, begun.runs, begun.messages = begun.runs, {}, []
    fresh = turn.resume(known) if known else items.take(turn)
    turn.since = clock.monotonic()
    if came is not None:
        _return(turn, *came)
    for run_ in fresh:
        items.give(turn, run_)
    apart = None
    for run_ in turn.runs.values():
        apart = proceed(turn, run_)
        if apart is not None:
            break
    turn.write()
    begun.executed = turn.executed
    begun.messages, begun.apart = turn.messages, apart
    if apart is not None or any(run_.agenda for run_ in turn.runs.values()):
        begun.runs = turn.runs
        return None
    return _finish(turn, begun)


def _return(turn: Turn, apart: Apart, came: Outcome) -> None:
    """Note what a call came to, if its step still is under way in this task."""
    run_ = turn.runs.get(uuid_of(apart.call.instance_id))
    if run_ is None or run_.is_over:
        return
    step_id = apart.call.step_id
    if run_.state.of(step_id).status is StepStatus.RUNNING and run_.known(step_id).task_id == turn.task_id:
        settle(turn, run_, step_id, called(came))


def _finish(turn: Turn, begun: _Begun) -> Result:
    claim = begun.claim
    if turn.retry is not None:
        after, error = turn.retry
        owned(tasks.retry(turn.connection, claim, after=after, now=turn.now, error=error, more=claim.max_attempts))
        return Retrying(after, error)
    counts = {"steps": begun.steps + begun.executed, "instances": len(turn.runs)}
    owned(tasks.finish(turn.connection, claim, "succeeded", now=turn.now, result=counts))
    return Finished(**counts)
