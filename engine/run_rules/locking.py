"""What a plan stands on: what is remembered of the time before it, and whether its facts still hold under locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from engine.run_rules.plan import changes_budgets, conflicting_versions, touched
from engine.run_rules.state import Asked, Memory
from engine.schedule.zones import local_day, zone
from engine.store import campaigns, remembered

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.run_rules.state import Overlay, Run

PLANS: Final = 3
"""How often a plan is made again because its facts have moved on; then the item is retried."""
MOVING: Final = "campaigns kept changing while their rules were planned"


def remember(connection: Connection, org_id: UUID, rule_ids: Sequence[UUID]) -> tuple[Row[Any], Memory]:
    """Read the context's org as it is now, and what throttles, guardrails and approvals of locked rules remember."""
    org = remembered.read(connection, org_id, rule_ids)
    last_acted = {}
    if org.rule_ids:
        last_acted = dict(zip(zip(org.rule_ids, org.entity_ids, strict=True), org.acted_at, strict=True))
    held = {Asked.read(*asked) for asked in org.asked or ()}
    today = local_day(org.now, zone(org.timezone))
    return org, Memory(org.now, today, last_acted, held, frozenset(org.never_touch), org_id=org_id, org_name=org.name)


def facts_hold(connection: Connection, org_id: UUID, runs: list[Run], overlays: list[Overlay], memory: Memory) -> bool:
    """Lock what the plan touches, and say whether that still is what it was planned on."""
    ids = touched(runs)
    locked = campaigns.lock(connection, org_id, ids) if ids else {}
    return not conflicting_versions(runs, locked, overlays) and not _day_moved(connection, org_id, runs, memory)


def _day_moved(connection: Connection, org_id: UUID, runs: list[Run], memory: Memory) -> bool:
    """Lock the org's budget day, if the plan needs it, and say whether its sum was another one while planning."""
    if not changes_budgets(runs):
        return False
    campaigns.lock_budget_day(connection, org_id, memory.today)
    planned, memory.net = memory.net, campaigns.net_changes(connection, org_id, memory.today)
    return planned != memory.net
