"""What one rule did to one campaign, for people who ask why."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from core.ids import uuid7_floor
from engine.store.actions import MOVED_ON
from engine.store.executions import HELD_SEARCH
from models import AutomationAction, RuleEntityState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

_AHEAD = timedelta(minutes=1)


def memory(connection: Connection, org_id: UUID, rule_id: UUID, entity_id: UUID) -> Row[Any] | None:
    """Return when a rule last acted on an entity (`last_acted_at`), in which execution; None if it never did."""
    table = RuleEntityState
    query = select(table.__table__)
    query = query.where(table.org_id == org_id, table.rule_id == rule_id, table.entity_id == entity_id)
    return connection.execute(query).one_or_none()


def waiting(
    connection: Connection, org_id: UUID, rule_id: UUID, entity_id: UUID, *, now: datetime
) -> Sequence[Row[Any]]:
    """Return the effects of a rule on an entity that keep it from asking again: they wait for approval, or were rejected."""
    table = AutomationAction
    query = select(table.__table__).where(table.org_id == org_id, table.entity_id == entity_id)
    query = query.where(table.rule_id == rule_id, table.status.in_(["held", "rejected"]))
    query = query.where(table.error["code"].astext != MOVED_ON)
    query = query.where(table.action_id.between(uuid7_floor(now - HELD_SEARCH), uuid7_floor(now + _AHEAD)))
    return connection.execute(query.order_by(table.action_id)).all()
