"""Runs of workflows as people look at them: lists, and one run with its steps. What may be large is read on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from models import WorkflowInstance, WorkflowStep, WorkflowTemplate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row, Select

_LARGE: Final = frozenset({"context_data", "output_data"})
_LARGE_OF_STEPS: Final = frozenset({"input_data", "output_data"})


def listing(
    connection: Connection,
    org_id: UUID,
    *,
    template_id: UUID | None = None,
    status: str | None = None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Return runs, newest first, with the names of their templates, without contexts and outputs."""
    table, template = WorkflowInstance, WorkflowTemplate
    columns = [column for column in table.__table__.c if column.name not in _LARGE]
    query: Select[Any] = select(*columns, template.name.label("template")).join(
        template, (template.org_id == table.org_id) & (template.template_id == table.template_id)
    )
    query = query.where(table.org_id == org_id)
    if template_id is not None:
        query = query.where(table.template_id == template_id)
    if status is not None:
        query = query.where(table.status == status)
    return connection.execute(query.order_by(table.instance_id.desc()).limit(limit)).all()


def get(connection: Connection, org_id: UUID, instance_id: UUID) -> Row[Any] | None:
    """Return one run with the name of its template."""
    table, template = WorkflowInstance, WorkflowTemplate
    query = select(table.__table__, template.name.label("template")).join(
        template, (template.org_id == table.org_id) & (template.template_id == table.template_id)
    )
    query = query.where(table.org_id == org_id, table.instance_id == instance_id)
    return connection.execute(query).one_or_none()


def status(connection: Connection, org_id: UUID, instance_id: UUID) -> str | None:
    """Return the status of a run; None if there is none of this id."""
    table = WorkflowInstance
    query = select(table.status).where(table.org_id == org_id, table.instance_id == instance_id)
    return connection.execute(query).scalar_one_or_none()


def steps(connection: Connection, org_id: UUID, instance_id: UUID, *, outputs: bool) -> Sequence[Row[Any]]:
    """Return the steps of a run in the order of its definition; what went in and came out with `outputs` only."""
    table = WorkflowStep
    left_out = frozenset() if outputs else _LARGE_OF_STEPS
    columns = [column for column in table.__table__.c if column.name not in left_out]
    query = select(*columns).where(table.org_id == org_id, table.instance_id == instance_id)
    return connection.execute(query.order_by(table.position, table.step_id)).all()


def descendants(connection: Connection, org_id: UUID, instance_id: UUID) -> Sequence[Row[Any]]:
    """Return the runs that a run's steps started and wait for, and its forks."""
    table = WorkflowInstance
    names = ("instance_id", "template_id", "status", "parent_step_id", "forked_from", "created_at")
    query: Select[Any] = select(*(table.__table__.c[name] for name in names))
    query = query.where(
        table.org_id == org_id, (table.parent_instance_id == instance_id) | (table.forked_from == instance_id)
    )
    return connection.execute(query.order_by(table.instance_id)).all()


def matching(
    connection: Connection, org_id: UUID, *, template_id: UUID | None, statuses: Sequence[str], limit: int
) -> list[UUID]:
    """Return the ids of runs in these states, oldest first."""
    table = WorkflowInstance
    query = select(table.instance_id).where(table.org_id == org_id, table.status.in_(statuses))
    if template_id is not None:
        query = query.where(table.template_id == template_id)
    return list(connection.execute(query.order_by(table.instance_id).limit(limit)).scalars())
