"""The ledger of occurrences as workers and people write it; the scheduler's rows come through `store.dispatch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text, Uuid

from core import driver
from engine.store.statements import with_rows
from models import Occurrence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row, Select

NAMED: Final = """o.org_id = :org_id AND o.job_id = ANY (:jobs) AND o.origin = ANY (:origins)
   AND o.scheduled_for BETWEEN :low AND :high
   AND o.job_id = r.job_id AND o.origin = r.origin AND o.scheduled_for = r.scheduled_for"""
"""The rows that `r` names. By bounds, so that only their months are visited; by lists, so that however they are joined no
other job's are read: an org may have a hundred thousand that are due at one instant."""
NAMES: Final = (bindparam("jobs", type_=ARRAY(Uuid())), bindparam("origins", type_=ARRAY(Text())))

_FINISH = with_rows(f"""
UPDATE cmis.occurrences o SET outcome = r.outcome, finished_at = :now, reason = r.reason
  FROM json_to_recordset(:rows) AS r(job_id uuid, origin text, scheduled_for timestamptz, outcome text, reason text)
 WHERE {NAMED} AND o.outcome IS NULL
""").bindparams(*NAMES)
_MOVE = with_rows(f"""
UPDATE cmis.occurrences o SET task_id = r.task_id
  FROM json_to_recordset(:rows) AS r(job_id uuid, origin text, scheduled_for timestamptz, task_id uuid)
 WHERE {NAMED} AND o.outcome IS NULL
""").bindparams(*NAMES)
_INSERT = with_rows("""
INSERT INTO cmis.occurrences (org_id, job_id, origin, scheduled_for, until, count, job_revision, decision, execution_id,
       instance_id, task_id, actor_id, decided_at)
SELECT :org_id, r.job_id, r.origin, r.scheduled_for, r.scheduled_for, 1, r.job_revision, 'run', r.execution_id, r.instance_id,
       r.task_id, r.actor_id, :now
  FROM json_to_recordset(:rows) AS r(job_id uuid, origin text, scheduled_for timestamptz, job_revision bigint,
       execution_id uuid, instance_id uuid, task_id uuid, actor_id uuid)
""")
_INSERT_SKIPPED = with_rows("""
INSERT INTO cmis.occurrences (org_id, job_id, origin, scheduled_for, until, count, previous, job_revision, decision, outcome,
       decided_at, finished_at)
SELECT :org_id, r.job_id, 'schedule', r.scheduled_for, r.until, r.count, r.previous, r.job_revision, r.decision, 'skipped',
       :now, :now
  FROM json_to_recordset(:rows) AS r(job_id uuid, scheduled_for timestamptz, until timestamptz, count integer,
       previous timestamptz, job_revision bigint, decision text)
""")
_INSERT_NEW_RUNS = with_rows("""
INSERT INTO cmis.occurrences (org_id, job_id, origin, scheduled_for, until, count, job_revision, decision, execution_id,
       instance_id, task_id, actor_id, decided_at)
SELECT :org_id, r.job_id, r.origin, r.scheduled_for, r.scheduled_for, 1, r.job_revision, 'run', r.execution_id, r.instance_id,
       r.task_id, r.actor_id, :now
  FROM json_to_recordset(:rows) AS r(job_id uuid, origin text, scheduled_for timestamptz, job_revision bigint,
       execution_id uuid, instance_id uuid, task_id uuid, actor_id uuid)
    ON CONFLICT (org_id, job_id, origin, scheduled_for) DO NOTHING
RETURNING task_id
""")

_REQUEST_CANCEL = with_rows(f"""
UPDATE cmis.occurrences o SET cancel_requested = true
  FROM json_to_recordset(:rows) AS r(job_id uuid, origin text, scheduled_for timestamptz)
 WHERE {NAMED} AND o.outcome IS NULL AND NOT o.cancel_requested
""").bindparams(*NAMES)

# Of the few that are cancelled an index knows, and it is empty as a rule.
_CANCELLED = text("""
SELECT job_id, origin, scheduled_for FROM cmis.occurrences
 WHERE org_id = :org_id AND scheduled_for BETWEEN :low AND :high AND cancel_requested AND outcome IS NULL
""")


def cancelled(
    connection: Connection, org_id: UUID, planned: Sequence[datetime]
) -> frozenset[tuple[UUID, str, datetime]]:
    """Return (job_id, origin, scheduled_for) of the open runs whose cancelling is requested, within these planned times."""
    if not planned:
        return frozenset()
    bounds = {"org_id": org_id, "low": min(planned), "high": max(planned)}
    return frozenset((row.job_id, row.origin, row.scheduled_for) for row in driver.rows(connection, _CANCELLED, bounds))


def finish(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
    """Write the outcomes of runs (job_id, origin, scheduled_for, outcome; `reason` of one that leaves no result)."""
    if rows:
        driver.changed(connection, _FINISH, {"org_id": org_id, "rows": rows, "now": now} | names(rows))


def request_cancel(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]]) -> int:
    """Ask open runs (job_id, origin, scheduled_for) to stop; returns how many were not asked before."""
    if not rows:
        return 0
    return connection.execute(_REQUEST_CANCEL, {"org_id": org_id, "rows": rows} | names(rows)).rowcount


def move(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]]) -> None:
    """Point open runs at the task that now carries them (job_id, origin, scheduled_for, task_id)."""
    if rows:
        connection.execute(_MOVE, {"org_id": org_id, "rows": rows} | names(rows))


def insert_runs(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
    """Record runs that a person asked for; they carry an actor and never move a job's cursor."""
    connection.execute(_INSERT, {"org_id": org_id, "rows": rows, "now": now})


def insert_new_runs(
    connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]], *, now: datetime
) -> set[UUID]:
    """Record runs as `insert_runs` does, but leave alone those that are there already; returns the others' task ids."""
    return set(connection.execute(_INSERT_NEW_RUNS, {"org_id": org_id, "rows": rows, "now": now}).scalars())


def insert_skipped(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
    """Record stretches of planned times that do not run (their keys are the columns'); the caller moves the cursor."""
    if rows:
        connection.execute(_INSERT_SKIPPED, {"org_id": org_id, "rows": rows, "now": now})


def uncounted_runs(connection: Connection, job: Row[Any]) -> Sequence[Row[datetime, str | None]]:
    """Return (scheduled_for, outcome) of a job's planned runs that no scheduler has counted yet, in order.

    The first of them may be open, or a later one where runs may overlap.
    """
    if job.open_from is None or job.last_run_for is None:
        return []
    table = Occurrence
    query = select(table.scheduled_for, table.outcome).where(table.org_id == job.org_id, table.job_id == job.job_id)
    query = query.where(table.origin == "schedule", table.decision == "run")
    query = query.where(table.scheduled_for.between(job.open_from, job.last_run_for))
    return connection.execute(query.order_by(table.scheduled_for)).all()


def first_open(connection: Connection, job: Row[Any]) -> datetime | None:
    """Return the first planned run of a job that has not ended."""
    return next((run.scheduled_for for run in uncounted_runs(connection, job) if run.outcome is None), None)


def ended(connection: Connection, org_id: UUID, job_id: UUID, origin: str, scheduled_for: datetime) -> Row[Any] | None:
    """Return a row of the ledger once it has its outcome."""
    query = _of(org_id, job_id).where(Occurrence.origin == origin, Occurrence.scheduled_for == scheduled_for)
    return connection.execute(query.where(Occurrence.outcome.is_not(None))).one_or_none()


def between(
    connection: Connection,
    org_id: UUID,
    job_id: UUID,
    low: datetime,
    high: datetime,
    *,
    decision: str | None,
    limit: int,
) -> Sequence[Row[Any]]:
    """Return a job's rows of the ledger that begin between two times (inclusive), newest first."""
    query = _of(org_id, job_id).where(Occurrence.scheduled_for.between(low, high))
    if decision is not None:
        query = query.where(Occurrence.decision == decision)
    return connection.execute(query.limit(limit)).all()


def last_planned(connection: Connection, org_id: UUID, job_id: UUID, low: datetime, high: datetime) -> Row[Any] | None:
    """Return the last of a job's planned rows that begin between two times (inclusive)."""
    query = _of(org_id, job_id).where(Occurrence.origin == "schedule", Occurrence.scheduled_for.between(low, high))
    return connection.execute(query.limit(1)).one_or_none()


def _of(org_id: UUID, job_id: UUID) -> Select[Any]:
    query = select(Occurrence.__table__).where(Occurrence.org_id == org_id, Occurrence.job_id == job_id)
    return query.order_by(Occurrence.scheduled_for.desc(), Occurrence.origin)


def names(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of `NAMED` for rows that have a key of the ledger (job_id, origin, scheduled_for)."""
    times = [row["scheduled_for"] for row in rows]
    return {
        "low": min(times, default=None),
        "high": max(times, default=None),
        "jobs": [row["job_id"] for row in rows],
        "origins": sorted({row["origin"] for row in rows}),
    }
