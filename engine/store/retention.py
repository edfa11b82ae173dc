"""How long what happened is kept: the deployment's settings, which only the owner of the schema writes, and their effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

_SETTINGS = text("SELECT work_months, workflow_months, audit_months FROM cmis.retention")
_CHANGE = text("""
UPDATE cmis.retention
   SET work_months = :work_months, workflow_months = :workflow_months, audit_months = :audit_months
""")
_TABLES = text("""
SELECT r.relation,
       CASE r.relation WHEN 'automation_audit_log' THEN s.audit_months WHEN 'workflow_instances' THEN s.workflow_months
                       ELSE s.work_months END AS months,
       nullif(r.kept_from, '1970-01-01 00:00:00+00') AS kept_from, count(i.inhrelid) AS partitions,
       pg_size_pretty(coalesce(sum(pg_total_relation_size(i.inhrelid)), 0)
                      + pg_total_relation_size(format('cmis.%I', r.relation)::regclass)) AS size
  FROM cmis.retained r CROSS JOIN cmis.retention s
  LEFT JOIN pg_inherits i ON i.inhparent = format('cmis.%I', r.relation)::regclass
 GROUP BY r.relation, r.kept_from, s.work_months, s.workflow_months, s.audit_months ORDER BY r.relation
""")


def settings(connection: Connection) -> Row[Any]:
    """Return (work_months, workflow_months, audit_months)."""
    return connection.execute(_SETTINGS).one()


def change(connection: Connection, months: dict[str, int]) -> None:
    """Set all three; the caller has checked them."""
    connection.execute(_CHANGE, months)


def tables(connection: Connection) -> Sequence[Row[Any]]:
    """Return what is kept for how many months, since when (None = nothing has been taken), in how many partitions, and its size."""
    return connection.execute(_TABLES).all()
