"""Campaigns: the entities that rules read and change, in pages, and the writes of their effects."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, or_, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from core import driver
from engine.rules.document import json_number
from engine.store.statements import with_rows
from models import Campaign

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

_UUIDS = ARRAY(Uuid())
_FACTS = """campaign_id, version, name, platform, objective, status, budget, budget_type, currency, bid_amount, tags,
       external_id, start_date, end_date"""
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
CHANGEABLE = ("status", "budget", "bid_amount", "tags", "name", "objective", "end_date")
"""The columns that effects may change."""
_APPLY = with_rows("""
UPDATE cmis.campaigns c
   SET status = CASE WHEN r.columns ? 'status' THEN r.columns ->> 'status' ELSE c.status END,
       budget = CASE WHEN r.columns ? 'budget' THEN (r.columns ->> 'budget')::numeric ELSE c.budget END,
       bid_amount = CASE WHEN r.columns ? 'bid_amount' THEN (r.columns ->> 'bid_amount')::numeric ELSE c.bid_amount END,
       tags = CASE WHEN r.columns ? 'tags' THEN r.columns -> 'tags' ELSE c.tags END,
       name = CASE WHEN r.columns ? 'name' THEN r.columns ->> 'name' ELSE c.name END,
       objective = CASE WHEN r.columns ? 'objective' THEN r.columns ->> 'objective' ELSE c.objective END,
       end_date = CASE WHEN r.columns ? 'end_date' THEN (r.columns ->> 'end_date')::date ELSE c.end_date END,
       last_action_id = r.action_id
  FROM json_to_recordset(:rows) AS r(campaign_id uuid, action_id uuid, columns jsonb)
 WHERE c.org_id = :org_id AND c.campaign_id = r.campaign_id
""")
_NAMED = text("""
SELECT campaign_id FROM cmis.campaigns
 WHERE org_id = :org_id AND status <> 'archived' AND (campaign_id = :campaign_id OR external_id = :external_id)
   AND (CAST(:platform AS text) IS NULL OR platform = :platform)
 ORDER BY campaign_id LIMIT 2
""").bindparams(bindparam("campaign_id", type_=Uuid()))
_CHANGEABLE = text("""
SELECT campaign_id, status, budget, bid_amount, tags, name, objective, end_date::text AS end_date FROM cmis.campaigns
 WHERE org_id = :org_id AND campaign_id = ANY (:ids)
""").bindparams(bindparam("ids", type_=_UUIDS))
_IDENTITIES = text("""
SELECT campaign_id, external_id, platform, name, version FROM cmis.campaigns
 WHERE org_id = :org_id AND campaign_id = ANY (:ids)
""").bindparams(bindparam("ids", type_=_UUIDS))
_NAMES = text("""
SELECT campaign_id, name FROM cmis.campaigns WHERE org_id = :org_id AND campaign_id = ANY (:ids)
""").bindparams(bindparam("ids", type_=_UUIDS))
# Whoever changes budgets under a limit of the day waits here for whoever is doing so; the last of all locks.
_LOCK_DAY = text("SELECT cmis.lock_budget_day(:org_id, :day)")
_NETS = text("""
SELECT c.currency, sum(coalesce(l.after, 0) - coalesce(l.before, 0)) AS net
  FROM cmis.budget_ledger l JOIN cmis.campaigns c ON c.org_id = l.org_id AND c.campaign_id = l.campaign_id
 WHERE l.org_id = :org_id AND l.day = :day AND l.seq > 1 GROUP BY c.currency
""")
# By campaign and span, each a stretch of the index of current rows: what no rule asks for is not read.
_SUMS = with_rows("""
SELECT c.campaign_id, w.key, s.*
  FROM unnest(:ids) AS c(campaign_id)
 CROSS JOIN json_to_recordset(:rows) AS w(key text, first date, last date)
 CROSS JOIN LATERAL (
   SELECT sum(m.impressions) AS impressions, sum(m.clicks) AS clicks, sum(m.conversions) AS conversions,
          sum(m.spend) AS spend, sum(m.revenue) AS revenue, max(m.observed_at) AS observed_at
     FROM cmis.campaign_metrics m
    WHERE m.org_id = :org_id AND m.superseded_at IS NULL AND m.observed_at <= :now AND m.campaign_id = c.campaign_id
      AND m.date BETWEEN w.first AND w.last) s
 WHERE s.observed_at IS NOT NULL
""").bindparams(bindparam("ids", type_=_UUIDS))


def page(connection: Connection, org_id: UUID, *, after: UUID, limit: int) -> Sequence[Row[Any]]:
    """Return the next campaigns that a rule over all campaigns looks at (not archived), by id."""
    return driver.rows(connection, _PAGE, {"org_id": org_id, "after": after, "limit": limit})


def named(
    connection: Connection,
    org_id: UUID,
    *,
    campaign_id: UUID | None = None,
    external_id: str | None = None,
    platform: str | None = None,
) -> list[UUID]:
    """Return the campaigns of this id, or of this external id, that are not archived; two at most."""
    wanted = {"campaign_id": campaign_id, "external_id": external_id, "platform": platform}
    return [row.campaign_id for row in connection.execute(_NAMED, {"org_id": org_id, **wanted})]


def some(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> Sequence[Row[Any]]:
    """Return the campaigns of these ids that rules look at (not archived), by id."""
    return driver.rows(connection, _SOME, {"org_id": org_id, "ids": list(ids)})


def lock(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Lock campaigns in id order until the transaction ends; returns their versions."""
    rows = driver.rows(connection, _LOCK, {"org_id": org_id, "ids": list(ids)})
    return {row.campaign_id: row.version for row in rows}


def apply(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]]) -> int:
    """Write effects (campaign_id, action_id, `columns` of CHANGEABLE), each campaign at most once; returns how many.

    The action id None: no action, but a person who takes one back.
    """
    return driver.changed(connection, _APPLY, {"org_id": org_id, "rows": rows})


def changeable(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> dict[UUID, dict[str, Any]]:
    """Return the columns that effects may change, of campaigns by id, JSON-ready as effects have them."""
    rows = connection.execute(_CHANGEABLE, {"org_id": org_id, "ids": list(ids)})
    return {
        row.campaign_id: {
            name: json_number(value) if isinstance(value, Decimal) else value for name, value in row._asdict().items()
        }
        for row in rows
    }


def lock_budget_day(connection: Connection, org_id: UUID, day: date) -> None:
    """Keep other changes of budgets under a limit of this day of the org waiting until the transaction ends."""
    connection.execute(_LOCK_DAY, {"org_id": org_id, "day": day})


def net_changes(connection: Connection, org_id: UUID, day: date) -> dict[str | None, Decimal]:
    """Return the sum of an org's budget changes on a day of its zone, per currency; new campaigns do not count."""
    rows = connection.execute(_NETS, {"org_id": org_id, "day": day})
    return {row.currency: row.net for row in rows}


def sums(
    connection: Connection,
    org_id: UUID,
    spans: Mapping[str, tuple[date, date]],
    ids: Sequence[UUID],
    *,
    now: datetime,
) -> Sequence[Row[Any]]:
    """Return the metrics' sums per campaign of these ids and span of days; a span without rows is absent.

    What was imported ahead of the clock counts only once it is `now`: a rule sees no more than a replay of it will.

    Rows: campaign_id, the span's key, the sums in the order of BASE_METRICS (NULL = not reported), observed_at of the
    newest observation.
    """
    rows = [{"key": key, "first": first, "last": last} for key, (first, last) in spans.items()]
    return driver.rows(connection, _SUMS, {"org_id": org_id, "rows": rows, "ids": list(ids), "now": now})


def listing(connection: Connection, org_id: UUID, *, status: str | None, limit: int) -> Sequence[Row[Any]]:
    """Return campaigns by name, up to `limit`."""
    query = select(Campaign.__table__).where(Campaign.org_id == org_id).order_by(Campaign.name, Campaign.campaign_id)
    if status:
        query = query.where(Campaign.status == status)
    return connection.execute(query.limit(limit)).all()


def find(connection: Connection, org_id: UUID, reference: UUID | str) -> Sequence[Row[Any]]:
    """Return the campaigns with this id, or with this exact name; archived ones too."""
    query = select(Campaign.__table__).where(Campaign.org_id == org_id).order_by(Campaign.campaign_id)
    column = Campaign.name if isinstance(reference, str) else Campaign.campaign_id
    return connection.execute(query.where(column == reference)).all()


def names(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the name of each of the campaigns."""
    return {row.campaign_id: row.name for row in connection.execute(_NAMES, {"org_id": org_id, "ids": list(ids)})}


def identities(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> dict[UUID, Row[Any]]:
    """Return (campaign_id, external_id, platform, name, version) of campaigns by id, archived ones too."""
    rows = driver.rows(connection, _IDENTITIES, {"org_id": org_id, "ids": list(ids)})
    return {row.campaign_id: row for row in rows}


def change(connection: Connection, org_id: UUID, campaign_id: UUID, columns: Mapping[str, object]) -> None:
    """Give columns of a campaign other values, as a person does; it is not written where all are the same already."""
    differs = or_(*(getattr(Campaign, column).is_distinct_from(value) for column, value in columns.items()))
    query = update(Campaign).where(Campaign.org_id == org_id, Campaign.campaign_id == campaign_id, differs)
    connection.execute(query.values(columns))


def create(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert campaigns."""
    connection.execute(insert(Campaign), rows)
