"""Campaigns as imports know them, and their daily metrics. Rows travel as one JSON document per statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.store.statements import with_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from decimal import Decimal
    from uuid import UUID

    from sqlalchemy import Connection

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class KnownCampaign:
    """A campaign that the org has: its id, and the currency its money is kept in (None = unknown)."""

    campaign_id: UUID
    currency: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """A campaign-day whose stored metrics differ from the file's; metrics in the order of `engine.imports.columns`."""

    campaign_id: UUID
    day: date
    stored: tuple[Decimal | None, ...]
    given: tuple[Decimal | None, ...]


def known_campaigns(connection: Connection, org_id: UUID, keys: Sequence[Row]) -> dict[tuple[str, str], KnownCampaign]:
    """Return (platform, external id) → campaign for those of `keys` (`platform`, `external_id`) that the org has."""
    rows = connection.execute(_KNOWN, {"org_id": org_id, "rows": list(keys)})
    return {(row.platform, row.external_id): KnownCampaign(row.campaign_id, row.currency) for row in rows}


def create_campaigns(connection: Connection, org_id: UUID, campaigns: Sequence[Row], now: datetime) -> int:
    """Insert active campaigns; one that another import has just created is left alone. Returns how many are new."""
    return connection.execute(_CREATE, {"org_id": org_id, "rows": list(campaigns), "now": now}).rowcount


def insert_days(connection: Connection, org_id: UUID, days: Sequence[Row]) -> int:
    """Insert the campaign-days that have no current row. Returns how many had none."""
    return connection.execute(_INSERT_DAYS, {"org_id": org_id, "rows": list(days)}).rowcount


def differing_days(connection: Connection, org_id: UUID, days: Sequence[Row]) -> list[Difference]:
    """Return the campaign-days whose current row differs in a metric that `days` reports, in key order."""
    rows = connection.execute(_DIFFERING, {"org_id": org_id, "rows": list(days)})
    return [Difference(row[0], row[1], tuple(row[2:7]), tuple(row[7:12])) for row in rows]


def restate_days(connection: Connection, org_id: UUID, days: Sequence[Row], now: datetime) -> int:
    """Supersede the current rows that differ and insert the restated ones, observed at `now`.

    A metric that `days` does not report keeps its stored value. Returns how many campaign-days were restated.
    """
    return connection.execute(_RESTATE, {"org_id": org_id, "rows": list(days), "now": now}).rowcount


def day_row(campaign_id: UUID, day: date, observed_at: datetime, values: Mapping[str, Decimal | None]) -> Row:
    """Return one campaign-day as the statements here take it; numbers travel as text, so that none is rounded."""
    metrics = {metric: None if value is None else format(value, "f") for metric, value in values.items()}
    return {"campaign_id": str(campaign_id), "date": day.isoformat(), "observed_at": observed_at.isoformat(), **metrics}


_KNOWN = with_rows("""
SELECT c.platform, c.external_id, c.campaign_id, c.currency
  FROM json_to_recordset(:rows) AS r(platform text, external_id text)
  JOIN cmis.campaigns c ON c.org_id = :org_id AND c.platform = r.platform AND c.external_id = r.external_id
""")

# The order keeps two imports of one file from waiting for each other crosswise.
_CREATE = with_rows("""
INSERT INTO cmis.campaigns (org_id, campaign_id, name, platform, objective, status, currency, external_id, start_date,
                            created_at, updated_at)
SELECT :org_id, r.campaign_id, r.name, r.platform, r.objective, 'active', r.currency, r.external_id, r.start_date,
       :now, :now
  FROM json_to_recordset(:rows) AS r(campaign_id uuid, name text, platform text, objective text, currency text,
                                      external_id text, start_date date)
 ORDER BY r.platform, r.external_id
ON CONFLICT (org_id, platform, external_id) DO NOTHING
""")

_INSERT_DAYS = with_rows("""
INSERT INTO cmis.campaign_metrics (org_id, campaign_id, date, observed_at, impressions, clicks, spend, conversions,
                                   revenue)
SELECT :org_id, r.campaign_id, r.date, r.observed_at, r.impressions, r.clicks, r.spend, r.conversions, r.revenue
  FROM json_to_recordset(:rows) AS r(campaign_id uuid, date date, observed_at timestamptz, impressions bigint,
                                      clicks bigint, spend numeric, conversions numeric, revenue numeric)
 ORDER BY r.campaign_id, r.date
ON CONFLICT (org_id, campaign_id, date) WHERE superseded_at IS NULL DO NOTHING
""")

_DIFFERING = with_rows("""
SELECT r.campaign_id, r.date, m.impressions, m.clicks, m.spend, m.conversions, m.revenue,
       r.impressions, r.clicks, r.spend, r.conversions, r.revenue
  FROM json_to_recordset(:rows) AS r(campaign_id uuid, date date, impressions bigint, clicks bigint, spend numeric,
                                      conversions numeric, revenue numeric)
  JOIN cmis.campaign_metrics m ON m.org_id = :org_id AND m.campaign_id = r.campaign_id AND m.date = r.date
                              AND m.superseded_at IS NULL
 WHERE (coalesce(r.impressions, m.impressions), coalesce(r.clicks, m.clicks), coalesce(r.spend, m.spend),
        coalesce(r.conversions, m.conversions), coalesce(r.revenue, m.revenue))
       IS DISTINCT FROM (m.impressions, m.clicks, m.spend, m.conversions, m.revenue)
 ORDER BY r.campaign_id, r.date
""")

# The insert reads what the update returns: the old row has left the index of current rows before the new one enters.
_RESTATE = with_rows("""
WITH superseded AS (
  UPDATE cmis.campaign_metrics m SET superseded_at = :now
    FROM json_to_recordset(:rows) AS r(campaign_id uuid, date date, impressions bigint, clicks bigint, spend numeric,
                                        conversions numeric, revenue numeric)
   WHERE m.org_id = :org_id AND m.campaign_id = r.campaign_id AND m.date = r.date AND m.superseded_at IS NULL
     AND (coalesce(r.impressions, m.impressions), coalesce(r.clicks, m.clicks), coalesce(r.spend, m.spend),
          coalesce(r.conversions, m.conversions), coalesce(r.revenue, m.revenue))
         IS DISTINCT FROM (m.impressions, m.clicks, m.spend, m.conversions, m.revenue)
  RETURNING m.campaign_id, m.date, coalesce(r.impressions, m.impressions) AS impressions,
            coalesce(r.clicks, m.clicks) AS clicks, coalesce(r.spend, m.spend) AS spend,
            coalesce(r.conversions, m.conversions) AS conversions, coalesce(r.revenue, m.revenue) AS revenue
)
INSERT INTO cmis.campaign_metrics (org_id, campaign_id, date, observed_at, impressions, clicks, spend, conversions,
                                   revenue)
SELECT :org_id, s.campaign_id, s.date, :now, s.impressions, s.clicks, s.spend, s.conversions, s.revenue
  FROM superseded s
""")
