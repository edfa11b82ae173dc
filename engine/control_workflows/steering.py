"""The frame of every verb: one transaction, the instance's lock, a decision; after the commit, messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from sqlalchemy.exc import DBAPIError

from core import clock
from core.db import repeat_on_conflict, sqlstate
from core.errors import ConflictError, InputError, NotFoundError, TransientError
from core.ids import uuid7
from engine.rules.reading import refuse_unstorable, shown
from engine.run_workflow.desk import Desk
from engine.store import actions, maintenance
from models.enums import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias
    from uuid import UUID

    from core.db import Context, Database
    from engine.run_workflow.run import Run
    from engine.store.dispatch import Message
    from models.audit_actions import AuditAction
    from models.workflow_enums import InstanceStatus

    Send: TypeAlias = Callable[[Sequence[Message]], None]
    """Sends the first messages of tasks that were just committed; what it cannot send is sent later by a scheduler."""

T = TypeVar("T")

MAX_NOTE: Final = 2_000
"""Characters of what a person says to a decision."""
_ILLEGAL: Final = "CM020"
"""SQLSTATE of the guards of models.transitions in the database."""
_TOO_LONG: Final = "57014"
"""SQLSTATE of a statement that was given up after its time."""


@dataclass(frozen=True, slots=True)
class Steered:
    """What became of an instance. `already`: it was so before, and nothing was done."""

    instance_id: UUID
    status: InstanceStatus
    already: bool = False
    said: str | None = None
    """What whoever asked should know besides."""


@dataclass(frozen=True, slots=True)
class Hand:
    """Whose hand steers: where, as whom, and how the first messages of new tasks are sent after a commit.

    Without a way to send them the schedulers are woken, which then do it.
    """

    database: Database
    context: Context
    send: Send | None = None


def steer(hand: Hand, instance_id: UUID, decide: Callable[[Desk, Run], T], *, least: Role = Role.OPERATOR) -> T:
    """Lock an instance, let `decide` decide about it as the hand's user, write that, and send what follows.

    Raises NotFoundError; TransientError where a worker keeps it locked for too long; what `decide` raises.
    """

    def body(desk: Desk) -> T:
        actions.require_role(desk.connection, least)
        return decide(desk, locked(desk, instance_id))

    return in_transaction(hand, body)


def in_transaction(hand: Hand, body: Callable[[Desk], T]) -> T:
    """Let `body` decide at a desk, write what it decided, commit, and send what follows."""

    def once() -> tuple[T, Sequence[Message]]:
        with hand.database.transaction(hand.context) as connection:
            desk = Desk(connection, hand.context.org_id, clock.now(connection), sends=hand.send is not None)
            result = body(desk)
            desk.write()
            if desk.leaves:
                maintenance.wake_schedulers(connection)
            return result, desk.messages

    result, messages = _plainly(once)
    if messages and hand.send is not None:
        hand.send(messages)
    return result


def locked(desk: Desk, instance_id: UUID) -> Run:
    """Lock an instance and return its run; the desk's time is then read again, as the lock may have been waited for."""
    desk.lock([instance_id])
    run = desk.runs.get(instance_id)
    if run is None:
        raise missing(instance_id)
    desk.now, desk.begun = clock.now(desk.connection), clock.monotonic()
    return run


def missing(instance_id: UUID) -> NotFoundError:
    """Return the error for an instance that is not there."""
    message = f"there is no run {instance_id} of a workflow in this org"
    return NotFoundError.of("INSTANCE", message, "see `cmis workflows instances`")


def step_of(run: Run, step_id: str) -> str:
    """Return the id of a step that the run has; raises NotFoundError."""
    if step_id not in run.definition.steps:
        listed = ", ".join(list(run.definition.steps)[:20])
        raise NotFoundError.of("STEP", f"the workflow has no step {shown(step_id)}", f"it has {listed}")
    return step_id


def refuse(field: str, message: str, remedy: str) -> ConflictError:
    """Return the error for what the present state refuses."""
    return ConflictError.of(field, message, remedy)


def checked_note(note: str | None, field: str = "--note") -> str | None:
    """Return a note without blanks around it; raises InputError for one that is blank, too long or cannot be kept."""
    if note is None:
        return None
    refuse_unstorable(note, field, 0)
    if not 0 < len(note.strip()) <= MAX_NOTE:
        raise InputError.of(field, f"must be a text of 1 to {MAX_NOTE} characters", "say it in so many")
    return note.strip()


def entry(desk: Desk, run: Run, action: AuditAction, **details: Any) -> dict[str, Any]:
    """Return an entry of the audit log about an instance."""
    return {
        "audit_id": uuid7(desk.now),
        "action": action.value,
        "entity_type": "instance",
        "entity_id": run.instance_id,
        "details": {name: value for name, value in details.items() if value is not None},
    }


def _plainly(once: Callable[[], T]) -> T:
    try:
        return repeat_on_conflict(once)
    except DBAPIError as error:
        if sqlstate(error) == _ILLEGAL:
            raise refuse("INSTANCE", "is in another state by now", "look at it, and try again") from error
        if sqlstate(error) == _TOO_LONG:
            raise TransientError("a worker is at it, and kept it locked for too long: try again") from error
        raise
