"""Effects as people see them in lists: whose they are, on what, and why one is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.store import campaigns, rules, step_effects

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection


def by(row: Mapping[str, Any]) -> str | None:
    """Return whose effect it is: a rule's, or a step's of a workflow."""
    if row["instance_id"] is None:
        return None if row["rule"] is None else str(row["rule"])
    return f"{row['workflow']}: {row['step_id']}"


def waits_or_failed(row: Mapping[str, Any]) -> str | None:
    """Say why an effect is not there: what it waits for, or how it failed."""
    failed = (row["error"] or {}).get("message")
    return "; ".join(filter(None, [row["waits_for"] and f"waits: {row['waits_for']}", failed])) or None


def named(connection: Connection, org_id: UUID, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to effects the names of their rule, or workflow, and of their campaign."""
    of_rules = rules.names(connection, org_id)
    runs = {row["instance_id"] for row in rows} - {None}
    of_runs = step_effects.workflows(connection, org_id, list(runs))
    of_campaigns = campaigns.names(connection, org_id, list({row["entity_id"] for row in rows}))
    return [
        {
            **row,
            "rule": of_rules.get(row["rule_id"]),
            "workflow": of_runs.get(row["instance_id"]),
            "campaign": of_campaigns.get(row["entity_id"]),
        }
        for row in rows
    ]
