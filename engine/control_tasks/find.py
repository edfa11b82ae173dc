"""Find the task that a person names: one of their org, or one of the reserved org that carries work of theirs.

Chunks whose evaluations are of several orgs belong to none of them. Of such a one an org is shown its own share.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.db import ENGINE_ACTOR, RESERVED_ORG, Context, switch
from core.errors import NotFoundError
from engine.store import task_lists

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection, Row


@dataclass(frozen=True, slots=True)
class Found:
    """A task as its org may see it."""

    row: Row[Any]
    """The task's row, with what says why it is not done. Of a shared one the payload is everybody's: use `payload`."""
    payload: dict[str, Any]
    """What it carries of the org's."""
    shared: bool = False


def find(connection: Connection, context: Context, task_id: UUID) -> Found:
    """Return a task; raises NotFoundError. The transaction is the context's."""
    row = task_lists.facts(connection, context.org_id, task_id)
    found = shared(connection, context, task_id) if row is None else Found(row, row.payload)
    if found is None:
        raise missing(task_id)
    return found


def shared(connection: Connection, context: Context, task_id: UUID) -> Found | None:
    """Return a task of several orgs that carries work of the context's; None if it is none."""
    switch(connection, Context(RESERVED_ORG, ENGINE_ACTOR))
    row = task_lists.facts(connection, RESERVED_ORG, task_id)
    switch(connection, context)
    if row is None:
        return None
    groups = _share(row.payload, str(context.org_id))
    return Found(row, {"groups": groups}, shared=True) if groups else None


def _share(payload: Any, org_id: str) -> list[dict[str, Any]]:
    """Return the groups of a chunk that are of an org; what cannot be read is nobody's."""
    groups = payload.get("groups") if isinstance(payload, dict) else None
    listed = groups if isinstance(groups, list) else []
    return [group for group in listed if isinstance(group, dict) and group.get("org_id") == org_id]


def missing(task_id: UUID) -> NotFoundError:
    """Return the error for a task that is not there."""
    message = f"there is no task {task_id} in this org"
    remedy = "see `cmis tasks list`; what ended well is deleted after 7 days"
    return NotFoundError.of("TASK", message, remedy)
