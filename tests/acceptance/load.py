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
    from collections.abc import Mapping, Sequence
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
        due = {"start_date": now.replace(microsecond=0) - timedelta(minutes=1)}
        once = [(rule_id, due) for rule_id in rule_ids for _ in range(jobs_per_rule)]
        create_jobs(connection, context, once)
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


def create_jobs(connection: Connection, context: Context, jobs: Sequence[tuple[UUID, Mapping[str, Any]]]) -> list[UUID]:
    """Make a job for each rule and columns: with `start_date` one that fires once then; returns their ids."""
    now = clock.now(connection)
    rows = [_job(context, rule_id, columns, now) for rule_id, columns in jobs]
    if rows:
        connection.execute(insert(ScheduledJob), rows)
    return [row["job_id"] for row in rows]


def _job(context: Context, rule_id: UUID, columns: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    due = columns.get("start_date", now)
    job_id = uuid7(now)
    defaults = {
        "org_id": context.org_id,
        "job_id": job_id,
        "name": f"job {job_id}",
        "target_type": "rule",
        "rule_id": rule_id,
        "schedule_type": "once",
        "cron_expression": None,
        "overlap": "skip",
        "start_date": due,
        "anchor_at": due,
        "next_run_at": due,
        "owner_id": CLI_ACTOR,
        "created_at": now,
        "updated_at": now,
    }
    return defaults | dict(columns)
