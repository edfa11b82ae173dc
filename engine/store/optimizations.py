"""Optimisations: their results, and the executions that each is made of."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from core.ids import uuid7_floor
from models import AutomationExecution, Optimization

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

_MARGIN = timedelta(seconds=1)
_SHOWN = ("execution_id", "rule_id", "status", "skip_reason", "results", "attempt")
_TALLY = text("""
SELECT status, acted_on IS NOT NULL AS acted, results ? 'held' AS held, count(*) AS executions
  FROM cmis.automation_executions
 WHERE org_id = :org_id AND execution_id = ANY (:ids) AND execution_id BETWEEN :low AND :high
 GROUP BY 1, 2, 3
""").bindparams(bindparam("ids", type_=ARRAY(Uuid())))


class Tally(NamedTuple):
    """How many executions ended in one way."""

    status: str
    acted: bool
    held: bool
    """Whether they have an effect that waits for approval."""
    executions: int


def create(connection: Connection, values: Mapping[str, Any]) -> None:
    """Insert a result."""
    connection.execute(insert(Optimization), values)


def tally(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> list[Tally]:
    """Count executions by their status, by whether they acted and whether they hold an effect."""
    if not ids:
        return []
    values = {"org_id": org_id, "ids": list(ids), "low": min(ids), "high": max(ids)}
    return [Tally(*row) for row in connection.execute(_TALLY, values)]


def get(connection: Connection, org_id: UUID, optimization_id: UUID) -> Row[Any] | None:
    """Return one result."""
    table = Optimization
    query = select(table.__table__).where(table.org_id == org_id, table.optimization_id == optimization_id)
    return connection.execute(query).one_or_none()


def listing(connection: Connection, org_id: UUID, *, since: datetime, limit: int) -> Sequence[Row[Any]]:
    """Return results newest first, none made before `since`."""
    table = Optimization
    query = select(table.__table__).where(table.org_id == org_id, table.optimization_id >= uuid7_floor(since))
    return connection.execute(query.order_by(table.optimization_id.desc()).limit(limit)).all()


def executions_of(connection: Connection, optimization: Row[Any]) -> Sequence[Row[Any]]:
    """Return what came of each rule of an optimisation, without traces; one that is retried comes later."""
    table = AutomationExecution
    # Their ids are made when it starts, whenever they end.
    low, high = (uuid7_floor(at) for at in (optimization.started_at - _MARGIN, optimization.finished_at + _MARGIN))
    query = select(*(table.__table__.c[name] for name in _SHOWN)).where(
        table.org_id == optimization.org_id, table.execution_id.between(low, high)
    )
    named = table.context["optimization_id"].astext == str(optimization.optimization_id)
    return connection.execute(query.where(named).order_by(table.rule_id)).all()
