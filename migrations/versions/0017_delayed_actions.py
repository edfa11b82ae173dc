"""Actions that follow after a delay, each a task of its own."""

from migrations.ddl import run, run_as_engine

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_kinds("'evaluate_rules', 'apply_actions', 'maintain'"))
    run_as_engine(_SETTLE)
    run_as_engine(_BREAK)
    run_as_engine(_REAP)


def downgrade() -> None:
    run("DROP FUNCTION cmis.reap(integer)")
    run_as_engine("""
        ALTER FUNCTION cmis.reap_leases(integer) RENAME TO reap;
        GRANT EXECUTE ON FUNCTION cmis.reap(integer) TO cmis_scheduler;
    """)
    run("""
        DROP FUNCTION cmis.break_lost(uuid, uuid);
        DROP FUNCTION cmis.abandon_actions(uuid, uuid);
        DROP FUNCTION cmis.settle_execution(uuid, uuid, timestamptz);
    """)
    run(_kinds("'evaluate_rules', 'maintain'"))


def _kinds(allowed: str) -> str:
    return f"""
        ALTER TABLE cmis.tasks DROP CONSTRAINT tasks_kind_check;
        ALTER TABLE cmis.tasks ADD CONSTRAINT tasks_kind_check CHECK (kind IN ({allowed}));
    """


# The one place that ends an execution after its evaluation. While actions are queued, the task of the next one is released,
# no sooner than the delay after this end. With none queued, the run of its job is over, whatever is held; with none held
# either, its status is decided, once, and counted. What turned out to have nothing to do counts neither way, as no evaluation
# records it; where nothing failed, but people said no, it is no failure in a row. A worker runs it under its tenant's row
# security, the reaper as its owner.
_SETTLE = """
CREATE FUNCTION cmis.settle_execution(p_org_id uuid, p_execution_id uuid, p_now timestamptz) RETURNS text LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_low uuid; v_high uuid; v_execution record; v_actions record; v_status text;
BEGIN
  PERFORM FROM cmis.automation_rules r
    WHERE r.org_id = p_org_id AND r.rule_id = (
      SELECT e.rule_id FROM cmis.automation_executions e WHERE e.org_id = p_org_id AND e.execution_id = p_execution_id)
      FOR NO KEY UPDATE;
  SELECT e.rule_id, e.job_id, e.scheduled_for, e.started_at INTO v_execution FROM cmis.automation_executions e
   WHERE e.org_id = p_org_id AND e.execution_id = p_execution_id AND e.status = 'running' FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  v_low := cmis.uuid_v7_floor(v_execution.started_at);
  v_high := cmis.uuid_v7_floor(v_execution.started_at + interval '1 ms');

  SELECT (array_agg(a.task_id ORDER BY a.position) FILTER (WHERE a.status = 'queued'))[1] AS next,
         count(*) FILTER (WHERE a.status IN ('held', 'queued', 'running', 'unknown')) AS open,
         count(*) FILTER (WHERE a.status IN ('succeeded', 'undone')) AS good,
         count(*) FILTER (WHERE a.error ->> 'code' IS DISTINCT FROM 'NOTHING_TO_DO') AS counted,
         (count(*) FILTER (WHERE a.status = 'failed') > 0)::integer AS failed
    INTO v_actions FROM cmis.automation_actions a
   WHERE a.org_id = p_org_id AND a.execution_id = p_execution_id AND a.action_id BETWEEN v_low AND v_high;
  IF v_actions.next IS NOT NULL THEN
    UPDATE cmis.tasks t SET state = 'ready', run_at = n.run_at, publish_at = n.run_at
      FROM (SELECT d.org_id, d.task_id,
                   greatest(d.run_at, p_now + make_interval(secs => (d.payload ->> 'delay_seconds')::integer)) AS run_at
              FROM cmis.tasks d WHERE d.org_id = p_org_id AND d.task_id = v_actions.next) n
     WHERE t.org_id = n.org_id AND t.task_id = n.task_id AND t.state = 'held';
    RETURN NULL;
  END IF;

  v_status := CASE WHEN v_actions.open > 0 THEN NULL WHEN v_actions.good = v_actions.counted THEN 'success'
                   WHEN v_actions.good > 0 THEN 'partial' ELSE 'failure' END;
  UPDATE cmis.occurrences o
     SET outcome = CASE WHEN o.cancel_requested THEN 'cancelled' ELSE coalesce(v_status, 'success') END, finished_at = p_now
   WHERE o.org_id = p_org_id AND o.job_id = v_execution.job_id AND o.scheduled_for = v_execution.scheduled_for
     AND o.execution_id = p_execution_id AND o.outcome IS NULL;
  IF v_status IS NULL THEN
    RETURN NULL;
  END IF;
  UPDATE cmis.automation_executions e SET status = v_status, finished_at = p_now, results = coalesce(seen.results, '{}'),
         actions_executed = coalesce(seen.actions, '[]')
    FROM (SELECT (SELECT jsonb_object_agg(s.status, s.n) FROM (
                    SELECT a.status, count(*) AS n FROM cmis.automation_actions a
                     WHERE a.org_id = p_org_id AND a.execution_id = p_execution_id AND a.action_id BETWEEN v_low AND v_high
                     GROUP BY 1) s) AS results,
                 (SELECT jsonb_agg(shown.one - 'reason' || jsonb_strip_nulls(jsonb_build_object(
                           'status', a.status, 'reason', a.error -> 'message')) ORDER BY shown.place)
                    FROM cmis.automation_executions x
                    CROSS JOIN jsonb_array_elements(x.actions_executed) WITH ORDINALITY AS shown(one, place)
                    JOIN cmis.automation_actions a ON a.org_id = p_org_id
                     AND a.action_id = (shown.one ->> 'action_id')::uuid AND a.action_id BETWEEN v_low AND v_high
                   WHERE x.org_id = p_org_id AND x.execution_id = p_execution_id) AS actions) seen
   WHERE e.org_id = p_org_id AND e.execution_id = p_execution_id;
  UPDATE cmis.automation_rules r
     SET success_count = r.success_count + (v_status = 'success')::integer,
         partial_count = r.partial_count + (v_status = 'partial')::integer,
         failure_count = r.failure_count + (v_status = 'failure')::integer,
         failures_in_a_row = CASE WHEN v_status <> 'failure' THEN 0 ELSE r.failures_in_a_row + v_actions.failed END
   WHERE r.org_id = p_org_id AND r.rule_id = v_execution.rule_id;
  RETURN v_status;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.settle_execution(uuid, uuid, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.settle_execution(uuid, uuid, timestamptz) TO cmis_app;
"""

# Of a rule that kills its workers nobody lives to count the failures: the reaper does, and pauses it as a worker would
# (engine.run_rules.breaker). Which of several rules killed them nobody knows. What a task of actions leaves is counted where
# its execution is settled.
_BREAK = """
CREATE FUNCTION cmis.break_lost(p_org_id uuid, p_task_id uuid) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_lost record;
BEGIN
  FOR v_lost IN
    SELECT min(g ->> 'org_id')::uuid AS org_id, min(i ->> 'rule_id')::uuid AS rule_id,
           min(i ->> 'execution_id')::uuid AS execution_id, count(*) FILTER (WHERE t.kind = 'evaluate_rules') AS failures
      FROM cmis.tasks t CROSS JOIN jsonb_array_elements(t.payload -> 'groups') g CROSS JOIN jsonb_array_elements(g -> 'items') i
     WHERE t.org_id = p_org_id AND t.task_id = p_task_id AND i ->> 'rule_id' IS NOT NULL HAVING count(*) = 1
  LOOP
    UPDATE cmis.automation_rules r SET failures_in_a_row = r.failures_in_a_row + v_lost.failures
     WHERE r.org_id = v_lost.org_id AND r.rule_id = v_lost.rule_id AND v_lost.failures > 0;
    INSERT INTO cmis.notifications (org_id, notification_id, channel, title, body, rule_id, execution_id, created_at)
    SELECT r.org_id, cmis.uuid_v7(v_now), 'in_app', left('Rule “' || r.name || '” was paused', 200),
           'It failed again and again, and killed its workers at last. Look into it, then activate the rule again.',
           r.rule_id, v_lost.execution_id, v_now
      FROM cmis.break_rules(v_lost.org_id, ARRAY[v_lost.rule_id]) b(rule_id)
      JOIN cmis.automation_rules r ON r.org_id = v_lost.org_id AND r.rule_id = b.rule_id;
  END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.break_lost(uuid, uuid) FROM PUBLIC;
"""

# A task of actions whose attempts are used up by crashes, or that was cancelled, leaves actions that nobody will apply. The
# rules are locked as everybody locks them: by org, then by id.
_REAP = """
CREATE FUNCTION cmis.abandon_actions(p_org_id uuid, p_task_id uuid) RETURNS void LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_task record; v_started timestamptz;
BEGIN
  SELECT t.state, t.error, (t.payload #>> '{groups,0,items,0,execution_id}')::uuid AS execution_id,
         (t.payload #>> '{groups,0,items,0,rule_id}')::uuid AS rule_id INTO v_task
    FROM cmis.tasks t
   WHERE t.org_id = p_org_id AND t.task_id = p_task_id AND t.kind = 'apply_actions' AND t.state IN ('dead', 'cancelled');
  IF NOT FOUND THEN
    RETURN;
  END IF;
  PERFORM FROM cmis.automation_rules r WHERE r.org_id = p_org_id AND r.rule_id = v_task.rule_id FOR NO KEY UPDATE;
  SELECT e.started_at INTO v_started FROM cmis.automation_executions e
   WHERE e.org_id = p_org_id AND e.execution_id = v_task.execution_id;
  UPDATE cmis.automation_actions a
     SET status = CASE v_task.state WHEN 'dead' THEN 'failed' ELSE 'discarded' END, error = v_task.error,
         finished_at = v_now
   WHERE a.org_id = p_org_id AND a.execution_id = v_task.execution_id AND a.task_id = p_task_id AND a.status = 'queued'
     AND a.action_id BETWEEN cmis.uuid_v7_floor(v_started) AND cmis.uuid_v7_floor(v_started + interval '1 ms');
  PERFORM cmis.settle_execution(p_org_id, v_task.execution_id, v_now);
END $$;
REVOKE EXECUTE ON FUNCTION cmis.abandon_actions(uuid, uuid) FROM PUBLIC;

ALTER FUNCTION cmis.reap(integer) RENAME TO reap_leases;
REVOKE EXECUTE ON FUNCTION cmis.reap_leases(integer) FROM cmis_scheduler;
CREATE FUNCTION cmis.reap(p_limit integer) RETURNS TABLE (org_id uuid, task_id uuid, state text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  FOR org_id, task_id, state IN
    SELECT l.org_id, l.task_id, l.state FROM cmis.reap_leases(p_limit) l
     ORDER BY l.org_id, (SELECT t.payload #>> '{groups,0,items,0,rule_id}' FROM cmis.tasks t
                          WHERE t.org_id = l.org_id AND t.task_id = l.task_id)
  LOOP
    PERFORM cmis.abandon_actions(org_id, task_id);
    IF state = 'dead' THEN
      PERFORM cmis.break_lost(org_id, task_id);
    END IF;
    RETURN NEXT;
  END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.reap(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.reap(integer) TO cmis_scheduler;
"""
