"""What must always be true of runs of workflows: queries like those of `engine.store.invariants`, which checks them, too.

Moments are of many processes, and each counts on from when it read the database's clock: a second is let pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.store.kept import kept_from

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPEN: Final = "('pending', 'running', 'paused')"
_ENDED: Final = "('completed', 'failed', 'skipped', 'cancelled')"
_LIVE: Final = "('ready', 'held', 'running')"

_TOLD: Final = f"i.created_at >= {kept_from('automation_audit_log')}"
"""A run as old as the log itself may have begun, paused, gone on and been moved in months of it that are gone."""
# Runs that are gone, as far as the log tells, and runs that it does not tell of any more.
_GONE: Final = f"""gone AS MATERIALIZED (
          SELECT org_id, entity_id AS instance_id FROM cmis.automation_audit_log
           WHERE action IN ('instance_completed', 'instance_failed', 'instance_cancelled')
             AND created_at < {kept_from("workflow_instances")}
          UNION ALL
          SELECT i.org_id, i.instance_id FROM cmis.workflow_instances i WHERE NOT {_TOLD})"""

# Each step with how many steps lead to it: all, those that are resolved, and those of them that were left towards it; now, and
# when it began. What was moved to another version has begun by the ways of the one before.
_WAYS: Final = f"""
        WITH defined AS MATERIALIZED (
          SELECT v.org_id, v.template_id, v.version, d.step ->> 'id' AS step_id, d.step
            FROM cmis.workflow_template_versions v CROSS JOIN LATERAL jsonb_array_elements(v.definition -> 'steps') AS d(step)),
        edges AS MATERIALIZED (
          SELECT d.org_id, d.template_id, d.version, d.step_id AS source, e.label, e.target,
                 CASE t.step #>> '{{config,mode}}' WHEN 'any' THEN 1 WHEN 'n' THEN (t.step #>> '{{config,n}}')::integer END AS needed
            FROM defined d CROSS JOIN LATERAL (
              SELECT 'next', d.step ->> 'next' UNION ALL SELECT 'failure', d.step #>> '{{on_failure,next}}'
              UNION ALL
              SELECT k.label, d.step -> 'config' ->> k.key
                FROM (VALUES ('true', 'true_next'), ('false', 'false_next'), ('unknown', 'unknown_next'),
                             ('default', 'default'), ('timeout', 'timeout_next'), ('rejected', 'rejected_next')) AS k(label, key)
               WHERE d.step ->> 'type' IN ('condition', 'wait_for_event', 'approval')
              UNION ALL
              SELECT 'case:' || c.place - 1, c.one ->> 'next'
                FROM jsonb_array_elements(nullif(d.step #> '{{config,cases}}', 'null')) WITH ORDINALITY AS c(one, place)
               WHERE d.step ->> 'type' = 'condition'
              UNION ALL
              SELECT 'branch:' || b.place - 1, CASE jsonb_typeof(b.one) WHEN 'string' THEN b.one #>> '{{}}' ELSE b.one ->> 'next' END
                FROM jsonb_array_elements(nullif(d.step #> '{{config,branches}}', 'null')) WITH ORDINALITY AS b(one, place)
               WHERE d.step ->> 'type' = 'split') AS e(label, target)
            JOIN defined t ON t.org_id = d.org_id AND t.template_id = d.template_id AND t.version = d.version AND t.step_id = e.target),
        moved AS MATERIALIZED (
          SELECT a.org_id, a.entity_id AS instance_id FROM cmis.automation_audit_log a WHERE a.action = 'instance_migrated'),
        runs AS MATERIALIZED (
          SELECT i.org_id, i.instance_id, i.template_id, i.version, i.status FROM cmis.workflow_instances i
           WHERE {_TOLD} AND NOT EXISTS (SELECT FROM moved m WHERE m.org_id = i.org_id AND m.instance_id = i.instance_id)),
        steps AS MATERIALIZED (
          SELECT i.template_id, i.version, i.status AS run, s.org_id, s.instance_id, s.step_id, s.status, s.branch_taken,
                 s.started_at, s.finished_at,
                 s.status IN {_ENDED} AND (s.status <> 'failed' OR s.branch_taken IS NOT NULL) AS resolved
            FROM runs i JOIN cmis.workflow_steps s USING (org_id, instance_id)),
        led AS MATERIALIZED (
          SELECT s.org_id, s.instance_id, s.step_id, s.status, s.started_at, s.run, e.needed, p.resolved,
                 bool_or(p.branch_taken IN (e.label, 'all')) AS taken,
                 p.finished_at <= s.started_at + interval '1 s' AS before
            FROM edges e
            JOIN steps s ON s.org_id = e.org_id AND s.template_id = e.template_id AND s.version = e.version AND s.step_id = e.target
            JOIN steps p ON p.org_id = s.org_id AND p.instance_id = s.instance_id AND p.step_id = e.source
           GROUP BY s.org_id, s.instance_id, s.step_id, s.status, s.started_at, s.run, e.needed, p.step_id, p.resolved,
                    p.finished_at),
        ways AS (
          SELECT l.org_id, l.instance_id, l.step_id, l.status, l.started_at, l.run, l.needed, count(*) AS ways,
                 count(*) FILTER (WHERE l.resolved) AS resolved, count(*) FILTER (WHERE l.resolved AND l.taken) AS taken,
                 count(*) FILTER (WHERE l.resolved AND l.before) AS resolved_before,
                 count(*) FILTER (WHERE l.resolved AND l.taken AND l.before) AS taken_before
            FROM led l GROUP BY l.org_id, l.instance_id, l.step_id, l.status, l.started_at, l.run, l.needed)
        SELECT org_id || ' ' || instance_id || ' ' || step_id AS offender FROM ways"""

# A step that waits for an effect has a check of its own (engine.store.step_invariants).
_GOES_ON: Final = f"""
        SELECT s.org_id || ' ' || s.instance_id || ' ' || s.step_id || ' ' || s.status AS offender FROM cmis.workflow_steps s
          LEFT JOIN cmis.tasks t ON t.org_id = s.org_id AND t.task_id = s.task_id AND t.state IN {_LIVE}
         WHERE t.task_id IS NULL
           AND (s.status IN ('queued', 'running', 'retrying') OR s.status = 'waiting' AND s.wake_at IS NOT NULL
                OR s.status = 'waiting' AND s.waits_for = 'instance' AND NOT EXISTS (
                  SELECT FROM cmis.workflow_instances c
                   WHERE c.org_id = s.org_id AND c.instance_id = s.child_instance_id AND c.status IN {_OPEN})
                  AND NOT EXISTS (
                  SELECT FROM cmis.tasks w, jsonb_path_query(w.payload, '$.items[*]') i
                   WHERE w.org_id = s.org_id AND w.kind = 'run_workflow' AND w.state IN {_LIVE}
                     AND s.child_instance_id::text IN (i #>> '{{signal,instance_id}}', i #>> '{{signal,of,instance_id}}')))"""

CHECKS: Final[Mapping[str, str]] = {
    "no step begins before what leads to it is resolved": f"""{_WAYS}
         WHERE started_at IS NOT NULL
           AND (taken_before = 0 OR resolved_before < ways AND taken_before < coalesce(needed, ways + 1))""",
    "no step waits for what is resolved": f"""{_WAYS}
         WHERE run = 'running' AND status = 'pending'
           AND (resolved = ways OR taken >= coalesce(needed, ways + 1))""",
    "each end of a step is in the audit log, once": f"""
        WITH {_GONE}
        SELECT coalesce(s.org_id, a.org_id) || ' ' || coalesce(s.instance_id, a.instance_id) || ' ' ||
               coalesce(s.step_id, a.step_id) AS offender
          FROM (SELECT s.org_id, s.instance_id, s.step_id, s.status
                  FROM cmis.workflow_steps s JOIN cmis.workflow_instances i USING (org_id, instance_id) WHERE {_TOLD}) s
          FULL JOIN (SELECT org_id, entity_id AS instance_id, details ->> 'step' AS step_id,
                            count(*) FILTER (WHERE action = 'step_completed') AS completed,
                            count(*) FILTER (WHERE action = 'step_failed') AS failed,
                            count(*) FILTER (WHERE action = 'step_skipped') AS skipped,
                            count(*) FILTER (WHERE action = 'step_cancelled') AS cancelled,
                            count(*) FILTER (WHERE action = 'step_retried') AS retried
                       FROM cmis.automation_audit_log
                      WHERE entity_type = 'instance' AND action IN ('step_completed', 'step_failed', 'step_skipped', 'step_cancelled',
                            'step_retried') GROUP BY 1, 2, 3) a
            ON a.org_id = s.org_id AND a.instance_id = s.instance_id AND a.step_id = s.step_id
         WHERE s.step_id IS NULL AND (a.org_id, a.instance_id) NOT IN (SELECT org_id, instance_id FROM gone)
            OR (s.status = 'completed')::integer <> coalesce(a.completed, 0)
            OR (s.status = 'skipped')::integer <> coalesce(a.skipped, 0)
            OR (s.status = 'cancelled')::integer <> coalesce(a.cancelled, 0)
            OR coalesce(a.failed, 0) < (s.status = 'failed')::integer
            OR coalesce(a.failed, 0) > coalesce(a.retried, 0) + (s.status IN ('failed', 'skipped'))::integer""",
    "each beginning and end of a run is in the audit log, once": f"""
        WITH {_GONE}
        SELECT coalesce(i.org_id, a.org_id) || ' ' || coalesce(i.instance_id, a.instance_id) AS offender
          FROM cmis.workflow_instances i
          FULL JOIN (SELECT org_id, entity_id AS instance_id, count(*) FILTER (WHERE action = 'instance_started') AS started,
                            count(*) FILTER (WHERE action <> 'instance_started') AS ended
                       FROM cmis.automation_audit_log
                      WHERE action IN ('instance_started', 'instance_completed', 'instance_failed', 'instance_cancelled')
                      GROUP BY 1, 2) a
            ON a.org_id = i.org_id AND a.instance_id = i.instance_id
         WHERE i.instance_id IS NULL AND (a.org_id, a.instance_id) NOT IN (SELECT org_id, instance_id FROM gone)
            OR {_TOLD} AND a.started IS DISTINCT FROM 1
            OR (i.finished_at < {kept_from("automation_audit_log")}) IS NOT TRUE AND (
               a.ended <> (i.status NOT IN {_OPEN})::integer OR i.status NOT IN {_OPEN} AND NOT EXISTS (
              SELECT FROM cmis.automation_audit_log e WHERE e.org_id = i.org_id AND e.entity_id = i.instance_id
                 AND e.action = 'instance_' || i.status))""",
    "a run's counters equal its steps": """
        SELECT i.org_id || ' ' || i.instance_id AS offender FROM cmis.workflow_instances i
          LEFT JOIN (SELECT org_id, instance_id, count(*) AS total, count(*) FILTER (WHERE status = 'completed') AS completed,
                            count(*) FILTER (WHERE status = 'failed') AS failed,
                            count(*) FILTER (WHERE status = 'skipped') AS skipped,
                            count(*) FILTER (WHERE status = 'cancelled') AS cancelled
                       FROM cmis.workflow_steps GROUP BY 1, 2) s USING (org_id, instance_id)
         WHERE (i.steps_total, i.steps_completed, i.steps_failed, i.steps_skipped, i.steps_cancelled)
               IS DISTINCT FROM (s.total, s.completed, s.failed, s.skipped, s.cancelled)""",
    "a run that is over has every step resolved": f"""
        SELECT i.org_id || ' ' || i.instance_id || ' ' || s.step_id AS offender FROM cmis.workflow_instances i
          JOIN cmis.workflow_steps s USING (org_id, instance_id)
         WHERE i.status NOT IN {_OPEN} AND (s.status NOT IN {_ENDED}
            OR i.status = 'completed' AND s.status = 'failed' AND s.branch_taken IS NULL)""",
    "no step begins while its run is paused, or after its end": """
        SELECT s.org_id || ' ' || s.instance_id || ' ' || s.step_id AS offender FROM cmis.workflow_steps s
          JOIN cmis.workflow_instances i USING (org_id, instance_id)
         WHERE s.started_at >= i.created_at
           AND (s.started_at > i.finished_at + interval '1 s' OR EXISTS (
             SELECT FROM (SELECT a.action, a.created_at AS since, lead(a.created_at) OVER (ORDER BY a.created_at) AS until
                            FROM cmis.automation_audit_log a WHERE a.org_id = i.org_id AND a.entity_id = i.instance_id
                             AND a.action IN ('instance_paused', 'instance_resumed')) p
              WHERE p.action = 'instance_paused' AND s.started_at > p.since + interval '1 s'
                AND (s.started_at < p.until - interval '1 s' OR p.until IS NULL)))""",
    "a workflow's count of open runs equals its runs": f"""
        SELECT t.org_id || ' ' || t.template_id AS offender FROM cmis.workflow_templates t
          LEFT JOIN (SELECT org_id, template_id, count(*) AS n FROM cmis.workflow_instances
                      WHERE status IN {_OPEN} GROUP BY 1, 2) i USING (org_id, template_id)
         WHERE t.active_instances <> coalesce(i.n, 0)""",
    "a workflow's count of uses equals its runs": """
        SELECT t.org_id || ' ' || t.template_id AS offender FROM cmis.workflow_templates t
          LEFT JOIN (SELECT org_id, template_id, count(*) AS n FROM cmis.workflow_instances GROUP BY 1, 2) i USING (org_id, template_id)
          LEFT JOIN cmis.retired_instances r USING (org_id, template_id)
         WHERE t.usage_count <> coalesce(i.n, 0) + coalesce(r.instances, 0)""",
    "a step that is under way has what goes on with it": _GOES_ON,
    "a run that is under way has a step that is, or waits for a person": f"""
        SELECT i.org_id || ' ' || i.instance_id || ' ' || i.status AS offender FROM cmis.workflow_instances i
         WHERE i.status IN ('pending', 'running') AND NOT EXISTS (
           SELECT FROM cmis.workflow_steps s WHERE s.org_id = i.org_id AND s.instance_id = i.instance_id
              AND s.status IN ('queued', 'running', 'waiting', 'retrying')) AND NOT EXISTS (
           SELECT FROM cmis.tasks t WHERE t.org_id = i.org_id AND t.kind = 'run_workflow' AND t.state IN {_LIVE}
              AND t.payload #>> '{{items,0,instance_id}}' = i.instance_id::text)""",
    "a run that is over leaves no timer, and nothing that is held": f"""
        SELECT t.org_id || ' ' || t.task_id AS offender FROM cmis.tasks t
          JOIN cmis.workflow_instances i ON i.org_id = t.org_id AND i.instance_id::text = t.payload #>> '{{items,0,instance_id}}'
         WHERE t.kind = 'run_workflow' AND i.status NOT IN {_OPEN} AND NOT t.payload @? '$.items[1]'
           AND (t.state = 'held' OR t.state = 'ready' AND t.run_at > greatest(cmis.clock(), i.finished_at) + interval '5 min')
        UNION ALL
        SELECT t.org_id || ' ' || t.task_id FROM cmis.tasks t
          JOIN cmis.workflow_instances i ON i.org_id = t.org_id AND i.instance_id::text = t.payload #>> '{{items,0,instance_id}}'
         WHERE t.kind = 'run_workflow' AND t.state = 'held' AND i.status <> 'paused'""",
}

DRAINED: Final[Mapping[str, str]] = {
    "no run of a workflow has work left after a drain": f"""
        SELECT i.org_id || ' ' || i.instance_id || ' ' || s.step_id AS offender FROM cmis.workflow_instances i
          JOIN cmis.workflow_steps s USING (org_id, instance_id)
         WHERE i.status IN ('pending', 'running') AND s.status IN ('queued', 'running', 'retrying')
        UNION ALL
        SELECT t.org_id || ' ' || t.task_id FROM cmis.tasks t CROSS JOIN jsonb_path_query(t.payload, '$.items[*]') AS one
          JOIN cmis.workflow_instances i ON i.org_id = t.org_id AND i.instance_id::text = one ->> 'instance_id'
         WHERE t.kind = 'run_workflow' AND t.state IN {_LIVE} AND i.status NOT IN {_OPEN}""",
}
