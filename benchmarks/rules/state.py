"""The database of the rules: put back as it was loaded, given tasks as a scheduler made them, and read afterwards."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from benchmarks.schedules.arm import Jobs

if TYPE_CHECKING:
    from uuid import UUID

    from psycopg import Connection

    from benchmarks.rules.scale import Shape

_KEPT: Final = {"campaigns": "campaign_id", "automation_rules": "rule_id"}
_SNAPSHOT: Final = sql.SQL("""
CREATE TABLE bench.{table} AS TABLE cmis.{table};
ALTER TABLE bench.{table} ADD PRIMARY KEY (org_id, {key});
""")
_COLUMNS: Final = """
SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
_RESTORE: Final = sql.SQL("""
UPDATE cmis.{table} c SET ({columns}) = ROW ({values})
  FROM bench.{table} b WHERE c.org_id = b.org_id AND c.{key} = b.{key} AND ROW (c.*) IS DISTINCT FROM ROW (b.*)
""")
_WRITTEN: Final = (
    "automation_executions",
    "automation_actions",
    "automation_audit_log",
    "notifications",
    "rule_entity_state",
)
_STAGED: Final = ("tasks", "occurrences")
_EVALUATED: Final = (
    "SELECT coalesce(sum((result ->> 'evaluated')::integer), 0) FROM cmis.tasks WHERE state = 'succeeded'"
)
# What a run of all rules must have left: everything that the engine promises, and nothing else.
_LEFT: Final = """
SELECT (SELECT count(*) FROM cmis.automation_executions WHERE status = 'success'),
       (SELECT count(*) FROM cmis.automation_executions WHERE skip_reason = 'conditions_not_met'
           AND conditions_evaluated -> 'entities' -> 0 ? 'trace'),
       (SELECT count(*) FROM cmis.automation_executions),
       (SELECT count(*) FROM cmis.automation_actions WHERE status = 'succeeded'),
       (SELECT count(*) FROM cmis.automation_audit_log WHERE action = 'rule_executed'),
       (SELECT count(*) FROM cmis.automation_audit_log WHERE action = 'action_taken'),
       (SELECT count(*) FROM cmis.rule_entity_state),
       (SELECT count(*) FROM cmis.campaigns c JOIN bench.campaigns b USING (org_id, campaign_id)
         WHERE (c.status, c.budget) IS DISTINCT FROM (b.status, b.budget)),
       (SELECT count(*) FROM cmis.occurrences WHERE outcome IS NULL)
"""
_BUDGETS: Final = """
SELECT (SELECT count(*) FROM cmis.budget_ledger WHERE seq > 1),
       (SELECT count(*) FROM cmis.automation_actions WHERE type = 'adjust_budget')
"""


class UnfinishedError(Exception):
    """Not all of what is measured was done: there is no figure."""


class State:
    """One loaded database, as the administrator; no trigger fires for what is done to it here."""

    def __init__(self, administrator: str, shape: Shape) -> None:
        self.shape = shape
        self._connection: Connection = psycopg.connect(administrator, autocommit=True)
        self._connection.execute("SET session_replication_role = replica")
        for table, key in _KEPT.items():
            names = {"table": sql.Identifier(table), "key": sql.Identifier(key)}
            self._connection.execute(_SNAPSHOT.format(**names))
        self._connection.execute("CREATE TABLE bench.due AS TABLE cmis.scheduled_jobs")
        self._connection.execute("ALTER TABLE bench.due ADD PRIMARY KEY (org_id, job_id)")
        self.jobs = Jobs(administrator)

    def close(self) -> None:
        """Close the connections."""
        self.jobs.close()
        self._connection.close()

    def stage(self, name: str) -> None:
        """Keep the evaluations that a scheduler has enqueued, and their occurrences, under a name."""
        self._connection.execute("DELETE FROM cmis.tasks WHERE kind <> 'evaluate_rules'")
        for table in _STAGED:
            names = {"kept": sql.Identifier(f"{name}_{table}"), "table": sql.Identifier(table)}
            self._connection.execute(sql.SQL("CREATE TABLE bench.{kept} AS TABLE cmis.{table}").format(**names))

    def tasks(self, name: str) -> list[tuple[UUID, UUID]]:
        """Return (org_id, task_id) of the tasks kept under a name."""
        kept = sql.Identifier(f"{name}_tasks")
        query = sql.SQL("SELECT org_id, task_id FROM bench.{} ORDER BY task_id").format(kept)
        return [(org_id, task_id) for org_id, task_id in self._connection.execute(query)]

    def reset(self, staged: str | None = None) -> None:
        """Put everything back as it was loaded; with the tasks of that name, ready to be run."""
        for table in _WRITTEN:
            self._connection.execute(sql.SQL("TRUNCATE cmis.{}").format(sql.Identifier(table)))
        self._connection.execute("DELETE FROM cmis.budget_ledger WHERE seq > 1")
        for table, key in _KEPT.items():
            self._restore(table, key)
        self.jobs.reset()
        if staged is not None:
            for table in _STAGED:
                names = {"kept": sql.Identifier(f"{staged}_{table}"), "table": sql.Identifier(table)}
                self._connection.execute(sql.SQL("INSERT INTO cmis.{table} TABLE bench.{kept}").format(**names))
        self._connection.execute(
            "VACUUM (ANALYZE) cmis.campaigns, cmis.automation_rules, cmis.budget_ledger, cmis.tasks"
        )

    def _restore(self, table: str, key: str) -> None:
        columns = [
            name for (name,) in self._connection.execute(_COLUMNS, [f"cmis.{table}"]) if name not in {"org_id", key}
        ]
        names = {
            "table": sql.Identifier(table),
            "key": sql.Identifier(key),
            "columns": sql.SQL(", ").join(map(sql.Identifier, columns)),
            "values": sql.SQL(", ").join(sql.SQL("b.") + sql.Identifier(name) for name in columns),
        }
        self._connection.execute(_RESTORE.format(**names))

    def await_evaluated(self, count: int, deadline: float, every: float) -> float:
        """Wait until `count` evaluations are committed; returns the moment (since the epoch) at which they were."""
        while True:
            found = self._connection.execute(_EVALUATED).fetchone()
            at = time.time()
            if found is not None and found[0] >= count:
                return at
            if at > deadline:
                raise UnfinishedError(f"{found and found[0]} of {count} rules evaluated")
            time.sleep(every)

    def check(self) -> None:
        """See that every rule was evaluated once and all of it recorded. Raises UnfinishedError."""
        total, acting = self.shape.total, self.shape.acting
        expected = (acting, total - acting, total, acting, total, acting, acting, acting, 0)
        found = self._connection.execute(_LEFT).fetchone()
        budgets = self._connection.execute(_BUDGETS).fetchone()
        if found != expected or budgets is None or budgets[0] != budgets[1]:
            raise UnfinishedError(f"{found}, {budgets} recorded instead of {expected}")
