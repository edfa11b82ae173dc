"""The frame of what people do to tasks: one transaction each, by an operator or more, the task locked, on record."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

from core import clock
from core.db import repeat_on_conflict
from core.errors import ConflictError, NotFoundError
from core.ids import uuid7
from engine.control_tasks import failures
from engine.control_tasks.find import missing, shared
from engine.store import actions, audit, dead_letters, task_lists
from models.enums import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import TypeAlias
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from models.audit_actions import AuditAction

    Begin: TypeAlias = Callable[[], AbstractContextManager[Connection]]
    Verb: TypeAlias = Callable[["Case"], "Dealt"]

_REMEDY: Final = "`cmis tasks discard` settles it once it has failed or died, whatever it carries"


@dataclass(frozen=True, slots=True)
class Dealt:
    """What became of one task."""

    task_id: UUID
    outcome: Literal["retried", "hastened", "cancelled", "asked_to_stop", "discarded", "unchanged", "refused", "failed"]
    reason: str | None = None
    retried_as: UUID | None = None
    """The task that does its work again."""


@dataclass(frozen=True, slots=True)
class Case:
    """One task that somebody wants something of; it is locked, unless it is shared with other orgs."""

    connection: Connection
    context: Context
    row: Row[Any]
    payload: Mapping[str, Any]
    """What it carries of the org's."""
    note: str | None
    now: datetime
    shared: bool = False

    @property
    def org_id(self) -> UUID:
        """The org of whoever asks."""
        return self.context.org_id

    @property
    def task_id(self) -> UUID:
        """The task."""
        found: UUID = self.row.task_id
        return found

    def record(self, action: AuditAction, **details: Any) -> None:
        """Put on record what is done."""
        about = {"kind": self.row.kind, "was": self.row.state} | details
        entry = {
            "audit_id": uuid7(self.now),
            "action": action.value,
            "entity_type": "task",
            "entity_id": self.task_id,
            "details": about if self.note is None else about | {"note": self.note},
        }
        audit.record(self.connection, self.org_id, [entry], now=self.now)

    def refuse(self, message: str, remedy: str) -> ConflictError:
        """Return the error for what the present state refuses."""
        return ConflictError.of("TASK", f"task {self.task_id} {message}", remedy)


def deal(
    database: Database,
    context: Context,
    verb: Verb,
    task_ids: Iterable[UUID],
    *,
    note: str | None,
    dry_run: bool = False,
) -> Iterator[Dealt]:
    """Do something to each task in a transaction of its own, so that one that refuses or fails keeps no other from it.

    Each is yielded when it is committed, and the next one asked for then. With `dry_run` everything is done, and rolled
    back. Errors that are not about one task come out.
    """
    begin = database.rehearsal if dry_run else database.transaction
    for task_id in task_ids:
        yield _one(partial(begin, context), context, verb, task_id, note)


def _one(begin: Begin, context: Context, verb: Verb, task_id: UUID, note: str | None) -> Dealt:
    def body() -> Dealt:
        with begin() as connection:
            actions.require_role(connection, Role.OPERATOR)
            return verb(_case(connection, context, task_id, note))

    try:
        return repeat_on_conflict(body)
    except (NotFoundError, ConflictError) as error:
        said = "; ".join(f"{problem.message} ({problem.remedy})" for problem in error.problems)
        return Dealt(task_id, "refused", said)
    except failures.MAY_BE_OWN as error:
        reason = failures.own(error)
        if reason is None:
            raise
        return Dealt(task_id, "failed", f"{reason} ({_REMEDY})" if isinstance(error, failures.UNREADABLE) else reason)


def _case(connection: Connection, context: Context, task_id: UUID, note: str | None) -> Case:
    now = clock.now(connection)
    row = dead_letters.lock(connection, context.org_id, task_id)
    if row is not None:
        return Case(connection, context, row, row.payload, note, now)
    if task_lists.get(connection, context.org_id, task_id) is not None:
        message = f"task {task_id} is in somebody's hands at this very moment"
        raise ConflictError.of("TASK", message, "look at it again, `cmis tasks show`, and try again")
    found = shared(connection, context, task_id)
    if found is None:
        raise missing(task_id)
    return Case(connection, context, found.row, found.payload, note, now, shared=True)
