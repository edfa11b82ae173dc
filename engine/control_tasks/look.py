"""Look at one task: its row, its attempts, what it carries; and why it is not done yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.db import ENGINE_ACTOR, RESERVED_ORG, Context, switch
from engine.control_tasks.carried import carried
from engine.control_tasks.find import find
from engine.store import publishing, task_lists
from engine.task_reasons import AHEAD_COUNTED, Facts, reasons

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Database
    from engine.control_tasks.find import Found
    from engine.task_reasons import Fleet, Reason


@dataclass(frozen=True, slots=True)
class Seen:
    """A task as its org may see it."""

    row: Row[Any]
    shared: bool
    attempts: Sequence[Row[Any]]
    carries: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds back messages: those of one org that are in flight in a queue, and all that wait in it."""

    org_in_flight: int
    queue_waiting: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the database does not know of a task's surroundings; None where it could not be found out."""

    messages: int | None = None
    """Messages that wait in the task's queue."""
    fleet: Fleet | None = None


@dataclass(frozen=True, slots=True)
class Why:
    """Why a task is not done, what holds it back most first."""

    task_id: UUID
    kind: str
    queue: str
    state: str
    reasons: list[Reason]


def show(database: Database, context: Context, task_id: UUID) -> Seen:
    """Return a task with its attempts and what it carries; raises NotFoundError."""
    with database.transaction(context) as connection:
        found = find(connection, context, task_id)
        attempts = _attempts(connection, context, found, task_id)
        carries = carried(connection, context.org_id, found.row.kind, found.payload)
    return Seen(found.row, found.shared, attempts, carries)


def why(
    database: Database, context: Context, task_id: UUID, limits: Limits, around: Callable[[str], Surroundings]
) -> Why:
    """Say why a task is not done, or how it ended; raises NotFoundError.

    `around` says of a queue what is around it; it is asked while no transaction is open.
    """
    with database.transaction(context) as connection:
        found = find(connection, context, task_id)
        row = found.row
        standing = publishing.standing(connection, context.org_id, row.queue, default=limits.org_in_flight)
        ahead = 0 if found.shared else publishing.ahead(connection, context.org_id, task_id, bound=AHEAD_COUNTED)
    seen = around(row.queue)
    facts = Facts(
        row,
        limits.queue_waiting,
        standing.in_flight,
        None if found.shared else standing.cap,
        seen.messages,
        seen.fleet,
        found.shared,
        ahead,
    )
    return Why(row.task_id, row.kind, row.queue, row.state, reasons(facts))


def _attempts(connection: Connection, context: Context, found: Found, task_id: UUID) -> Sequence[Row[Any]]:
    if not found.shared:
        return task_lists.attempts(connection, context.org_id, task_id)
    switch(connection, Context(RESERVED_ORG, ENGINE_ACTOR))
    rows = task_lists.attempts(connection, RESERVED_ORG, task_id, shared=True)
    switch(connection, context)
    return rows
