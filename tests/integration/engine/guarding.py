"""Bounds for an org, raw SQL against them, and effects that somebody made up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from core import clock
from core.ids import uuid7
from engine.store import executions, orgs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from core.db import Context
    from tests.world import Org

GUARDRAIL: Final = "CM010"
DECREASE: Final = [{"type": "decrease_budget", "value": 50}]
"""Held where the budget is 12: the floor is 10."""


def bind(org: Org, *, never_touch: Sequence[UUID] = (), **bounds: float) -> None:
    """Replace what binds the org, as its admin."""
    with org.world.app.transaction(org.context) as connection:
        orgs.set_guardrails(connection, bounds, never_touch)


def raw(org: Org, *statements: str, context: Context | None = None, **values: Any) -> str | None:
    """Execute SQL in one transaction as the app role; returns the guardrail or SQLSTATE that refused it, if any did."""
    try:
        with org.world.app.transaction(context or org.context) as connection:
            for statement in statements:
                connection.execute(text(statement), values)
    except DBAPIError as error:
        return refusal(error)
    return None


def refusal(error: DBAPIError) -> str:
    """Return the guardrail that the database named, else the SQLSTATE."""
    state: str = error.orig.sqlstate  # type: ignore[union-attr]
    return str(error.orig.diag.constraint_name) if state == GUARDRAIL else state  # type: ignore[union-attr]


def make_up(
    connection: Connection,
    org: Org,
    campaign: UUID,
    after: Mapping[str, Any],
    *,
    rule: UUID | None = None,
    status: str = "succeeded",
    execution: UUID | None = None,
) -> UUID:
    """Insert an effect that no engine planned, as the app role may; returns its id."""
    now = clock.now(connection)
    action_id, execution_id = uuid7(now), execution or uuid7(now)
    row = {
        "action_id": action_id,
        "execution_id": execution_id,
        "rule_id": rule or uuid7(now),
        "position": 0,
        "type": "adjust_budget",
        "params": {},
        "entity_id": campaign,
        "before": {},
        "after": after,
        "idempotency_key": str(action_id),
        "status": status,
        "error": None,
    }
    executions.insert_actions(connection, org.id, execution_id, [row], now=now)
    return action_id


def named(org: Org, campaign: UUID, action: UUID, change: str) -> str:
    """Return the statement that changes a campaign in an action's name."""
    return (
        f"UPDATE cmis.campaigns SET {change}, last_action_id = '{action}' WHERE campaign_id = '{campaign}' -- {org.id}"
    )


def made_up(org: Org, campaign: UUID, change: str, after: Mapping[str, Any], **row: Any) -> str | None:
    """Change a campaign in the name of an effect that is made up for it; returns what refused it. Nothing stays."""
    try:
        with org.world.app.transaction(org.context) as connection:
            action = make_up(connection, org, campaign, after, **row)
            connection.execute(text(named(org, campaign, action, change)))
            connection.rollback()
    except DBAPIError as error:
        return refusal(error)
    return None


def forget_the_made_up(org: Org) -> None:
    """Take away effects that no engine planned and permits that nobody used: the invariants would find them."""
    with psycopg.connect(org.world.site.urls.migration) as connection:
        connection.execute(
            "DELETE FROM cmis.automation_actions a WHERE NOT EXISTS ("
            "SELECT FROM cmis.automation_executions e WHERE e.execution_id = a.execution_id)"
        )
        connection.execute("DELETE FROM cmis.permits")


def held_action(org: Org, *, budget: float = 12, **rule: Any) -> tuple[UUID, UUID]:
    """Have a rule hold the decrease of a budget; returns the campaign and the action."""
    campaign = org.campaign(budget=budget)
    org.evaluate(org.rule(actions=DECREASE, **({"entity_id": campaign} | rule)))
    query = "SELECT action_id FROM cmis.automation_actions WHERE entity_id = :campaign AND status = 'held'"
    return campaign, org.world.one(query, campaign=campaign)
