"""What must always be true of the rows, as queries that return offenders (`offender`, one text each); none is right.

They run as the readonly role over all orgs, in one snapshot. Those named in DRAINED hold only once all work is done.
What retention has taken is no offender: counters stand for the rows and what `cmis.retired_*` says of those that are gone, and a
row that another one names may be missing only if it were older than its table's `kept_from`. A task may hold any payload, which
is searched and compared as text, never cast: garbage is no reason not to tell what else is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from engine.store import audit_invariants as of_the_log
from engine.store import delivery_invariants as of_deliveries
from engine.store import occurrence_invariants as of_occurrences
from engine.store import reference_invariants as of_references
from engine.store import split_invariants as of_splits
from engine.store import step_invariants as of_steps
from engine.store import workflow_invariants as of_workflows
from engine.store.kept import first_id, kept_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

CHECKS: Final[Mapping[str, str]] = {
    **of_occurrences.CHECKS,
    **of_splits.CHECKS,
    "a queued action has a task that will apply it": """
        SELECT a.org_id || ' ' || a.action_id AS offender FROM cmis.automation_actions a
         WHERE a.status = 'queued' AND NOT EXISTS (
           SELECT FROM cmis.tasks t WHERE t.org_id = a.org_id AND t.task_id = a.task_id
              AND CASE WHEN a.channel IS NULL THEN t.kind = 'apply_actions' AND t.state IN ('ready', 'held', 'running')
                       ELSE t.kind = 'deliver' AND t.state IN ('ready', 'running') END)""",
    "a held task waits for one before it": """
        SELECT t.org_id || ' ' || t.task_id AS offender FROM cmis.tasks t
         WHERE t.state = 'held' AND t.kind = 'apply_actions' AND NOT EXISTS (
           SELECT FROM cmis.automation_actions a JOIN cmis.automation_actions b USING (org_id, execution_id)
             JOIN cmis.tasks p ON p.org_id = b.org_id AND p.task_id = b.task_id AND p.state IN ('ready', 'running')
            WHERE a.org_id = t.org_id AND a.task_id = t.task_id AND a.status = 'queued' AND b.status = 'queued'
              AND b.channel IS NULL
              AND b.position < a.position)""",
    "a task succeeds at most once, under its last fence": """
        SELECT coalesce(t.org_id, a.org_id) || ' ' || coalesce(t.task_id, a.task_id) AS offender FROM cmis.tasks t
          FULL JOIN (SELECT org_id, task_id, count(*) FILTER (WHERE outcome = 'succeeded') AS n,
                            max(fence) FILTER (WHERE outcome = 'succeeded') AS fence, max(fence) AS last
                       FROM cmis.task_attempts GROUP BY 1, 2) a ON a.org_id = t.org_id AND a.task_id = t.task_id
         WHERE (t.state = 'succeeded') <> (coalesce(a.n, 0) > 0) OR a.n > 1 OR a.fence <> coalesce(t.fence, a.last)""",
    "a task's attempts have the fences 1 to n": f"""
        SELECT coalesce(t.org_id, a.org_id) || ' ' || coalesce(t.task_id, a.task_id) AS offender FROM cmis.tasks t
          FULL JOIN (SELECT org_id, task_id, count(*) AS n, count(DISTINCT fence) AS fences, min(fence) AS first,
                            max(fence) AS last
                       FROM cmis.task_attempts GROUP BY 1, 2) a ON a.org_id = t.org_id AND a.task_id = t.task_id
         WHERE t.fence <> coalesce(a.n, 0) OR a.fences <> a.n OR a.last <> t.fence OR a.last - a.first + 1 <> a.n
            OR a.first > 1 AND (a.task_id < {first_id("task_attempts")}) IS NOT TRUE""",
    "an attempt is open only while its task is running": """
        SELECT a.org_id || ' ' || a.attempt_id AS offender FROM cmis.task_attempts a
          JOIN cmis.tasks t USING (org_id, task_id)
         WHERE (a.outcome IS NULL) <> (t.state = 'running' AND t.attempt_id = a.attempt_id)""",
    "a rule's counters equal its executions": f"""
        SELECT r.org_id || ' ' || r.rule_id AS offender FROM cmis.automation_rules r
          LEFT JOIN (SELECT org_id, rule_id, sum(success) AS success, sum(partial) AS partial, sum(failure) AS failure,
                            sum(skipped) AS skipped
                       FROM (SELECT org_id, rule_id, count(*) FILTER (WHERE status = 'success') AS success,
                                    count(*) FILTER (WHERE status = 'partial') AS partial,
                                    count(*) FILTER (WHERE status = 'failure') AS failure,
                                    count(*) FILTER (WHERE status = 'skipped') AS skipped
                               FROM cmis.automation_executions GROUP BY 1, 2
                             UNION ALL
                             SELECT org_id, rule_id, success, partial, failure, skipped FROM cmis.retired_executions) k
                      GROUP BY 1, 2) e USING (org_id, rule_id)
          LEFT JOIN (SELECT org_id, rule_id, acted_on, count(*) AS n FROM cmis.automation_executions
                      WHERE acted_on IS NOT NULL GROUP BY 1, 2, 3) d
            ON d.org_id = r.org_id AND d.rule_id = r.rule_id AND d.acted_on = r.acted_on
         WHERE (r.success_count, r.partial_count, r.failure_count, r.skipped_count) IS DISTINCT FROM
               (coalesce(e.success, 0), coalesce(e.partial, 0), coalesce(e.failure, 0), coalesce(e.skipped, 0))
            OR r.acted_today <> coalesce(d.n, 0) AND (r.acted_on <= ({kept_from("automation_executions")})::date + 1) IS NOT TRUE""",
    "a rule's versions have no hole, and the newest is the rule as it is": """
        SELECT r.org_id || ' ' || r.rule_id AS offender FROM cmis.automation_rules r
          LEFT JOIN (SELECT org_id, rule_id, count(*) AS n, min(version) AS first, max(version) AS last
                       FROM cmis.rule_versions GROUP BY 1, 2) k USING (org_id, rule_id)
          LEFT JOIN cmis.rule_versions v ON v.org_id = r.org_id AND v.rule_id = r.rule_id AND v.version = r.version
         WHERE k.last IS DISTINCT FROM r.version OR k.n <> k.last - k.first + 1
            OR v.definition ->> 'event_type' IS DISTINCT FROM r.event_type
            OR v.definition - 'template_id' - 'event_type' IS DISTINCT FROM jsonb_build_object('name', r.name,
                 'description', r.description, 'rule_type', r.rule_type, 'entity_type', r.entity_type,
                 'entity_id', r.entity_id, 'trigger_type', r.trigger_type, 'conditions', r.conditions,
                 'condition_logic', r.condition_logic, 'actions', r.actions, 'stop_on_error', r.stop_on_error,
                 'delay_between_actions_seconds', r.delay_between_actions_seconds, 'priority', r.priority,
                 'status', r.status, 'max_executions_per_day', r.max_executions_per_day,
                 'cooldown_minutes', r.cooldown_minutes, 'min_sample', r.min_sample, 'max_data_age', r.max_data_age,
                 'guardrails', r.guardrails, 'owner_id', r.owner_id)""",
    "an execution's rule version is kept, or older than the first that is": """
        SELECT e.org_id || ' ' || e.execution_id AS offender FROM cmis.automation_executions e
          LEFT JOIN (SELECT org_id, rule_id, min(version) AS first FROM cmis.rule_versions GROUP BY 1, 2) k
            ON k.org_id = e.org_id AND k.rule_id = e.rule_id
         WHERE (k.first IS NULL OR e.rule_version >= k.first) AND NOT EXISTS (
           SELECT FROM cmis.rule_versions v
            WHERE v.org_id = e.org_id AND v.rule_id = e.rule_id AND v.version = e.rule_version)""",
    "no rule acts more often a day than its limit": """
        SELECT e.org_id || ' ' || e.rule_id || ' ' || e.acted_on AS offender FROM cmis.automation_executions e
          JOIN cmis.automation_rules r ON r.org_id = e.org_id AND r.rule_id = e.rule_id AND r.version = e.rule_version
         WHERE e.acted_on IS NOT NULL AND r.max_executions_per_day IS NOT NULL
         GROUP BY e.org_id, e.rule_id, e.acted_on, r.max_executions_per_day HAVING count(*) > r.max_executions_per_day""",
    "no rule acts on an entity within its cooldown": """
        SELECT org_id || ' ' || rule_id || ' ' || entity_id AS offender FROM (
          SELECT x.org_id, x.rule_id, x.entity_id, r.cooldown_minutes, x.created_at,
                 lag(x.created_at) OVER (PARTITION BY x.org_id, x.rule_id, x.entity_id ORDER BY x.created_at) AS before
            FROM (SELECT DISTINCT org_id, rule_id, CASE entity_type WHEN 'event' THEN rule_id ELSE entity_id END AS entity_id, execution_id, created_at
                    FROM cmis.automation_actions
                   WHERE status IN ('succeeded', 'undone') AND decided_at IS NULL AND type <> 'push_change') x
            JOIN cmis.automation_executions e ON e.org_id = x.org_id AND e.execution_id = x.execution_id
            JOIN cmis.automation_rules r ON r.org_id = x.org_id AND r.rule_id = x.rule_id AND r.version = e.rule_version) y
         WHERE created_at - before < cooldown_minutes * interval '1 minute'""",
    "the memory of the cooldown equals the effects": """
        SELECT s.org_id || ' ' || s.rule_id || ' ' || s.entity_id AS offender FROM cmis.rule_entity_state s
          FULL JOIN (SELECT org_id, rule_id, entity_id, max(last) AS last FROM (
                     SELECT a.org_id, a.rule_id,
                            CASE a.entity_type WHEN 'event' THEN a.rule_id ELSE a.entity_id END AS entity_id, max(CASE
                       WHEN a.status IN ('succeeded', 'undone') THEN coalesce(a.decided_at, a.created_at)
                       WHEN a.task_id <> e.task_id THEN a.created_at END) AS last
                       FROM cmis.automation_actions a JOIN cmis.automation_executions e USING (org_id, execution_id)
                      WHERE (a.status IN ('succeeded', 'undone') OR a.task_id <> e.task_id) AND a.type <> 'push_change'
                      GROUP BY 1, 2, 3
                     UNION ALL
                     SELECT org_id, rule_id, entity_id, last_acted_at FROM cmis.retired_effects) y GROUP BY 1, 2, 3) x
         USING (org_id, rule_id, entity_id)
         WHERE s.last_acted_at IS DISTINCT FROM x.last""",
    "an execution's status follows from its effects": """
        SELECT e.org_id || ' ' || e.execution_id AS offender FROM cmis.automation_executions e
          LEFT JOIN (SELECT a.org_id, a.execution_id, count(*) AS n,
                            count(*) FILTER (WHERE a.status IN ('succeeded', 'undone')) AS good,
                            count(*) FILTER (WHERE a.error ->> 'code' IS DISTINCT FROM 'NOTHING_TO_DO') AS counted,
                            count(*) FILTER (WHERE a.status IN ('held', 'queued', 'running', 'unknown')) AS open,
                            count(*) FILTER (WHERE (a.status IN ('succeeded', 'undone') AND a.decided_at IS NULL
                                                OR a.task_id <> e.task_id) AND a.type <> 'push_change') AS acted,
                            bool_or(a.retried_at IS NOT NULL) AS retried
                       FROM cmis.automation_actions a JOIN cmis.automation_executions e USING (org_id, execution_id)
                      GROUP BY 1, 2) x USING (org_id, execution_id)
         WHERE e.status <> CASE WHEN x.n IS NULL THEN CASE WHEN e.error IS NULL THEN 'skipped' ELSE 'failure' END
                                WHEN x.open > 0 THEN 'running' WHEN x.good = x.counted THEN 'success'
                                WHEN x.good > 0 THEN 'partial' ELSE 'failure' END
               AND NOT coalesce(x.retried, false)
            OR (e.acted_on IS NOT NULL) <> (coalesce(x.acted, 0) > 0)""",
    "an effect beyond the guardrails has its permit, and a permit its effect": f"""
        SELECT coalesce(a.org_id, p.org_id) || ' ' || coalesce(a.action_id, p.action_id) AS offender
          FROM (SELECT org_id, action_id, 'apply' AS verb, decided_by AS user_id FROM cmis.automation_actions
                 WHERE status IN ('succeeded', 'undone') AND decided_at IS NOT NULL
                UNION ALL
                SELECT org_id, action_id, 'undo', undone_by FROM cmis.automation_actions WHERE status = 'undone') a
          FULL JOIN cmis.permits p ON p.org_id = a.org_id AND p.action_id = a.action_id AND p.verb = a.verb
         WHERE a.user_id IS DISTINCT FROM p.user_id
           AND (a.action_id IS NOT NULL OR (p.action_id < {first_id("automation_actions")}) IS NOT TRUE)""",
    "a budget's chain has no hole, and ends at the budget": """
        SELECT org_id || ' ' || campaign_id || ' ' || seq AS offender FROM (
          SELECT l.*, lag(l.after) OVER w AS expected, lag(l.seq) OVER w AS seq_before,
                 row_number() OVER (PARTITION BY l.org_id, l.campaign_id ORDER BY l.seq DESC) AS from_end, c.budget
            FROM cmis.budget_ledger l JOIN cmis.campaigns c USING (org_id, campaign_id)
          WINDOW w AS (PARTITION BY l.org_id, l.campaign_id ORDER BY l.seq)) x
         WHERE before IS DISTINCT FROM expected OR seq <> coalesce(seq_before, 0) + 1
            OR from_end = 1 AND after IS DISTINCT FROM budget
        UNION ALL
        SELECT c.org_id || ' ' || c.campaign_id FROM cmis.campaigns c WHERE NOT EXISTS (
          SELECT FROM cmis.budget_ledger l WHERE l.org_id = c.org_id AND l.campaign_id = c.campaign_id)""",
    "a budget change in an action's name is that action's": f"""
        SELECT l.org_id || ' ' || l.campaign_id || ' ' || l.seq AS offender FROM cmis.budget_ledger l
         WHERE l.action_id IS NOT NULL AND (l.action_id < {first_id("automation_actions")}) IS NOT TRUE AND NOT EXISTS (
           SELECT FROM cmis.automation_actions a WHERE a.org_id = l.org_id AND a.action_id = l.action_id
              AND a.entity_id = l.campaign_id AND (a.after ->> 'budget')::numeric = l.after)""",
    "an applied change of a budget is in its chain, once": """
        SELECT a.org_id || ' ' || a.action_id AS offender FROM cmis.automation_actions a
          LEFT JOIN (SELECT org_id, action_id, campaign_id, count(*) AS n FROM cmis.budget_ledger
                      WHERE action_id IS NOT NULL GROUP BY 1, 2, 3) l
            ON l.org_id = a.org_id AND l.action_id = a.action_id AND l.campaign_id = a.entity_id
         WHERE a.status IN ('succeeded', 'undone') AND a.channel IS NULL AND a.entity_type = 'campaign'
           AND (a.after ->> 'budget')::numeric <> (a.before ->> 'budget')::numeric AND l.n IS DISTINCT FROM 1""",
    "no event triggers a rule twice": """
        SELECT org_id || ' ' || rule_id || ' ' || (context ->> 'event_id') AS offender FROM cmis.automation_executions
         WHERE trigger = 'event' GROUP BY org_id, rule_id, context ->> 'event_id' HAVING count(*) > 1""",
    "no event starts a workflow twice, and none is started of another's event": """
        SELECT i.org_id || ' ' || i.template_id || ' ' || i.event_id AS offender FROM cmis.workflow_instances i
         WHERE i.trigger_type = 'event' AND i.event_id IS NOT NULL AND i.action_id IS NULL AND i.forked_from IS NULL
         GROUP BY i.org_id, i.template_id, i.event_id HAVING count(*) > 1
        UNION ALL
        SELECT 'event ' || v.event_id FROM cmis.automation_events v
          JOIN cmis.workflow_instances i ON i.event_id = v.event_id AND i.org_id <> v.org_id""",
    **of_references.CHECKS,
    **of_the_log.CHECKS,
    **of_deliveries.CHECKS,
    **of_steps.CHECKS,
    **of_workflows.CHECKS,
}

DRAINED: Final[Mapping[str, str]] = {
    "nothing is open after a drain": """
        SELECT 'task ' || t.task_id || ' ' || t.state AS offender FROM cmis.tasks t
         WHERE t.state IN ('ready', 'held', 'running') AND t.kind <> 'maintain'
        UNION ALL
        SELECT 'occurrence ' || o.job_id || ' ' || o.scheduled_for FROM cmis.occurrences o WHERE o.outcome IS NULL
        UNION ALL
        SELECT 'attempt ' || a.attempt_id FROM cmis.task_attempts a WHERE a.outcome IS NULL
        UNION ALL
        SELECT 'job ' || j.job_id || ' is due' FROM cmis.scheduled_jobs j
         WHERE j.status = 'active' AND j.next_run_at <= cmis.clock()""",
    **of_deliveries.DRAINED,
    **of_workflows.DRAINED,
}

_QUERIES: Final = {**CHECKS, **DRAINED}
# Each reads whole tables. Of what a query names itself the planner knows no size, and takes a few rows for one: looking
# through them once for each of the others then takes minutes where a hash takes a second.
_SWEEP = text("""
SELECT set_config('enable_nestloop', 'off', true), set_config('jit', 'off', true),
       set_config('statement_timeout', '300s', true)
""")
# `decided`: up to when other revisions have decided the job's planned times, or rows that retention has taken.
_LEDGER = text("""
SELECT j.org_id, j.job_id, j.schedule_type, j.frequency, j."interval", j.time_of_day, j.days_of_week, j.day_of_month,
       j.cron_expression, j.timezone, j.start_date, j.end_date, j.anchor_at, j.dst_gap, j.dst_fold, j.month_end, j.status, j.next_run_at,
       j.run_count, j.max_executions, coalesce(j.revised_at, j.created_at) AS since, greatest(e.until, r.until) AS decided,
       o.scheduled_for, o.until, o.count AS planned
  FROM cmis.scheduled_jobs j
  LEFT JOIN cmis.retired_occurrences r ON r.org_id = j.org_id AND r.job_id = j.job_id
  LEFT JOIN (SELECT o.org_id, o.job_id, max(o.until) AS until FROM cmis.occurrences o JOIN cmis.scheduled_jobs j USING (org_id, job_id)
              WHERE o.origin = 'schedule' AND o.job_revision < j.revision GROUP BY 1, 2) e
    ON e.org_id = j.org_id AND e.job_id = j.job_id
  LEFT JOIN cmis.occurrences o
    ON o.org_id = j.org_id AND o.job_id = j.job_id AND o.origin = 'schedule' AND o.job_revision = j.revision
 ORDER BY j.org_id, j.job_id, o.scheduled_for
""")


def sweep(connection: Connection) -> None:
    """Prepare the transaction for queries over all rows: how they are planned, and how long they may take."""
    connection.execute(_SWEEP)


def offenders(connection: Connection, name: str) -> list[str]:
    """Return the offenders of one check, of CHECKS or of DRAINED."""
    return [row.offender for row in connection.execute(text(_QUERIES[name]))]


def ledgers(connection: Connection) -> Sequence[Row[Any]]:
    """Return each job's definition with its planned times as recorded for its present revision, in order.

    A job without any has one row. `since`: when the definition became its own; `decided`: what came before these times.
    """
    return connection.execute(_LEDGER).all()
