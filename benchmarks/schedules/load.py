"""Fills a database with orgs, rules and jobs, set by set, as the administrator and without the audit's triggers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from benchmarks.schedules.scale import CAMPAIGNS_PER_ORG, ORGS, RULES_PER_ORG, ZONES, expressions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection

_ORGS: Final = """
CREATE SCHEMA bench;
CREATE TABLE bench.orgs AS
  SELECT n, uuidv7() AS org_id, uuidv7() AS owner_id FROM generate_series(0, %(orgs)s - 1) n;
CREATE TABLE bench.rules AS
  SELECT o.n, k, o.org_id, o.owner_id, uuidv7() AS rule_id
    FROM bench.orgs o, generate_series(0, %(rules)s - 1) k;
INSERT INTO cmis.orgs (org_id, name, created_at) SELECT org_id, 'org ' || n, now() FROM bench.orgs;
INSERT INTO cmis.users (user_id, email, name, created_at)
  SELECT owner_id, n || '@bench.test', 'owner ' || n, now() FROM bench.orgs;
INSERT INTO cmis.user_orgs (org_id, user_id, role, created_at) SELECT org_id, owner_id, 'admin', now() FROM bench.orgs;
INSERT INTO cmis.campaigns (org_id, campaign_id, name, status, budget, created_at, updated_at)
  SELECT o.org_id, uuidv7(), 'campaign ' || c, 'active', 100, now(), now()
    FROM bench.orgs o, generate_series(1, %(campaigns)s) c;
INSERT INTO cmis.automation_rules (org_id, rule_id, name, status, conditions, actions, owner_id, created_at, updated_at)
  SELECT org_id, rule_id, 'rule ' || k, 'active', '[{"field": "cpa", "operator": ">", "value": 50}]',
         '[{"type": "pause_campaign", "params": {}}]', owner_id, now(), now()
    FROM bench.rules;
"""

# Of five jobs in a row two are recurring, two cron, one fires once; the next five belong to the next org. They are
# written in a scattered order, so that jobs that are due together do not lie side by side on disk.
_JOBS: Final = """
INSERT INTO cmis.scheduled_jobs (org_id, job_id, name, rule_id, schedule_type, frequency, time_of_day, days_of_week,
    day_of_month, cron_expression, timezone, start_date, anchor_at, next_run_at, owner_id, created_at, updated_at)
SELECT r.org_id, uuidv7(), CASE WHEN i <= %(due)s THEN 'due ' ELSE 'job ' END || i, r.rule_id, type, frequency,
       CASE WHEN frequency <> 'hourly' THEN time '09:00' END, CASE WHEN frequency = 'weekly' THEN '{1}'::smallint[] END,
       CASE WHEN frequency = 'monthly' THEN '1' END,
       CASE WHEN type = 'cron' THEN (%(expressions)s::text[])[1 + (i / 5) %% cardinality(%(expressions)s::text[])] END,
       (%(zones)s::text[])[1 + (i / 250) %% cardinality(%(zones)s::text[])],
       CASE WHEN type = 'once' THEN later END, CASE WHEN type = 'once' THEN later ELSE begun END, later,
       r.owner_id, begun, begun
  FROM generate_series(1, %(stored)s) i
  CROSS JOIN LATERAL (SELECT (ARRAY['recurring', 'recurring', 'cron', 'cron', 'once'])[1 + i %% 5] AS type,
      date_trunc('second', now()) + interval '1 day' + interval '1 second' * (abs(hashint4(i)::bigint) %% 5000000)
        AS later,
      date_trunc('second', now()) - interval '1 day' AS begun) t
  CROSS JOIN LATERAL (SELECT CASE WHEN type = 'recurring'
      THEN (ARRAY['hourly', 'daily', 'weekly', 'monthly'])[1 + (i / 500) %% 4] END AS frequency) f
  JOIN bench.rules r ON r.n = (i / 5) %% %(orgs)s AND r.k = (i / 500) %% %(rules)s
 ORDER BY hashint4(i)
"""
_TEMPLATE: Final = """
CREATE TABLE bench.due AS SELECT * FROM cmis.scheduled_jobs WHERE name LIKE 'due %%';
ALTER TABLE bench.due ADD PRIMARY KEY (org_id, job_id);
"""
_INDEXES: Final = """
SELECT indexname, indexdef FROM pg_indexes
 WHERE schemaname = 'cmis' AND tablename = 'scheduled_jobs'
   AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE conrelid = 'cmis.scheduled_jobs'::regclass)
"""


def load(administrator: str, *, stored: int, due: int) -> None:
    """Store `stored` jobs for 100 orgs, `due` of which `arm` will make due; the others wait at least a day."""
    values = {
        "orgs": ORGS,
        "rules": RULES_PER_ORG,
        "campaigns": CAMPAIGNS_PER_ORG,
        "stored": stored,
        "due": due,
        "expressions": expressions(),
        "zones": list(ZONES),
    }
    with psycopg.connect(administrator, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET work_mem = '256MB'")
        connection.execute("SET maintenance_work_mem = '256MB'")
        connection.execute(_ORGS, values)
        with _built_afterwards(connection):
            connection.execute(_JOBS, values)
        connection.execute(_TEMPLATE, values)
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")


@contextmanager
def _built_afterwards(connection: Connection) -> Iterator[None]:
    """Leave the jobs' indexes out while rows are written in scattered order, and build each at once afterwards."""
    indexes = connection.execute(_INDEXES).fetchall()
    for name, _ in indexes:
        connection.execute(sql.SQL("DROP INDEX cmis.{}").format(sql.Identifier(name)))
    yield
    for _, definition in indexes:
        connection.execute(definition)
