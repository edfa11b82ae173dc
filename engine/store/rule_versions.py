"""The versions of rules: written by a trigger on the rules alone, read by people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import case, select

from models import RuleVersion, User

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row, Select


def listing(connection: Connection, org_id: UUID, rule_id: UUID, *, limit: int) -> Sequence[Row[Any]]:
    """Return a rule's versions, newest first, with who made each (`user`: an address, or a system actor's name)."""
    query = _of_rule(org_id, rule_id).order_by(RuleVersion.version.desc())
    return connection.execute(query.limit(limit)).all()


def some(connection: Connection, org_id: UUID, rule_id: UUID, versions: Sequence[int]) -> dict[int, Row[Any]]:
    """Return those of the versions that are kept; older ones than the log of versions are not."""
    rows = connection.execute(_of_rule(org_id, rule_id).where(RuleVersion.version.in_(versions)))
    return {row.version: row for row in rows}


def _of_rule(org_id: UUID, rule_id: UUID) -> Select[Any]:
    table = RuleVersion
    who = case((User.is_system, User.name), else_=User.email).label("user")
    columns = (table.rule_id, table.version, table.created_at, table.user_id, who, table.definition)
    joined = select(*columns).outerjoin(User, User.user_id == table.user_id)
    return joined.where(table.org_id == org_id, table.rule_id == rule_id)
