"""When the next thing falls due, publishing bounded by what waits in the broker, and what is kept of a task that died."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run("DROP FUNCTION cmis.republish_candidates(); DROP FUNCTION cmis.take_publishable(integer, text[])")
    for functions in (_NEXT, _PUBLISH, _REAP, _GRANTS):
        run_as_engine(functions)


def downgrade() -> None:
    run(f"DROP FUNCTION {', '.join(_SCHEDULER)}, cmis.publish_failed(jsonb), cmis.reap(integer)")
    for name in ("_PUBLISH", "_REAP", "_GRANTS"):
        run_as_engine(constant_of("0008", name))


_SCHEDULER = (
    "cmis.publishable_queues(text[], integer)",
    "cmis.seconds_until_due(text[])",
    "cmis.take_publishable(integer, text[], integer[], text[])",
)
_GRANTS = f"""
REVOKE EXECUTE ON FUNCTION {", ".join(_SCHEDULER)} FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {", ".join(_SCHEDULER)} TO cmis_scheduler;
"""

# How long nothing falls due: no job, no review, no message. What is due already and waits for something else counts not.
_NEXT = """
CREATE FUNCTION cmis.seconds_until_due(p_queues text[]) RETURNS double precision
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_next timestamptz;
BEGIN
  SELECT least(
    (SELECT j.next_run_at FROM cmis.scheduled_jobs j WHERE j.status = 'active' AND j.next_run_at > v_now
      ORDER BY j.next_run_at LIMIT 1),
    (SELECT j.review_at FROM cmis.scheduled_jobs j WHERE j.review_at > v_now ORDER BY j.review_at LIMIT 1),
    (SELECT min(d.publish_at) FROM unnest(p_queues) AS q(queue) CROSS JOIN LATERAL (
       SELECT t.publish_at FROM cmis.tasks t WHERE t.state = 'ready' AND t.queue = q.queue AND t.publish_at > v_now
        ORDER BY t.publish_at LIMIT 1) d))
    INTO v_next;
  RETURN extract(epoch FROM v_next - cmis.clock());
END $$;
"""

# Which queues have a message due; `published`: where one of the next is due again, how many of the queue's tasks are published.
# Each queue gives as many tasks as it has room for in the broker: what waits there is bounded, the rest waits here. A task
# whose message merely waits is put off, for two minutes at most, and returned so that the caller knows whether more are due.
_PUBLISH = """
CREATE FUNCTION cmis.publishable_queues(p_queues text[], p_limit integer) RETURNS TABLE (queue text, published bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  RETURN QUERY
  SELECT q.queue, CASE WHEN (
           SELECT bool_or(d.published_at >= d.run_at) FROM (
             SELECT t.published_at, t.run_at FROM cmis.tasks t
              WHERE t.state = 'ready' AND t.queue = q.queue AND t.publish_at <= v_now ORDER BY t.publish_at LIMIT p_limit) d)
         THEN (SELECT count(*) FROM cmis.tasks t
                WHERE t.state = 'ready' AND t.queue = q.queue AND t.published_at >= t.run_at) END
    FROM unnest(p_queues) AS q(queue)
   WHERE EXISTS (SELECT FROM cmis.tasks d WHERE d.state = 'ready' AND d.queue = q.queue AND d.publish_at <= v_now);
END $$;

CREATE FUNCTION cmis.take_publishable(p_limit integer, p_queues text[], p_rooms integer[], p_backlogged text[])
RETURNS TABLE (org_id uuid, task_id uuid, kind text, queue text, priority smallint, timeout_seconds integer, waits boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  RETURN QUERY
  WITH due AS MATERIALIZED (
    SELECT d.* FROM unnest(p_queues, p_rooms) AS r(queue, room) CROSS JOIN LATERAL (
      SELECT t.org_id, t.task_id, (t.published_at >= greatest(t.run_at, v_now - interval '2 min')
                                        AND t.queue = ANY (p_backlogged)) IS TRUE AS waits
        FROM cmis.tasks t WHERE t.state = 'ready' AND t.queue = r.queue AND t.publish_at <= v_now
       ORDER BY t.publish_at LIMIT least(p_limit, r.room) FOR NO KEY UPDATE SKIP LOCKED) d),
  marked AS (
    UPDATE cmis.tasks t SET
      publish_at = v_now + interval '15 s' * CASE WHEN due.waits THEN 1 ELSE power(2, least(t.delivery, 5)) END,
      delivery = t.delivery + CASE WHEN due.waits THEN 0 ELSE 1 END,
      published_at = CASE WHEN due.waits THEN t.published_at ELSE v_now END
      FROM due WHERE t.org_id = due.org_id AND t.task_id = due.task_id
    RETURNING t.org_id, t.task_id, t.kind, t.queue, t.priority, t.timeout_seconds, due.waits)
  SELECT m.org_id, m.task_id, m.kind, m.queue, m.priority, m.timeout_seconds, m.waits FROM marked m ORDER BY m.priority;
END $$;
"""

# As in 0008, and what a job gives to its runs and who asked for one is kept with the execution of a task that died, too.
_REAP = """
CREATE OR REPLACE FUNCTION cmis.reap(p_limit integer) RETURNS TABLE (org_id uuid, task_id uuid, state text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := cmis.clock();
  v_engine constant uuid := '00000000-0000-0000-0000-000000000001';
BEGIN
  RETURN QUERY
  WITH expired AS MATERIALIZED (
    SELECT t.org_id, t.task_id, t.lease_owner FROM cmis.tasks t
     WHERE t.state = 'running' AND t.lease_expires_at < clock_timestamp()
     ORDER BY t.lease_expires_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED),
  moved AS (
    UPDATE cmis.tasks t SET
      state = CASE WHEN t.cancel_requested THEN 'cancelled' WHEN t.attempt >= t.max_attempts THEN 'dead' ELSE 'ready' END,
      finished_at = CASE WHEN t.cancel_requested OR t.attempt >= t.max_attempts THEN v_now END,
      run_at = v_now, publish_at = v_now, published_at = NULL, lease_owner = NULL, lease_expires_at = NULL,
      error = jsonb_build_object('code', 'LOST', 'message', 'the lease of ' || expired.lease_owner || ' expired')
      FROM expired WHERE t.org_id = expired.org_id AND t.task_id = expired.task_id
    RETURNING t.org_id, t.task_id, t.kind, t.state, t.fence, t.attempt, t.attempt_id, t.payload, t.error),
  attempts AS (
    UPDATE cmis.task_attempts a SET outcome = 'lost', finished_at = v_now, error = m.error
      FROM moved m WHERE a.org_id = m.org_id AND a.attempt_id = m.attempt_id AND a.outcome IS NULL
       AND a.attempt_id BETWEEN (SELECT attempt_id FROM moved ORDER BY attempt_id LIMIT 1)
                            AND (SELECT attempt_id FROM moved ORDER BY attempt_id DESC NULLS LAST LIMIT 1)),
  items AS (
    SELECT (g ->> 'org_id')::uuid AS org_id, m.task_id, m.state, m.attempt, m.error, i.*
      FROM moved m CROSS JOIN jsonb_array_elements(m.payload -> 'groups') g
      CROSS JOIN jsonb_to_recordset(g -> 'items') AS i(rule_id uuid, execution_id uuid, job_id uuid, origin text,
             scheduled_for timestamptz, trigger text, context jsonb, requested_by uuid)
     WHERE m.state <> 'ready' AND m.kind = 'evaluate_rules'),
  executions AS (
    INSERT INTO cmis.automation_executions (org_id, execution_id, rule_id, rule_version, task_id, job_id, trigger,
           scheduled_for, status, attempt, started_at, finished_at, duration_ms, error, context)
    SELECT i.org_id, i.execution_id, i.rule_id, r.version, i.task_id, i.job_id, i.trigger, i.scheduled_for, 'failure',
           i.attempt, v_now, v_now, 0, i.error,
           coalesce(i.context, '{}') - 'requested_by' || jsonb_strip_nulls(jsonb_build_object('requested_by', i.requested_by))
      FROM items i JOIN cmis.automation_rules r ON r.org_id = i.org_id AND r.rule_id = i.rule_id WHERE i.state = 'dead'),
  counters AS (
    UPDATE cmis.automation_rules r SET failure_count = r.failure_count + n.failures, last_executed_at = v_now
      FROM (SELECT i.org_id, i.rule_id, count(*) AS failures FROM items i WHERE i.state = 'dead' GROUP BY 1, 2) n
     WHERE r.org_id = n.org_id AND r.rule_id = n.rule_id),
  outcomes AS (
    UPDATE cmis.occurrences o SET outcome = CASE i.state WHEN 'dead' THEN 'lost' ELSE 'cancelled' END, finished_at = v_now
      FROM items i WHERE o.org_id = i.org_id AND o.job_id = i.job_id AND o.origin = i.origin
       AND o.scheduled_for = i.scheduled_for AND o.outcome IS NULL
       AND o.scheduled_for BETWEEN (SELECT min(scheduled_for) FROM items) AND (SELECT max(scheduled_for) FROM items)),
  audits AS (
    INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, rule_id,
           execution_id, details)
    SELECT i.org_id, v_now, cmis.uuid_v7(v_now), 'rule_executed', coalesce(i.requested_by, v_engine), 'rule', i.rule_id, i.rule_id, i.execution_id,
           jsonb_build_object('status', 'failure', 'error', i.error) FROM items i WHERE i.state = 'dead'
    UNION ALL
    SELECT m.org_id, v_now, cmis.uuid_v7(v_now),
           CASE m.state WHEN 'ready' THEN 'task_lost' WHEN 'dead' THEN 'task_died' ELSE 'task_cancelled' END,
           v_engine, 'task', m.task_id, NULL, NULL,
           jsonb_build_object('fence', m.fence, 'attempt', m.attempt, 'error', m.error) FROM moved m)
  SELECT m.org_id, m.task_id, m.state FROM moved m;
END $$;
"""
