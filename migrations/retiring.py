"""The SQL that retires months and deletes old runs, as revision 0034 puts it there."""

from __future__ import annotations

from typing import Final

# What would miss a month's rows, in words; NULL = nothing does. Org by org where the index begins with it, so that what is
# long over is not read: only the month's own occurrences are.
HELD: Final = """
CREATE FUNCTION cmis.held_in(p_relation text, p_from timestamptz, p_to timestamptz) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
  v_first constant uuid := cmis.uuid_v7_floor(p_from); v_end constant uuid := cmis.uuid_v7_floor(p_to); v_held text;
BEGIN
  CASE p_relation
  WHEN 'automation_executions' THEN
    SELECT format('action %s of org %s is %s', a.action_id, a.org_id, a.status) INTO v_held
      FROM cmis.orgs o CROSS JOIN unnest(ARRAY['held', 'queued', 'running', 'unknown']) AS open(status)
      CROSS JOIN LATERAL (
        SELECT * FROM cmis.automation_actions x
         WHERE x.org_id = o.org_id AND x.status = open.status AND x.action_id >= v_first
           AND x.execution_id >= v_first AND x.execution_id < v_end LIMIT 1) a LIMIT 1;
    IF v_held IS NULL THEN
      SELECT format('execution %s of org %s is running', e.execution_id, e.org_id) INTO v_held
        FROM cmis.orgs o CROSS JOIN LATERAL (
          SELECT * FROM cmis.automation_executions x
           WHERE x.org_id = o.org_id AND x.status = 'running'
             AND x.execution_id >= v_first AND x.execution_id < v_end LIMIT 1) e LIMIT 1;
    END IF;
    IF v_held IS NULL THEN
      SELECT format('task %s of org %s has yet to write execution %s', t.task_id, t.org_id, id) INTO v_held
        FROM cmis.tasks t CROSS JOIN LATERAL (
          SELECT (one #>> '{}')::uuid AS id
            FROM jsonb_path_query(t.payload, 'lax $.groups[*].items[*].execution_id') one) items
       WHERE t.kind = 'evaluate_rules' AND t.state IN ('ready', 'held', 'running') AND id >= v_first AND id < v_end LIMIT 1;
    END IF;
  WHEN 'automation_actions' THEN
    SELECT 'its executions are there still' INTO v_held
      FROM cmis.retained r WHERE r.relation = 'automation_executions' AND r.kept_from < p_to;
    IF v_held IS NULL THEN
      SELECT format('action %s of org %s is %s', a.action_id, a.org_id, a.status) INTO v_held
        FROM cmis.orgs o CROSS JOIN unnest(ARRAY['held', 'queued', 'running', 'unknown']) AS open(status)
        CROSS JOIN LATERAL (
          SELECT * FROM cmis.automation_actions x
           WHERE x.org_id = o.org_id AND x.status = open.status AND x.action_id >= v_first AND x.action_id < v_end
           LIMIT 1) a LIMIT 1;
    END IF;
    IF v_held IS NULL THEN
      SELECT format('run %s of org %s is %s', i.instance_id, i.org_id, i.status) INTO v_held
        FROM cmis.orgs o CROSS JOIN unnest(ARRAY['pending', 'running', 'paused']) AS open(status)
        JOIN cmis.workflow_instances i ON i.org_id = o.org_id AND i.status = open.status AND i.instance_id < v_end
       WHERE EXISTS (SELECT FROM cmis.automation_actions x
                      WHERE x.org_id = i.org_id AND x.instance_id = i.instance_id
                        AND x.action_id >= v_first AND x.action_id < v_end) LIMIT 1;
    END IF;
  WHEN 'task_attempts' THEN
    SELECT format('task %s of org %s is in the queue still', t.task_id, t.org_id) INTO v_held
      FROM cmis.tasks t
     WHERE t.fence > 0 AND t.task_id < v_end AND EXISTS (
       SELECT FROM cmis.task_attempts a WHERE a.org_id = t.org_id AND a.task_id = t.task_id
          AND a.attempt_id >= v_first AND a.attempt_id < v_end) LIMIT 1;
  WHEN 'occurrences' THEN
    SELECT format('the run of job %s of org %s that was planned for %s is open', o.job_id, o.org_id, o.scheduled_for)
      INTO v_held FROM cmis.occurrences o
     WHERE (o.outcome IS NULL OR o.decision = 'buffered') AND o.scheduled_for < p_to LIMIT 1;
  WHEN 'automation_audit_log' THEN
    SELECT format('%s are kept from %s on', r.relation, r.kept_from) INTO v_held FROM cmis.retained r
     WHERE r.relation IN ('automation_executions', 'automation_actions') AND r.kept_from < p_to LIMIT 1;
  END CASE;
  RETURN v_held;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.held_in(text, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.held_in(text, timestamptz, timestamptz) TO cmis_owner;
"""

# Notes what counters stand for, and deletes what goes with the month's rows. When a rule last acted on an entity is noted
# with the executions, whatever month their effects are in: only with their execution it can be told. A job's times that are
# older than their month, and were decided late, go with it: of a chain what is gone is always its beginning.
RETIRE: Final = """
CREATE FUNCTION cmis.retire_rows(p_relation text, p_from timestamptz, p_to timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
AS $$
DECLARE v_first constant uuid := cmis.uuid_v7_floor(p_from); v_end constant uuid := cmis.uuid_v7_floor(p_to);
BEGIN
  IF p_relation = 'automation_executions' THEN
    INSERT INTO cmis.retired_executions AS r (org_id, rule_id, success, partial, failure, skipped)
    SELECT e.org_id, e.rule_id, count(*) FILTER (WHERE e.status = 'success'), count(*) FILTER (WHERE e.status = 'partial'),
           count(*) FILTER (WHERE e.status = 'failure'), count(*) FILTER (WHERE e.status = 'skipped')
      FROM cmis.automation_executions e WHERE e.execution_id >= v_first AND e.execution_id < v_end GROUP BY 1, 2
    ON CONFLICT (org_id, rule_id) DO UPDATE
      SET success = r.success + excluded.success, partial = r.partial + excluded.partial,
          failure = r.failure + excluded.failure, skipped = r.skipped + excluded.skipped;
    INSERT INTO cmis.retired_effects AS r (org_id, rule_id, entity_id, last_acted_at)
    SELECT a.org_id, a.rule_id, CASE a.entity_type WHEN 'event' THEN a.rule_id ELSE a.entity_id END,
           max(CASE WHEN a.status IN ('succeeded', 'undone') THEN coalesce(a.decided_at, a.created_at) ELSE a.created_at END)
      FROM cmis.automation_executions e
      JOIN cmis.automation_actions a ON a.org_id = e.org_id AND a.execution_id = e.execution_id AND a.action_id >= v_first
     WHERE e.execution_id >= v_first AND e.execution_id < v_end AND e.status <> 'skipped'
       AND (a.status IN ('succeeded', 'undone') OR a.task_id <> e.task_id) AND a.type <> 'push_change'
     GROUP BY 1, 2, 3
    ON CONFLICT (org_id, rule_id, entity_id) DO UPDATE SET last_acted_at = greatest(r.last_acted_at, excluded.last_acted_at);
    DELETE FROM cmis.optimizations p WHERE p.optimization_id < v_end;
  ELSIF p_relation = 'occurrences' THEN
    WITH month AS MATERIALIZED (
      SELECT o.org_id, o.job_id, count(*) FILTER (WHERE o.decision = 'run') AS runs, max(o.until) AS until,
             max(o.scheduled_for) FILTER (WHERE o.decision = 'run') AS last_run_for
        FROM cmis.occurrences o WHERE o.origin = 'schedule' AND o.scheduled_for >= p_from AND o.scheduled_for < p_to
       GROUP BY 1, 2),
    older AS (
      DELETE FROM cmis.occurrences o USING month m
       WHERE o.org_id = m.org_id AND o.job_id = m.job_id AND o.origin = 'schedule' AND o.scheduled_for < p_from
      RETURNING o.org_id, o.job_id, o.decision, o.until, o.scheduled_for)
    INSERT INTO cmis.retired_occurrences AS r (org_id, job_id, runs, until, last_run_for)
    SELECT k.org_id, k.job_id, sum(k.runs), max(k.until), max(k.last_run_for) FROM (
      SELECT * FROM month
      UNION ALL
      SELECT o.org_id, o.job_id, (o.decision = 'run')::integer, o.until, CASE o.decision WHEN 'run' THEN o.scheduled_for END
        FROM older o) k GROUP BY 1, 2
    ON CONFLICT (org_id, job_id) DO UPDATE SET runs = r.runs + excluded.runs, until = greatest(r.until, excluded.until),
      last_run_for = greatest(r.last_run_for, excluded.last_run_for);
  END IF;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.retire_rows(text, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.retire_rows(text, timestamptz, timestamptz) TO cmis_owner;
"""

# Runs from the leaves of their tree on: one that another was forked from, or is part of, waits for that one. A planned time
# of long ago has no month of its own: it goes once it was decided on long ago, too.
PURGE: Final = """
CREATE FUNCTION cmis.purge_instances(p_limit integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_before timestamptz := cmis.clock() - (SELECT make_interval(months => r.workflow_months) FROM cmis.retention r);
  v_ids uuid[]; v_purged integer;
BEGIN
  WITH old AS MATERIALIZED (
    SELECT i.org_id, i.instance_id, i.template_id FROM cmis.workflow_instances i
     WHERE i.finished_at < v_before
       AND NOT EXISTS (SELECT FROM cmis.workflow_instances c
                        WHERE c.org_id = i.org_id AND c.parent_instance_id = i.instance_id)
       AND NOT EXISTS (SELECT FROM cmis.workflow_instances f WHERE f.org_id = i.org_id AND f.forked_from = i.instance_id)
       AND NOT EXISTS (SELECT FROM cmis.automation_events e WHERE e.org_id = i.org_id AND e.instance_id = i.instance_id)
     ORDER BY i.finished_at LIMIT p_limit FOR UPDATE OF i SKIP LOCKED),
  noted AS (
    INSERT INTO cmis.retired_instances AS r (org_id, template_id, instances)
    SELECT old.org_id, old.template_id, count(*) FROM old GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (org_id, template_id) DO UPDATE SET instances = r.instances + excluded.instances),
  steps AS (
    DELETE FROM cmis.workflow_steps s USING old WHERE s.org_id = old.org_id AND s.instance_id = old.instance_id)
  DELETE FROM cmis.workflow_instances i USING old WHERE i.org_id = old.org_id AND i.instance_id = old.instance_id;
  GET DIAGNOSTICS v_purged = ROW_COUNT;
  IF v_purged > 0 THEN
    UPDATE cmis.retained r SET kept_from = v_before WHERE r.relation = 'workflow_instances' AND r.kept_from < v_before;
  END IF;
  RETURN v_purged;
END $$;

CREATE FUNCTION cmis.purge_occurrences(p_limit integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  v_before timestamptz := date_trunc('month', cmis.clock())
                          - (SELECT make_interval(months => r.work_months) FROM cmis.retention r);
  v_purged integer;
BEGIN
  WITH old AS MATERIALIZED (
    SELECT o.org_id, o.job_id, o.origin, o.scheduled_for FROM cmis.occurrences o
     WHERE o.tableoid = 'cmis.occurrences_default'::regclass AND o.scheduled_for < v_before AND o.outcome IS NOT NULL
       AND o.decision <> 'buffered' AND o.decided_at < v_before
     ORDER BY o.scheduled_for LIMIT p_limit),
  gone AS (
    DELETE FROM cmis.occurrences o USING old
     WHERE o.org_id = old.org_id AND o.job_id = old.job_id AND o.origin = old.origin AND o.scheduled_for = old.scheduled_for
       AND o.scheduled_for < v_before
    RETURNING o.*),
  noted AS (
    INSERT INTO cmis.retired_occurrences AS r (org_id, job_id, runs, until, last_run_for)
    SELECT g.org_id, g.job_id, count(*) FILTER (WHERE g.decision = 'run'), max(g.until),
           max(g.scheduled_for) FILTER (WHERE g.decision = 'run')
      FROM gone g WHERE g.origin = 'schedule' GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (org_id, job_id) DO UPDATE SET runs = r.runs + excluded.runs, until = greatest(r.until, excluded.until),
      last_run_for = greatest(r.last_run_for, excluded.last_run_for))
  SELECT count(*) INTO v_purged FROM gone;
  IF v_purged > 0 THEN
    UPDATE cmis.retained r SET kept_from = v_before WHERE r.relation = 'occurrences' AND r.kept_from < v_before;
  END IF;
  RETURN v_purged;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.purge_instances(integer), cmis.purge_occurrences(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.purge_instances(integer), cmis.purge_occurrences(integer) TO cmis_app, cmis_owner;
"""
