"""What a backtest reads: campaigns and what changed them since, metrics with the times at which they were known, jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.types import Uuid

from models import ScheduledJob

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

_CAMPAIGNS = text("""
SELECT campaign_id, name, platform, objective, status, budget, budget_type, currency, bid_amount, tags, external_id,
       start_date, end_date
  FROM cmis.campaigns WHERE org_id = :org_id AND (:entity_id IS NULL OR campaign_id = :entity_id) ORDER BY campaign_id
""").bindparams(bindparam("entity_id", type_=Uuid()))
# Changes by people stand there as campaign_updated, those by rules and by whoever took these back under names of their own.
_CHANGES = text("""
SELECT created_at, entity_id, before, after FROM cmis.automation_audit_log
 WHERE org_id = :org_id AND action IN ('campaign_updated', 'action_taken', 'action_undone') AND created_at > :since
   AND entity_type = 'campaign' AND before <> '{}'
   AND (:entity_id IS NULL OR entity_id = :entity_id)
 ORDER BY created_at DESC, audit_id DESC
""").bindparams(bindparam("entity_id", type_=Uuid()))
_OBSERVATIONS = text("""
SELECT campaign_id, date, observed_at, superseded_at, impressions, clicks, conversions, spend, revenue
  FROM cmis.campaign_metrics
 WHERE org_id = :org_id AND campaign_id BETWEEN :low AND :high AND date BETWEEN :first AND :last
   AND observed_at <= :until AND (superseded_at IS NULL OR superseded_at > :since)
 ORDER BY campaign_id, date, observed_at
""")
_COUNT = text("""
SELECT count(*) FROM cmis.campaign_metrics
 WHERE org_id = :org_id AND date BETWEEN :first AND :last AND (:entity_id IS NULL OR campaign_id = :entity_id)
""").bindparams(bindparam("entity_id", type_=Uuid()))


def campaigns(connection: Connection, org_id: UUID, entity_id: UUID | None) -> Sequence[Row[Any]]:
    """Return the org's campaigns by id, archived ones too; or the one of `entity_id`."""
    return connection.execute(_CAMPAIGNS, {"org_id": org_id, "entity_id": entity_id}).all()


def changes(connection: Connection, org_id: UUID, entity_id: UUID | None, *, since: datetime) -> Sequence[Row[Any]]:
    """Return what changed campaigns' columns after `since`, newest first: created_at, entity_id, before, after."""
    return connection.execute(_CHANGES, {"org_id": org_id, "entity_id": entity_id, "since": since}).all()


def observations(
    connection: Connection,
    org_id: UUID,
    *,
    ids: tuple[UUID, UUID],
    days: tuple[date, date],
    known: tuple[datetime, datetime],
) -> Sequence[Row[Any]]:
    """Return the campaign-days of a range of ids and of days that were known at some time within `known`.

    By campaign, day and time of observation; of restated days each observation.
    """
    bounds = {"low": ids[0], "high": ids[1], "first": days[0], "last": days[1], "since": known[0], "until": known[1]}
    return connection.execute(_OBSERVATIONS, {"org_id": org_id} | bounds).all()


def count_observations(connection: Connection, org_id: UUID, entity_id: UUID | None, *, days: tuple[date, date]) -> int:
    """Return how many observations there are of a range of days."""
    values = {"org_id": org_id, "entity_id": entity_id, "first": days[0], "last": days[1]}
    return int(connection.execute(_COUNT, values).scalar_one())


def jobs_of(connection: Connection, org_id: UUID, rule_id: UUID) -> Sequence[Row[Any]]:
    """Return the jobs of a rule, whatever their status, oldest first."""
    table = ScheduledJob.__table__
    query = select(table).where(table.c.org_id == org_id, table.c.rule_id == rule_id)
    return connection.execute(query.order_by(table.c.job_id)).all()
