"""Views for people and reports; each runs with its caller's rights."""

from migrations.ddl import run

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_VIEWS)


def downgrade() -> None:
    run("DROP VIEW cmis.v_automation_performance; DROP VIEW cmis.automation_schedules;")


# Skipped runs never count: success rate = success / (success + partial + failure). The upper bound keeps the months that
# are made ahead from being read.
_VIEWS = """
CREATE VIEW cmis.v_automation_performance WITH (security_invoker = true) AS
SELECT r.org_id, r.rule_id, r.name AS rule_name, r.rule_type, r.status,
       r.success_count + r.partial_count + r.failure_count AS total_executions,
       r.success_count AS successful_executions, r.failure_count AS failed_executions,
       round(r.success_count::numeric / nullif(r.success_count + r.partial_count + r.failure_count, 0), 4) AS success_rate,
       r.last_executed_at,
       (SELECT count(*) FROM cmis.automation_executions e
         WHERE e.org_id = r.org_id AND e.rule_id = r.rule_id AND e.status IN ('success', 'partial', 'failure')
           AND e.execution_id BETWEEN cmis.uuid_v7_floor(cmis.clock() - interval '30 days')
                                  AND cmis.uuid_v7_floor(cmis.clock() + interval '1 minute')) AS executions_last_30d
  FROM cmis.automation_rules r;

CREATE VIEW cmis.automation_schedules WITH (security_invoker = true) AS
SELECT j.job_id AS schedule_id, j.org_id, j.rule_id, coalesce(j.frequency, j.schedule_type) AS frequency, j.cron_expression,
       j.time_of_day, j.days_of_week, j.day_of_month, j.timezone, j.start_date AS starts_at, j.end_date AS ends_at,
       j.last_run_at, j.next_run_at, j.status = 'active' AS enabled
  FROM cmis.scheduled_jobs j WHERE j.target_type = 'rule';

GRANT SELECT ON cmis.v_automation_performance, cmis.automation_schedules TO cmis_app, cmis_readonly;
"""
