"""Campaigns: the entities that rules read and change, in pages, and the writes of their effects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from engine.store.statements import with_rows
from models import Campaign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date
    from uuid import UUID

    from sqlalchemy import Connection, Row

_UUIDS = ARRAY(Uuid())
_FACTS = """campaign_id, version, name, platform, objective, status, budget, budget_type, currency, bid_amount, tags,
       external_id, start_date"""
_PAGE = text(f"""
SELECT {_FACTS} FROM cmis.campaigns
 WHERE org_id = :org_id AND status <> 'archived' AND campaign_id > :after ORDER BY campaign_id LIMIT :limit
""")
_SOME = text(f"""
SELECT {_FACTS} FROM cmis.campaigns
 WHERE org_id = :org_id AND status <> 'archived' AND campaign_id = ANY (:ids) ORDER BY campaign_id
""").bindparams(bindparam("ids", type_=_UUIDS))
# One statement, ascending: the lock order of RELIABILITY §2.
_LOCK = text("""
SELECT campaign_id, version FROM cmis.campaigns
 WHERE org_id = :org_id AND campaign_id = ANY (:ids) ORDER BY campaign_id FOR NO KEY UPDATE
""").bindparams(bindparam("ids", type_=_UUIDS))
_APPLY = with_rows("""
UPDATE cmis.campaigns c
   SET status = coalesce(r.status, c.status), budget = coalesce(r.budget, c.budget), last_action_id = r.action_id
  FROM jsonb_to_recordset(:rows) AS r(campaign_id uuid, action_id uuid, status text, budget numeric)
 WHERE c.org_id = :org_id AND c.campaign_id = r.campaign_id
""")
_SUMS = with_rows("""
SELECT m.campaign_id, w.key, sum(m.impressions) AS impressions, sum(m.clicks) AS clicks,
       sum(m.conversions) AS conversions, sum(m.spend) AS spend, sum(m.revenue) AS revenue,
       max(m.observed_at) AS observed_at
  FROM jsonb_to_recordset(:rows) AS w(key text, first date, last date)
  JOIN cmis.campaign_metrics m ON m.date BETWEEN w.first AND w.last
 WHERE m.org_id = :org_id AND m.superseded_at IS NULL AND m.campaign_id BETWEEN :low AND :high
 GROUP BY m.campaign_id, w.key
""")


def page(connection: Connection, org_id: UUID, *, after: UUID, limit: int) -> Sequence[Row[Any]]:
    """Return the next campaigns that a rule over all campaigns looks at (not archived), by id."""
    return connection.execute(_PAGE, {"org_id": org_id, "after": after, "limit": limit}).all()


def some(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Return the campaigns of these ids that rules look at (not archived), by id."""
    return connection.execute(_SOME, {"org_id": org_id, "ids": list(ids)}).all()


def lock(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Lock campaigns in id order until the transaction ends; returns their versions."""
    rows = connection.execute(_LOCK, {"org_id": org_id, "ids": list(ids)})
    return {row.campaign_id: row.version for row in rows}


def apply(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]]) -> int:
    """Write effects (campaign_id, action_id, and status and/or budget), each campaign at most once; returns how many."""
    return connection.execute(_APPLY, {"org_id": org_id, "rows": rows}).rowcount


def sums(
    connection: Connection, org_id: UUID, spans: Mapping[str, tuple[date, date]], *, low: UUID, high: UUID
) -> Sequence[Row[Any]]:
    """Return the metrics' sums per campaign (ids from `low` to `high`) and span of days; a span without rows is absent.

    Rows: campaign_id, the span's key, the five sums (NULL = not reported), observed_at of the newest observation.
    """
    rows = [{"key": key, "first": first, "last": last} for key, (first, last) in spans.items()]
    return connection.execute(_SUMS, {"org_id": org_id, "rows": rows, "low": low, "high": high}).all()


def listing(connection: Connection, org_id: UUID, *, status: str | None, limit: int) -> Sequence[Row[Any]]:
    """Return campaigns by name, up to `limit`."""
    query = select(Campaign.__table__).where(Campaign.org_id == org_id).order_by(Campaign.name, Campaign.campaign_id)
    if status:
        query = query.where(Campaign.status == status)
    return connection.execute(query.limit(limit)).all()


def create(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert campaigns."""
    connection.execute(insert(Campaign), rows)
