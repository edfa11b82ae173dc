"""Bundles of rules: an org's own, and what others show to all; the policies decide which those are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, text, update

from models import AutomationWorkflow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import ColumnElement, Connection, Row, Select

_USE = text("SELECT cmis.use_workflow(:org_id, :workflow_id)")


def create(connection: Connection, values: Mapping[str, Any]) -> None:
    """Insert a bundle."""
    connection.execute(insert(AutomationWorkflow), values)


def listing(
    connection: Connection, org_id: UUID, *, category: str | None = None, status: str = "active"
) -> Sequence[Row[Any]]:
    """Return the bundles that the org may read, its own first, by name: all but the rules, which are counted."""
    table = AutomationWorkflow.__table__
    counted = func.jsonb_array_length(table.c.rules).label("rule_count")
    columns: list[ColumnElement[Any]] = [*(column for column in table.c if column.name != "rules"), counted]
    query: Select[Any] = select(*columns).where(table.c.status == status)
    if category is not None:
        query = query.where(table.c.category == category)
    order = (table.c.org_id != org_id, table.c.org_id, table.c.name)
    return connection.execute(query.order_by(*order)).all()


def find(connection: Connection, reference: UUID | str) -> Sequence[Row[Any]]:
    """Return the bundles with this id, or with this exact name, of any org that shows them to the context's."""
    table = AutomationWorkflow
    column = table.name if isinstance(reference, str) else table.workflow_id
    return connection.execute(select(table.__table__).where(column == reference).order_by(table.org_id)).all()


def lock(connection: Connection, org_id: UUID, workflow_id: UUID) -> Row[Any]:
    """Lock one of the org's own bundles until the transaction ends, and return it as it is then."""
    table = AutomationWorkflow
    query = select(table.__table__).where(table.org_id == org_id, table.workflow_id == workflow_id)
    return connection.execute(query.with_for_update(key_share=True)).one()


def change(connection: Connection, org_id: UUID, workflow_id: UUID, values: Mapping[str, Any]) -> None:
    """Write columns of a locked bundle; the triggers audit what differs."""
    table = AutomationWorkflow
    mine = (table.org_id == org_id, table.workflow_id == workflow_id)
    connection.execute(update(table).where(*mine).values(**values))


def use(connection: Connection, org_id: UUID, workflow_id: UUID) -> bool:
    """Count one use of a bundle, whoever owns it; False if it is not there for the context's org (any more)."""
    used: bool = connection.execute(_USE, {"org_id": org_id, "workflow_id": workflow_id}).scalar_one()
    return used
