"""Puts the due jobs back as they were, makes them due at one instant, and reads afterwards what became of them."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from psycopg import Connection

_COLUMNS: Final = """
SELECT attname FROM pg_attribute
 WHERE attrelid = 'cmis.scheduled_jobs'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
   AND attname <> ALL ('{org_id,job_id}')
"""
_RESTORE: Final = sql.SQL("""
UPDATE cmis.scheduled_jobs j SET ({columns}) = ROW ({values})
  FROM bench.due d WHERE j.org_id = d.org_id AND j.job_id = d.job_id
""")
# The instant is a planned time of the recurring and the single jobs. No cron expression fires at any second: those jobs
# get the instant as their next time, and everything after it is computed from the expression.
_ARM: Final = """
UPDATE cmis.scheduled_jobs j
   SET next_run_at = %(due)s,
       start_date = CASE WHEN j.schedule_type = 'once' THEN %(due)s ELSE j.start_date END,
       anchor_at = CASE j.schedule_type WHEN 'once' THEN %(due)s
                                        WHEN 'recurring' THEN %(due)s - interval '1 day' ELSE j.anchor_at END,
       time_of_day = CASE WHEN j.time_of_day IS NOT NULL THEN (%(due)s AT TIME ZONE j.timezone)::time END,
       days_of_week = CASE WHEN j.days_of_week IS NOT NULL
                           THEN ARRAY[extract(dow FROM %(due)s AT TIME ZONE j.timezone)::smallint] END,
       day_of_month = CASE WHEN j.day_of_month IS NOT NULL
                           THEN extract(day FROM %(due)s AT TIME ZONE j.timezone)::text END
  FROM (SELECT org_id, job_id FROM bench.due ORDER BY job_id LIMIT %(count)s) d
 WHERE j.org_id = d.org_id AND j.job_id = d.job_id
"""
# A job whose next planned time comes before the instant was dispatched runs once for both: the first run counts.
_CARRIED: Final = """
SELECT task_id::text, count(*) FROM (
  SELECT DISTINCT ON (org_id, job_id) task_id FROM cmis.occurrences
   WHERE scheduled_for >= %(due)s AND decision = 'run' ORDER BY org_id, job_id, scheduled_for) first_runs
 GROUP BY task_id
"""
_BEHIND: Final = """
SELECT count(*) FROM cmis.scheduled_jobs WHERE status = 'active' AND next_run_at <= %(due)s
"""
_MARGIN: Final = 0.5
"""Seconds for the commit, and for the scheduler to be idle before the instant."""


class _LateError(Exception):
    """The instant has come before the jobs that are due at it."""


class Jobs:
    """The jobs of one loaded database, as the administrator; no trigger fires for what is done to them here."""

    def __init__(self, administrator: str) -> None:
        self._connection: Connection = psycopg.connect(administrator, autocommit=True)
        self._connection.execute("SET session_replication_role = replica")
        names = [sql.Identifier(name) for (name,) in self._connection.execute(_COLUMNS)]
        values = [sql.SQL("d.") + name for name in names]
        self._restore = _RESTORE.format(columns=sql.SQL(", ").join(names), values=sql.SQL(", ").join(values))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def reset(self) -> None:
        """Forget earlier runs: no occurrence, no task, nothing due, the tables vacuumed, and no checkpoint pending."""
        self._connection.execute("TRUNCATE cmis.occurrences, cmis.tasks, cmis.task_attempts")
        self._connection.execute(self._restore)
        self._connection.execute("VACUUM (ANALYZE) cmis.scheduled_jobs")
        self._connection.execute("CHECKPOINT")

    def arm(self, count: int, lead: float) -> float:
        """Make `count` jobs due at one whole second, at least `lead` seconds from now; returns it (since the epoch).

        On a machine so slow that the instant passes before the jobs are written, it is tried with twice the lead.
        """
        while True:
            due = int(time.time() + lead) + 1
            with suppress(_LateError), self._connection.transaction():
                self._connection.execute(_ARM, {"due": datetime.fromtimestamp(due, UTC), "count": count})
                if lead < 0 or time.time() < due - _MARGIN:
                    return float(due)
                raise _LateError
            lead *= 2

    def carried(self, due: float) -> dict[str, int]:
        """Return how many of the jobs due at that instant each task carries, by task id."""
        return dict(self._connection.execute(_CARRIED, {"due": datetime.fromtimestamp(due, UTC)}).fetchall())

    def behind(self, due: float) -> int:
        """Return how many jobs were not advanced beyond that instant."""
        row = self._connection.execute(_BEHIND, {"due": datetime.fromtimestamp(due, UTC)}).fetchone()
        return int(row[0]) if row else 0
