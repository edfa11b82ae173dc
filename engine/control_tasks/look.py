"""Look at one task: its row, its attempts, what it carries; and why it is not done yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.db import ENGINE_ACTOR, RESERVED_ORG, Context, switch
from engine.control_tasks.carried import carried
from engine.control_tasks.find import find
from engine.store import task_lists
from engine.task_reasons import Facts, reasons

if TYPE_CHECKING:
    from collections.abc import Sequence
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
    """What holds back work that is due: an org's unfinished tasks, and the messages of one queue of the broker."""

    org_unfinished: int
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


def locate(database: Database, context: Context, task_id: UUID) -> Found:
    """Return a task with all that the database knows of why it is not done; raises NotFoundError."""
    with database.transaction(context) as connection:
        return find(connection, context, task_id)


def explain(found: Found, limits: Limits, around: Surroundings) -> Why:
    """Say why a task is not done, or how it ended."""
    row = found.row
    facts = Facts(row, limits.org_unfinished, limits.queue_waiting, around.messages, around.fleet, found.shared)
    return Why(row.task_id, row.kind, row.queue, row.state, reasons(facts))


def _attempts(connection: Connection, context: Context, found: Found, task_id: UUID) -> Sequence[Row[Any]]:
    if not found.shared:
        return task_lists.attempts(connection, context.org_id, task_id)
    switch(connection, Context(RESERVED_ORG, ENGINE_ACTOR))
    rows = task_lists.attempts(connection, RESERVED_ORG, task_id)
    switch(connection, context)
    return rows
