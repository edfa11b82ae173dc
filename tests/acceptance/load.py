"""Orgs with many jobs that are due at once, made by SQL as the app role."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from core import clock
from core.db import CLI_ACTOR, Context, Database, switch
from core.ids import uuid7
from engine.store import orgs, rules
from models import Campaign, CampaignMetric, ScheduledJob

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

COSTLY = [{"field": "cpa", "operator": ">", "value": 50}]
NOTIFY = [{"type": "notify", "params": {"message": "costly"}}]
_CAMPAIGNS = 5


@dataclass(frozen=True, slots=True)
class DueOrg:
    """An org of five campaigns, one of them costly, and rules whose jobs are due."""

    context: Context
    rule_ids: tuple[UUID, ...]


def create_due_org(database: Database, name: str, *, rules_: int, jobs_per_rule: int, **columns: Any) -> DueOrg:
    """Make an org with `rules_` rules, each the target of `jobs_per_rule` jobs that were due a minute ago."""
    with database.transaction(None) as connection:
        now = clock.now(connection)
        org = orgs.OrgRef(uuid7(now), name, "Europe/Berlin")
        orgs.create(connection, org, actor_id=CLI_ACTOR, admin_id=uuid7(now), admin_email=None)
        context = Context(org.org_id, CLI_ACTOR)
        switch(connection, context)
        _create_campaigns(connection, context, now)
        rule_ids = tuple(uuid7(now) for _ in range(rules_))
        rules.create(connection, [_rule(context, rule_id, columns, now) for rule_id in rule_ids])
        connection.execute(insert(ScheduledJob), list(_jobs(context, rule_ids, jobs_per_rule, now)))
    return DueOrg(context, rule_ids)


def _create_campaigns(connection: Connection, context: Context, now: datetime) -> None:
    ids = [uuid7(now) for _ in range(_CAMPAIGNS)]
    key = {"org_id": context.org_id}
    dates = {"created_at": now, "updated_at": now}
    connection.execute(
        insert(Campaign),
        [
            key | {"campaign_id": one, "name": f"campaign {n}", "status": "active", "budget": Decimal(100)} | dates
            for n, one in enumerate(ids)
        ],
    )
    connection.execute(
        insert(CampaignMetric),
        [
            key
            | {"campaign_id": one, "date": (now - timedelta(days=2)).date(), "observed_at": now}
            | {"spend": Decimal(60 if n == 0 else 10), "conversions": Decimal(1)}
            for n, one in enumerate(ids)
        ],
    )


def _rule(context: Context, rule_id: UUID, columns: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "org_id": context.org_id,
        "rule_id": rule_id,
        "name": f"rule {rule_id}",
        "conditions": COSTLY,
        "actions": NOTIFY,
        "status": "active",
        "cooldown_minutes": 0,
        "owner_id": CLI_ACTOR,
        "created_at": now,
        "updated_at": now,
    } | columns


def _jobs(context: Context, rule_ids: tuple[UUID, ...], per_rule: int, now: datetime) -> Iterator[dict[str, Any]]:
    due = now.replace(microsecond=0) - timedelta(minutes=1)
    for rule_id in rule_ids:
        for number in range(per_rule):
            yield {
                "org_id": context.org_id,
                "job_id": uuid7(now),
                "name": f"{rule_id} {number}",
                "target_type": "rule",
                "rule_id": rule_id,
                "schedule_type": "once",
                "start_date": due,
                "anchor_at": due,
                "next_run_at": due,
                "owner_id": CLI_ACTOR,
                "created_at": now,
                "updated_at": now,
            }
