"""What a scheduler may call to find due jobs, record what became of them, and enqueue their work."""

from migrations.ddl import run, run_as_engine

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_as_engine(_CLAIM)
    run_as_engine(_RECORD)


def downgrade() -> None:
    run("""
        DROP FUNCTION cmis.record_dispatch(timestamptz, jsonb, jsonb, jsonb);
        DROP FUNCTION cmis.claim_due_jobs(integer);
    """)


# Locks the due jobs until the scheduler's transaction ends; another scheduler skips them. `run_open`: the last planned time
# that ran has no outcome yet; a scalar, since EXISTS may be hashed and then reads every month. `entities`: how many campaigns one evaluation would look at (chunks are bounded by it).
_CLAIM = """
CREATE FUNCTION cmis.claim_due_jobs(p_limit integer) RETURNS TABLE (
  now timestamptz, org_id uuid, job_id uuid, rule_id uuid, entities bigint, schedule_type text, frequency text,
  "interval" integer, time_of_day time, days_of_week smallint[], day_of_month text, cron_expression text, timezone text,
  start_date timestamptz, end_date timestamptz, anchor_at timestamptz, revision bigint, next_run_at timestamptz,
  last_scheduled_for timestamptz, run_open boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  RETURN QUERY
  WITH due AS MATERIALIZED (
    SELECT j.org_id, j.job_id FROM cmis.scheduled_jobs j WHERE j.status = 'active' AND j.next_run_at <= v_now
     ORDER BY j.next_run_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED),
  sizes AS MATERIALIZED (
    SELECT o.org_id, (SELECT count(*) FROM cmis.campaigns c WHERE c.org_id = o.org_id) AS campaigns
      FROM (SELECT DISTINCT due.org_id FROM due) o)
  SELECT v_now, j.org_id, j.job_id, j.rule_id, CASE WHEN r.entity_id IS NULL THEN sizes.campaigns ELSE 1 END,
         j.schedule_type, j.frequency, j."interval", j.time_of_day, j.days_of_week, j.day_of_month, j.cron_expression,
         j.timezone, j.start_date, j.end_date, j.anchor_at, j.revision, j.next_run_at, j.last_scheduled_for,
         coalesce((SELECT o.outcome IS NULL FROM cmis.occurrences o
                    WHERE o.org_id = j.org_id AND o.job_id = j.job_id AND o.origin = 'schedule'
                      AND o.scheduled_for = j.last_run_for), false)
    FROM due JOIN cmis.scheduled_jobs j USING (org_id, job_id) JOIN sizes USING (org_id)
    JOIN cmis.automation_rules r ON r.org_id = j.org_id AND r.rule_id = j.rule_id;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.claim_due_jobs(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.claim_due_jobs(integer) TO cmis_scheduler;
"""

# One call records a whole batch. Each job is advanced only from the state in which it was claimed: a job that is no longer
# in it means that the lock was lost, and the batch must not be recorded.
_RECORD = """
CREATE FUNCTION cmis.record_dispatch(p_now timestamptz, p_jobs jsonb, p_occurrences jsonb, p_tasks jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_advanced bigint;
BEGIN
  PERFORM set_config('app.current_user_id', '00000000-0000-0000-0000-000000000001', true);
  UPDATE cmis.scheduled_jobs j
     SET next_run_at = p.next_run_at, last_scheduled_for = p.last_scheduled_for, run_count = j.run_count + p.runs,
         last_run_for = coalesce(p.last_run_for, j.last_run_for),
         last_run_at = CASE WHEN p.runs > 0 THEN p_now ELSE j.last_run_at END,
         last_error = p.last_error, status = p.status
    FROM jsonb_to_recordset(p_jobs) AS p(org_id uuid, job_id uuid, revision bigint, previous timestamptz,
           next_run_at timestamptz, last_scheduled_for timestamptz, last_run_for timestamptz, runs integer, status text,
           last_error text)
   WHERE j.org_id = p.org_id AND j.job_id = p.job_id AND j.status = 'active' AND j.revision = p.revision
     AND j.last_scheduled_for IS NOT DISTINCT FROM p.previous;
  GET DIAGNOSTICS v_advanced = ROW_COUNT;
  IF v_advanced <> jsonb_array_length(p_jobs) THEN
    RAISE EXCEPTION 'a claimed job changed under its lock' USING ERRCODE = '40001';
  END IF;

  INSERT INTO cmis.occurrences (org_id, job_id, origin, scheduled_for, until, count, previous, job_revision, decision,
                                execution_id, task_id, outcome, decided_at, finished_at)
  SELECT o.org_id, o.job_id, 'schedule', o.scheduled_for, o.until, o.count, o.previous, o.job_revision, o.decision,
         o.execution_id, o.task_id, CASE WHEN o.decision <> 'run' THEN 'skipped' END, p_now,
         CASE WHEN o.decision <> 'run' THEN p_now END
    FROM jsonb_to_recordset(p_occurrences) AS o(org_id uuid, job_id uuid, scheduled_for timestamptz, until timestamptz,
           count integer, previous timestamptz, job_revision bigint, decision text, execution_id uuid, task_id uuid);

  INSERT INTO cmis.tasks (org_id, task_id, kind, queue, payload, run_at, publish_at, created_at)
  SELECT t.org_id, t.task_id, t.kind, t.queue, t.payload, p_now, p_now, p_now
    FROM jsonb_to_recordset(p_tasks) AS t(org_id uuid, task_id uuid, kind text, queue text, payload jsonb);
END $$;
REVOKE EXECUTE ON FUNCTION cmis.record_dispatch(timestamptz, jsonb, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.record_dispatch(timestamptz, jsonb, jsonb, jsonb) TO cmis_scheduler;
"""
