"""The commit before a call: what is about to be sent, or why it waits, or that it cannot be sent at all."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core import clock
from core.db import ENGINE_ACTOR, Context
from core.errors import PermanentError, SetupError
from engine.deliver import limits, outcome
from engine.deliver.admission import Admitted, Waits
from engine.deliver.answers import Later, Refused
from engine.deliver.limits import Way
from engine.deliver.opening import opened
from engine.deliver.outcome import Discarded, Failed
from engine.deliver.results import Ending, write
from engine.failing import refuse
from engine.lease import begun
from engine.store import connectors, deliveries, step_effects, tasks
from models.enums import ActionStatus, Channel, ConnectorStatus
from models.workflow_enums import StepStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from core.db import Database
    from engine.deliver.answers import Answer
    from engine.deliver.courier import Courier
    from engine.deliver.opening import Opened
    from engine.deliver.outcome import Outcome
    from engine.deliver.post import Post

_OPEN: Final = frozenset({ActionStatus.QUEUED, ActionStatus.RUNNING, ActionStatus.UNKNOWN})
_DOUBTFUL: Final = frozenset({ActionStatus.RUNNING, ActionStatus.UNKNOWN})
_PAUSED: Final = timedelta(seconds=30)
_BEHIND: Final = timedelta(seconds=2)
_SHOWN: Final = 500


@dataclass(frozen=True, slots=True)
class NotClaimed:
    """There was nothing to claim: a duplicate, too early, taken over, or already decided. A normal answer."""


@dataclass(frozen=True, slots=True)
class Done:
    """It is over, for now or for good; no call is to be made."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Begun:
    """A claimed delivery that is to be called; its intent is committed."""

    claim: tasks.Claim
    courier: Courier
    rows: Sequence[Row[Any]]
    sent: Opened
    way: Way
    created_at: datetime
    now: datetime
    key: str
    """The idempotency key, the same in every attempt: that of the task's first effect, whatever became of it since."""

    @property
    def doubtful(self) -> bool:
        """Whether an attempt before this one may have delivered it."""
        return any(row.status in _DOUBTFUL for row in self.rows)

    @property
    def age(self) -> timedelta:
        """How long ago the delivery was made."""
        return self.now - self.created_at


@dataclass(frozen=True, slots=True)
class _Task:
    """A delivery's task while it is decided upon: locked, not claimed."""

    connection: Connection
    org_id: UUID
    task_id: UUID
    worker: str
    now: datetime
    row: Row[Any]
    key: str

    @property
    def age(self) -> timedelta:
        created_at: datetime = self.row.created_at
        return self.now - created_at

    @property
    def has_turn(self) -> bool:
        """Whether a token was taken for its next attempt already; no other attempt may be made of it."""
        return bool(self.row.payload.get("reserved") == self.row.attempt)

    def claim(self) -> tasks.Claim:
        """Claim it: nobody else can have, since its lock is held."""
        claimed = tasks.claim(self.connection, self.org_id, self.task_id, worker=self.worker, now=self.now)
        if claimed is None:
            message = f"task {self.task_id} was locked and cannot be claimed"
            raise RuntimeError(message)
        return claimed


def begin(
    database: Database, org_id: UUID, task_id: UUID, worker: str, post: Post
) -> Begun | NotClaimed | Waits | Done:
    """Decide whether a task's delivery is called now, and commit that."""
    made: Begun | Waits | Done | None = None
    landed = begun(lambda: made.claim if isinstance(made, Begun) else None)
    with database.transaction(Context(org_id, ENGINE_ACTOR), landed) as connection:
        now = clock.now(connection)
        row = tasks.peek(connection, org_id, task_id, now=now)
        if row is None:
            return NotClaimed()
        try:
            carried = _carried(connection, org_id, row.payload)
        except PermanentError as error:
            return _refuse(connection, org_id, task_id, worker, error, now)
        task = _Task(connection, org_id, task_id, worker, now, row, carried[0].idempotency_key)
        rows = [one for one in carried if one.task_id == task_id and one.status in _OPEN]
        if not rows:
            tasks.finish(connection, task.claim(), "succeeded", now=now, result={"delivered": 0})
            return NotClaimed()
        made = _decide(task, rows, post)
        return made


def _carried(connection: Connection, org_id: UUID, payload: dict[str, Any]) -> Sequence[Row[Any]]:
    """Lock the effects that a task carries. Raises PermanentError if its payload names none."""
    try:
        ids = [UUID(one) for one in payload["action_ids"]]
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        message = f"the task's payload cannot be read: {type(error).__name__}: {error}"
        raise PermanentError(message[:_SHOWN]) from error
    carried = deliveries.lock(connection, org_id, ids) if ids else ()
    if not carried:
        message = "the task's payload names no effect of its org"
        raise PermanentError(message)
    return carried


def _refuse(
    connection: Connection, org_id: UUID, task_id: UUID, worker: str, error: PermanentError, now: datetime
) -> Done | NotClaimed:
    claimed = tasks.claim(connection, org_id, task_id, worker=worker, now=now)
    if claimed is None:
        return NotClaimed()
    return Done(Failed(refuse(connection, claimed, error, now=now)["message"]))


def _decide(task: _Task, rows: Sequence[Row[Any]], post: Post) -> Begun | Waits | Done:
    turn = _turn(task, rows)
    if isinstance(turn, Discarded):
        return _give_up(task, rows, turn)
    if turn is not None:
        return _wait(task, rows, turn)
    courier = post.couriers[Channel(rows[0].channel)]
    try:
        sent = opened(task.connection, task.org_id, rows, post.keys)
        way = Way(courier.destination(sent.messages[0]), courier.account(sent.messages[0]))
    except PermanentError as error:
        return _without_call(task, rows, Refused(str(error)))
    except SetupError as error:
        return _without_call(task, rows, Later(str(error), blames=False))
    waits = _ask(task, way, post)
    if waits is not None:
        return _wait(task, rows, waits)
    claimed = task.claim()
    deliveries.begin(task.connection, task.org_id, [row.action_id for row in rows], task.task_id)
    return Begun(claimed, courier, rows, sent, way, task.row.created_at, task.now, task.key)


def _without_call(task: _Task, rows: Sequence[Row[Any]], answer: Answer) -> Done:
    """End an attempt at what cannot even be addressed."""
    claimed = task.claim()
    deliveries.begin(task.connection, task.org_id, [row.action_id for row in rows], task.task_id)
    pace = outcome.Pace.of(claimed.payload)
    decided = outcome.decide(answer, attempt=claimed.attempt, age=task.age, keyed=True, pace=pace)
    write(task.connection, Ending(claimed, rows, decided))
    return Done(decided)


def _turn(task: _Task, rows: Sequence[Row[Any]]) -> Waits | Discarded | None:
    """Let a push wait for its connector, and for the campaign's changes before it; none goes to an archived one.

    What a step sends is not sent once the step is cancelled or skipped, unless a person had it sent since.
    """
    if rows[0].channel != Channel.CONNECTOR:
        return Discarded(step_effects.UNWANTED, unwanted=True) if any(_given_up(task, row) for row in rows) else None
    connector = connectors.get(task.connection, task.org_id, rows[0].params["connector_id"])
    if connector is not None and connector.status == ConnectorStatus.ARCHIVED:
        return Discarded(f"the connector {connector.name} is archived", unwanted=True)
    if connector is not None and connector.status == ConnectorStatus.PAUSED:
        return Waits(f"the connector {connector.name} is paused", _PAUSED)
    if connectors.earlier_open(task.connection, task.org_id, rows, now=task.now):
        return Waits("an earlier change of this campaign is not delivered yet", _BEHIND)
    return None


def _given_up(task: _Task, row: Row[Any]) -> bool:
    if row.instance_id is None:
        return False
    step = step_effects.step(task.connection, task.org_id, row.instance_id, row.step_id)
    if step is None or step.status not in {StepStatus.CANCELLED, StepStatus.SKIPPED}:
        return False
    return row.retried_at is None or bool(row.retried_at <= step.finished_at)


def _ask(task: _Task, way: Way, post: Post) -> Waits | None:
    key = (task.connection, task.org_id, task.task_id)
    admission = limits.ask(*key, way, post, reserved=task.has_turn, now=task.now)
    return None if isinstance(admission, Admitted) else admission


def _give_up(task: _Task, rows: Sequence[Row[Any]], discarded: Discarded) -> Done:
    write(task.connection, Ending(task.claim(), rows, discarded))
    return Done(discarded)


def _wait(task: _Task, rows: Sequence[Row[Any]], waits: Waits) -> Waits | Done:
    """Put it off, and say why; one that would be too old then is given up."""
    given_up = outcome.too_old(task.age, waits.after, waits.reason)
    if given_up is not None:
        return _give_up(task, rows, given_up)
    until = task.now + waits.after
    reserved = waits.reserved or task.has_turn
    tasks.postpone(task.connection, task.org_id, task.task_id, until=until, reserved=reserved)
    ids = [row.action_id for row in rows]
    deliveries.wait(task.connection, task.org_id, ids, waits_for=waits.reason, until=until)
    return waits
