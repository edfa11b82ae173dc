"""Active jobs counted by what they are planned for: those of equal definition are one row, whosever they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.types import Uuid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

# What makes no difference within the period is left out of a definition: a start that is past, an end beyond it, the anchor
# of what does not count from it. Hourly recurrences are alike if they fire at the same seconds.
_GROUPED: Final = text("""
WITH upcoming AS (
  SELECT org_id, schedule_type, frequency, "interval", time_of_day, days_of_week, day_of_month, cron_expression, timezone,
         CASE WHEN schedule_type = 'once' THEN date_trunc('minute', start_date) WHEN start_date > :now THEN start_date END
           AS start_date,
         CASE WHEN end_date < :until THEN end_date END AS end_date,
         CASE WHEN schedule_type <> 'recurring' THEN NULL
              WHEN frequency = 'hourly' THEN to_timestamp(mod(extract(epoch FROM anchor_at)::bigint, "interval" * 3600))
              WHEN "interval" > 1 THEN anchor_at END AS anchor_at,
         dst_gap, dst_fold, month_end, jitter_seconds, next_run_at <= :now AS due
    FROM cmis.scheduled_jobs
   WHERE status = 'active' AND next_run_at < :until AND (:org_id IS NULL OR org_id = :org_id)),
counted AS (
  SELECT org_id, schedule_type, frequency, "interval", time_of_day, days_of_week, day_of_month, cron_expression, timezone,
         start_date, end_date, anchor_at, dst_gap, dst_fold, month_end, jitter_seconds, count(*) AS n,
         count(*) FILTER (WHERE due) AS due
    FROM upcoming GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16)
SELECT schedule_type, frequency, "interval", time_of_day, days_of_week, day_of_month, cron_expression, timezone, start_date,
       end_date, coalesce(anchor_at, start_date, :now) AS anchor_at, dst_gap, dst_fold, month_end, jitter_seconds,
       sum(n)::bigint AS jobs, (array_agg(org_id ORDER BY n DESC, org_id))[1:5] AS orgs,
       (array_agg(name ORDER BY n DESC, org_id))[1:5] AS names, (array_agg(n ORDER BY n DESC, org_id))[1:5] AS counts, (sum(sum(n)) OVER ())::bigint AS all_jobs,
       (sum(sum(due)) OVER ())::bigint AS all_due
  FROM counted JOIN (SELECT org_id, name FROM cmis.orgs) o USING (org_id)
 GROUP BY schedule_type, frequency, "interval", time_of_day, days_of_week, day_of_month, cron_expression, timezone,
          start_date, end_date, counted.anchor_at, dst_gap, dst_fold, month_end, jitter_seconds
 ORDER BY sum(n) DESC LIMIT :limit
""").bindparams(bindparam("org_id", type_=Uuid()))


def definitions(
    connection: Connection, *, org_id: UUID | None, now: datetime, until: datetime, limit: int
) -> Sequence[Row[Any]]:
    """Return the definitions of active jobs that come due before `until`, those of most jobs first.

    Each has the schedule columns, `jobs`, the five `orgs` that have most of them, their `names` and `counts`; `all_jobs` and
    `all_due` count over all, even where `limit` cuts. Without an org only the readonly role sees any.
    """
    values = {"org_id": org_id, "now": now, "until": until, "limit": limit}
    return connection.execute(_GROUPED, values).all()
