"""Templates of workflows, as people name them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from models import WorkflowTemplate

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from sqlalchemy import Connection, Row


def find(connection: Connection, org_id: UUID, reference: UUID | str) -> Row[Any] | None:
    """Return an org's own template with this id, or with this name (unique in its org)."""
    table = WorkflowTemplate.__table__
    column = table.c.name if isinstance(reference, str) else table.c.template_id
    return connection.execute(select(table).where(table.c.org_id == org_id, column == reference)).one_or_none()


def names(connection: Connection, org_id: UUID, template_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the names of templates of an org."""
    if not template_ids:
        return {}
    table = WorkflowTemplate.__table__
    query = select(table.c.template_id, table.c.name).where(table.c.org_id == org_id)
    return {row.template_id: row.name for row in connection.execute(query.where(table.c.template_id.in_(template_ids)))}
