"""Fills a database with orgs, campaigns, their metrics, and a rule and a daily job for each campaign.

Set by set, as the administrator and without the audit's triggers. A rule's five conditions read five metrics over the
last seven days; they hold for every tenth rule, and of the others one does not, each of the five in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg

from benchmarks.rules.scale import DAYS
from benchmarks.schedules.scale import ZONES

if TYPE_CHECKING:
    from benchmarks.rules.scale import Shape

_ORGS: Final = """
CREATE SCHEMA bench;
CREATE TABLE bench.orgs AS
  SELECT n, uuidv7() AS org_id, uuidv7() AS owner_id,
         (%(zones)s::text[])[1 + n %% cardinality(%(zones)s::text[])] AS zone
    FROM generate_series(0, %(orgs)s - 1) n;
INSERT INTO cmis.orgs (org_id, name, timezone, created_at) SELECT org_id, 'org ' || n, zone, now() FROM bench.orgs;
INSERT INTO cmis.users (user_id, email, name, created_at)
  SELECT owner_id, n || '@bench.test', 'owner ' || n, now() FROM bench.orgs;
INSERT INTO cmis.user_orgs (org_id, user_id, role, created_at) SELECT org_id, owner_id, 'admin', now() FROM bench.orgs;
CREATE TABLE bench.pairs AS
  SELECT o.*, k, uuidv7() AS campaign_id, uuidv7() AS rule_id FROM bench.orgs o, generate_series(0, %(rules)s - 1) k;
"""
_CAMPAIGNS: Final = """
INSERT INTO cmis.campaigns (org_id, campaign_id, name, platform, objective, status, budget, currency, external_id,
    start_date, created_at, updated_at)
  SELECT org_id, campaign_id, 'campaign ' || k, 'google_ads', 'sales', 'active', 100, 'EUR', 'ext ' || k,
         current_date - 60, now(), now()
    FROM bench.pairs;
INSERT INTO cmis.budget_ledger (org_id, campaign_id, seq, before, after, day, created_at)
  SELECT org_id, campaign_id, 1, NULL, 100, current_date, now() FROM bench.pairs;
INSERT INTO cmis.campaign_metrics (org_id, campaign_id, date, observed_at, impressions, clicks, spend, conversions,
    revenue)
  SELECT org_id, campaign_id, current_date - d, now() - d * interval '1 day', 10000 + (17 * k + 31 * d) %% 997,
         200 + (7 * k + 13 * d) %% 23, 50 + ((37 * k + 41 * d) %% 1009) / 100.0, 5 + (k + d) %% 3,
         60 + ((53 * k + 19 * d) %% 811) / 100.0
    FROM bench.pairs, generate_series(0, %(days)s - 1) d;
"""
# Over seven days a campaign spends 350 to 420 for 35 to 49 conversions and 420 to 480 in revenue, of 70,000 impressions
# and 1,400 to 1,560 clicks. `off` is the number of the condition that does not hold; the thresholds differ by rule.
_RULES: Final = """
INSERT INTO cmis.automation_rules (org_id, rule_id, name, status, entity_id, conditions, actions,
    max_executions_per_day, guardrails, owner_id, created_at, updated_at)
  SELECT org_id, rule_id, 'rule ' || k, 'active', campaign_id, jsonb_build_array(
         jsonb_build_object('field', 'spend', 'operator', '>=',
                            'value', CASE off WHEN 0 THEN 5000 ELSE 100 END + k, 'window', 'last_7d'),
         jsonb_build_object('field', 'ctr', 'operator', '<',
                            'value', CASE off WHEN 1 THEN 0.001 ELSE 0.05 END + k / 1e6),
         jsonb_build_object('field', 'cpa', 'operator', '>', 'value', CASE off WHEN 2 THEN 50 ELSE 5 END + k / 1e3),
         jsonb_build_object('field', 'revenue', 'operator', '<',
                            'value', jsonb_build_object('field', 'spend',
                                                        'times', CASE off WHEN 3 THEN 0.5 ELSE 1.5 END)),
         jsonb_build_object('field', 'conversions', 'operator', 'between',
                            'value', jsonb_build_array(CASE off WHEN 4 THEN 900 ELSE 10 END, 1000 + k))),
         CASE (n + k / 10) %% 2 WHEN 0 THEN '[{"type": "pause_campaign", "params": {}}]'::jsonb
                          ELSE '[{"type": "adjust_budget", "params": {"percent": 10, "ceiling": 500}}]' END,
         5, '{"budget_floor": 20, "max_change_pct": 25}', owner_id, now(), now()
    FROM bench.pairs, LATERAL (SELECT CASE WHEN k %% 10 > 0 THEN k %% 5 END AS off) o;
"""
_JOBS: Final = """
INSERT INTO cmis.scheduled_jobs (org_id, job_id, name, rule_id, schedule_type, frequency, time_of_day, timezone,
    anchor_at, next_run_at, owner_id, created_at, updated_at)
  SELECT org_id, uuidv7(), 'job ' || k, rule_id, 'recurring', 'daily', time '09:00', zone, begun,
         begun + interval '2 days', owner_id, begun, begun
    FROM bench.pairs, LATERAL (SELECT date_trunc('second', now()) - interval '1 day' AS begun) t
   ORDER BY hashint4(k * %(orgs)s + n);
"""


def load(administrator: str, shape: Shape) -> None:
    """Store the orgs of a shape, all their rules active and none of their jobs due before tomorrow."""
    values = {"orgs": shape.orgs, "rules": shape.rules, "days": DAYS, "zones": list(ZONES)}
    with psycopg.connect(administrator, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET session_replication_role = replica")
        for statements in (_ORGS, _CAMPAIGNS, _RULES, _JOBS):
            connection.execute(statements, values)
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
