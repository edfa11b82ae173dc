"""What a scheduler may call to publish, to notice a lost broker, and to take over what the dead held."""

from migrations.ddl import run, run_as_engine

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_SCHEDULER = (
    "cmis.republish_candidates()",
    "cmis.take_publishable(integer, text[])",
    "cmis.publish_failed(jsonb)",
    "cmis.broker_epoch()",
    "cmis.swap_broker_epoch(text, text)",
    "cmis.requeue_lost(integer)",
    "cmis.reap(integer)",
    "cmis.enqueue_maintenance(uuid)",
)
_PURGE = "cmis.purge_tasks(integer)"


def upgrade() -> None:
    for functions in (_PUBLISH, _EPOCH, _REAP, _MAINTENANCE, _GRANTS):
        run_as_engine(functions)


def downgrade() -> None:
    run(f"DROP FUNCTION {', '.join((*_SCHEDULER, _PURGE))}")


_GRANTS = f"""
REVOKE EXECUTE ON FUNCTION {", ".join((*_SCHEDULER, _PURGE))} FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {", ".join(_SCHEDULER)} TO cmis_scheduler;
GRANT EXECUTE ON FUNCTION {_PURGE} TO cmis_app;
"""

# A message is only a hint. `publish_at` is when the next one is due: 15 s after the first, doubling to 8 min. A task that
# became ready again after its last message (retry, rescue) is published at once; one whose message merely waits in a long
# queue is postponed instead, so that a backlog does not breed duplicates.
_PUBLISH = """
CREATE FUNCTION cmis.republish_candidates() RETURNS TABLE (queue text, published bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT t.queue, count(*) FROM cmis.tasks t WHERE t.state = 'ready' AND t.published_at >= t.run_at
     AND t.queue IN (SELECT d.queue FROM cmis.tasks d
                      WHERE d.state = 'ready' AND d.publish_at <= cmis.clock() AND d.published_at >= d.run_at)
   GROUP BY t.queue;
END $$;

CREATE FUNCTION cmis.take_publishable(p_limit integer, p_backlogged text[])
RETURNS TABLE (org_id uuid, task_id uuid, kind text, queue text, priority smallint, timeout_seconds integer)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  RETURN QUERY
  WITH due AS MATERIALIZED (
    SELECT t.org_id, t.task_id, (t.published_at >= t.run_at AND t.queue = ANY (p_backlogged)) IS TRUE AS waits
      FROM cmis.tasks t WHERE t.state = 'ready' AND t.publish_at <= v_now
     ORDER BY t.publish_at, t.priority LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED),
  marked AS (
    UPDATE cmis.tasks t SET
      publish_at = v_now + interval '15 s' * CASE WHEN due.waits THEN 1 ELSE power(2, least(t.delivery, 5)) END,
      delivery = t.delivery + CASE WHEN due.waits THEN 0 ELSE 1 END,
      published_at = CASE WHEN due.waits THEN t.published_at ELSE v_now END
      FROM due WHERE t.org_id = due.org_id AND t.task_id = due.task_id
    RETURNING t.org_id, t.task_id, t.kind, t.queue, t.priority, t.timeout_seconds, due.waits)
  SELECT m.org_id, m.task_id, m.kind, m.queue, m.priority, m.timeout_seconds FROM marked m WHERE NOT m.waits;
END $$;

CREATE FUNCTION cmis.publish_failed(p_tasks jsonb) RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE cmis.tasks t SET publish_at = cmis.clock(), published_at = NULL
    FROM jsonb_to_recordset(p_tasks) AS p(org_id uuid, task_id uuid)
   WHERE t.org_id = p.org_id AND t.task_id = p.task_id AND t.state = 'ready'
$$;
"""

# The broker holds a random epoch; another one there than here means that its messages are gone. Who notices first changes
# the row (compare-and-set); then any scheduler may requeue what was published before, in batches, until nothing is left.
_EPOCH = """
CREATE FUNCTION cmis.broker_epoch() RETURNS text LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT epoch FROM cmis.broker_epoch $$;

CREATE FUNCTION cmis.swap_broker_epoch(p_old text, p_new text) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE cmis.broker_epoch SET epoch = p_new, lost_at = cmis.clock() WHERE epoch = p_old;
  RETURN FOUND;
END $$;

CREATE FUNCTION cmis.requeue_lost(p_limit integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_requeued integer;
BEGIN
  WITH lost AS MATERIALIZED (
    SELECT t.org_id, t.task_id FROM cmis.tasks t
     WHERE t.state = 'ready' AND t.publish_at > v_now AND t.run_at <= v_now
       AND t.published_at < (SELECT e.lost_at FROM cmis.broker_epoch e)
     LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED)
  UPDATE cmis.tasks t SET publish_at = v_now, published_at = NULL FROM lost
   WHERE t.org_id = lost.org_id AND t.task_id = lost.task_id;
  GET DIAGNOSTICS v_requeued = ROW_COUNT;
  RETURN v_requeued;
END $$;
"""

# Expired leases, by the true clock. Attempts are used up by crashes too: a poison task ends `dead`, and the same transaction
# gives each of its items what an execution must leave: its row, its audit, its counters, its occurrence's outcome. What it
# writes in partitioned tables carries its smallest and largest key, so that no other month is read.
_REAP = """
CREATE FUNCTION cmis.reap(p_limit integer) RETURNS TABLE (org_id uuid, task_id uuid, state text)
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
             scheduled_for timestamptz, trigger text)
     WHERE m.state <> 'ready' AND m.kind = 'evaluate_rules'),
  executions AS (
    INSERT INTO cmis.automation_executions (org_id, execution_id, rule_id, rule_version, task_id, job_id, trigger,
           scheduled_for, status, attempt, started_at, finished_at, duration_ms, error)
    SELECT i.org_id, i.execution_id, i.rule_id, r.version, i.task_id, i.job_id, i.trigger, i.scheduled_for, 'failure',
           i.attempt, v_now, v_now, 0, i.error
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
    SELECT i.org_id, v_now, cmis.uuid_v7(v_now), 'rule_executed', v_engine, 'rule', i.rule_id, i.rule_id, i.execution_id,
           jsonb_build_object('status', 'failure', 'error', i.error) FROM items i WHERE i.state = 'dead'
    UNION ALL
    SELECT m.org_id, v_now, cmis.uuid_v7(v_now),
           CASE m.state WHEN 'ready' THEN 'task_lost' WHEN 'dead' THEN 'task_died' ELSE 'task_cancelled' END,
           v_engine, 'task', m.task_id, NULL, NULL,
           jsonb_build_object('fence', m.fence, 'attempt', m.attempt, 'error', m.error) FROM moved m)
  SELECT m.org_id, m.task_id, m.state FROM moved m;
END $$;
"""

# Partitions ahead and final rows behind: one small task an hour, made by whichever scheduler comes first.
_MAINTENANCE = """
CREATE FUNCTION cmis.enqueue_maintenance(p_task_id uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  INSERT INTO cmis.tasks (org_id, task_id, kind, queue, run_at, publish_at, created_at, dedupe_key)
  VALUES ('00000000-0000-0000-0000-000000000000', p_task_id, 'maintain', 'maintenance', v_now, v_now, v_now,
          'maintain:' || to_char(v_now, 'YYYY-MM-DD"T"HH24'))
  ON CONFLICT (org_id, dedupe_key) DO NOTHING;
  RETURN FOUND;
END $$;

CREATE FUNCTION cmis.purge_tasks(p_limit integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_purged integer;
BEGIN
  WITH old AS MATERIALIZED (
    SELECT t.org_id, t.task_id FROM cmis.tasks t WHERE t.finished_at < v_now - interval '7 days'
     ORDER BY t.finished_at LIMIT p_limit FOR UPDATE SKIP LOCKED)
  DELETE FROM cmis.tasks t USING old WHERE t.org_id = old.org_id AND t.task_id = old.task_id;
  GET DIAGNOSTICS v_purged = ROW_COUNT;
  RETURN v_purged;
END $$;
"""
