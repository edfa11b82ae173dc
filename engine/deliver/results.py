"""What became of a delivery, written under its claim's fence: effects, audit, breaker, task, its executions' end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.ids import uuid7
from engine.deliver import limits
from engine.deliver.outcome import Again, Discarded, Doubtful, Failed, Succeeded
from engine.effects import of_step, wake_steps
from engine.lease import owned
from engine.run_rules.breaker import trip_closed
from engine.store import audit, delayed, deliveries, tasks
from models.audit_actions import AuditAction
from models.enums import ActionStatus, ExecutionStatus, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from engine.deliver.answers import Answer
    from engine.deliver.limits import Way
    from engine.deliver.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Ending:
    """A claimed delivery with what became of it."""

    claim: tasks.Claim
    rows: Sequence[Row[Any]]
    outcome: Outcome
    way: Way | None = None
    """Where it was going; None = no call was to be made."""
    answer: Answer | None = None
    """What the call came to; None = none was made."""
    resolved: str | None = None
    """How it was told what became of an attempt that had broken off."""
    shown: Callable[[str], str] = str
    """Takes what is secret out of a text."""

    @property
    def status(self) -> ActionStatus:
        """What its effects are now."""
        return _STATUS[type(self.outcome)]

    @property
    def error(self) -> dict[str, Any] | None:
        """Why they are not delivered."""
        if isinstance(self.outcome, Succeeded):
            return None
        return {"code": self.status.value.upper(), "message": self.shown(self.outcome.reason)}

    @property
    def response(self) -> dict[str, Any] | None:
        """What the receiver said, if it was called: bounded by its courier, and without what is secret."""
        if self.answer is None:
            return None
        said = {"status": self.answer.status, "said": self.shown(self.answer.said)}
        return {"attempt": self.claim.attempt} | {key: value for key, value in said.items() if value}


_STATUS: Final[dict[type, ActionStatus]] = {
    Succeeded: ActionStatus.SUCCEEDED,
    Failed: ActionStatus.FAILED,
    Again: ActionStatus.QUEUED,
    Discarded: ActionStatus.DISCARDED,
    Doubtful: ActionStatus.UNKNOWN,
}
_TOLD: Final[dict[type, AuditAction]] = {
    Succeeded: AuditAction.ACTION_TAKEN,
    Failed: AuditAction.ACTION_FAILED,
    Discarded: AuditAction.ACTION_DISCARDED,
    Doubtful: AuditAction.ACTION_UNKNOWN,
}
"""What is put on record of an end; of another attempt the task's own records tell."""


def write(connection: Connection, ending: Ending) -> None:
    """Write all of it. Raises LostClaimError if somebody else took the task over: nothing may be written then."""
    claim, org_id = ending.claim, ending.claim.org_id
    owned(tasks.hold(connection, claim))
    now = clock.now(connection)
    if ending.way is not None:
        limits.note(connection, org_id, claim.task_id, ending.way, ending.answer, now=now)
    deliveries.finish(connection, org_id, [row.action_id for row in ending.rows], _columns(ending, now), now=now)
    audit.record(connection, org_id, list(_entries(ending, now)), now=now)
    if isinstance(ending.outcome, Again):
        owned(tasks.retry(connection, claim, after=ending.outcome.after, now=now, error=ending.error or {}))
        return
    _settle(connection, ending, now)
    result = None if ending.error else {"delivered": len(ending.rows)}
    owned(tasks.finish(connection, claim, _state(ending), now=now, result=result, error=ending.error))


def _state(ending: Ending) -> TaskState:
    """Return how the task ends. What a person has to look after is failed, and nothing else."""
    match ending.outcome:
        case Succeeded():
            return TaskState.SUCCEEDED
        case Discarded(unwanted=True):
            return TaskState.CANCELLED
        case _:
            return TaskState.FAILED


def _settle(connection: Connection, ending: Ending, now: datetime) -> None:
    """Close the executions whose last open effects these were; a rule of which one after the other fails is paused.

    Steps that wait for them go on.
    """
    org_id = ending.claim.org_id
    if not isinstance(ending.outcome, Doubtful):
        wake_steps(connection, org_id, ending.rows, now=now)
    rule_of = {row.execution_id: row.rule_id for row in ending.rows if row.execution_id is not None}
    for execution_id, rule_id in sorted(rule_of.items()):
        if delayed.settle(connection, org_id, execution_id, now=now) == ExecutionStatus.FAILURE:
            last_failure = None if ending.error is None else str(ending.error["message"])
            trip_closed(connection, org_id, rule_id, execution_id, last_failure, now=now)


def _columns(ending: Ending, now: datetime) -> dict[str, Any]:
    """Return the columns of the effects."""
    columns: dict[str, Any] = {"status": ending.status.value, "response": ending.response, "error": ending.error}
    if isinstance(ending.outcome, Again):
        columns |= {"waits_for": "its next attempt", "next_attempt_at": now + ending.outcome.after}
    return columns


def _entries(ending: Ending, now: datetime) -> Iterator[dict[str, Any]]:
    """Yield what is put on record of each effect: how its doubt was resolved, and how it ended."""
    told = _TOLD.get(type(ending.outcome))
    for row in ending.rows:
        about = {"type": row.type, "channel": row.channel, "attempts": row.attempts} | of_step(row)
        if ending.resolved is not None:
            yield _entry(row, AuditAction.ACTION_RESOLVED, about | {"how": ending.resolved}, now)
        known = isinstance(ending.outcome, Doubtful) and row.status == ActionStatus.UNKNOWN
        if told is not None and not known:
            yield _entry(row, told, about | ({} if ending.error is None else {"reason": ending.error["message"]}), now)


def _entry(row: Row[Any], action: AuditAction, details: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "audit_id": uuid7(now),
        "action": action.value,
        "entity_type": row.entity_type,
        "entity_id": row.entity_id,
        "rule_id": row.rule_id,
        "execution_id": row.execution_id,
        "action_id": row.action_id,
        "details": details,
    }
