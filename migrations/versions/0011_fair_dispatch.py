"""Claims that are fair to orgs, and policies recorded in one call."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run("""
        DROP FUNCTION cmis.claim_due_jobs(integer);
        DROP FUNCTION cmis.record_dispatch(timestamptz, jsonb, jsonb, jsonb);
    """)
    for functions in (_CLAIM, _FAIRNESS, _RECORD, _GRANTS):
        run_as_engine(functions)


def downgrade() -> None:
    run(f"DROP FUNCTION {', '.join(_SCHEDULER)}")
    for name in ("_CLAIM", "_RECORD"):
        run_as_engine(constant_of("0007", name))


_SCHEDULER = (
    "cmis.claim_due_jobs(integer, uuid[], integer, integer)",
    "cmis.unfinished_tasks(integer)",
    "cmis.due_orgs(integer)",
    "cmis.record_dispatch(timestamptz, jsonb, jsonb, jsonb, jsonb, jsonb, jsonb)",
)
_GRANTS = f"""
REVOKE EXECUTE ON FUNCTION {", ".join(_SCHEDULER)} FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {", ".join(_SCHEDULER)} TO cmis_scheduler;
"""

# `force_generic_plan`: statistics of a quiet moment say that nearly nothing is due, and a plan made for them sorts all that is
# due for each batch of it. A plan that knows no times walks the index and stops at the limit.
#
# Locks due jobs until the scheduler's transaction ends; another scheduler skips them. Without `p_orgs` the longest due, of
# whatever org; with it up to `p_share` of each of these orgs. Beside them come the jobs that are to be looked at for another
# reason, first: one whose buffered time waits for a run to end. They are locked in one statement and read in the next, whose
# snapshot is younger than the locks: a job that another scheduler has just let go is read with all that it recorded.
# `outcomes`: of the runs from `open_from` to `last_run_for`, in order, each its outcome or `open`; `first_open` the first of
# these. `entities`: how many campaigns one evaluation would look at (chunks are bounded by it).
_CLAIM = """
CREATE FUNCTION cmis.claim_due_jobs(p_limit integer, p_orgs uuid[] DEFAULT NULL, p_share integer DEFAULT 0,
                                    p_cap integer DEFAULT 0)
RETURNS TABLE (
  now timestamptz, org_id uuid, job_id uuid, rule_id uuid, entities bigint, schedule_type text, frequency text,
  "interval" integer, time_of_day time, days_of_week smallint[], day_of_month text, cron_expression text, timezone text,
  start_date timestamptz, end_date timestamptz, anchor_at timestamptz, dst_gap text, dst_fold text, month_end text,
  misfire text, misfire_grace_seconds integer, overlap text, jitter_seconds integer, max_executions bigint,
  timeout_seconds integer, pause_on_failure_count integer, execution_context jsonb, status text, revision bigint,
  created_at timestamptz, revised_at timestamptz, next_run_at timestamptz, last_scheduled_for timestamptz,
  last_run_for timestamptz, run_count bigint, open_from timestamptz, failures integer, buffered_for timestamptz,
  outcomes text, first_open timestamptz)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := cmis.clock(); v_orgs uuid[]; v_jobs uuid[];
BEGIN
  WITH longest AS MATERIALIZED (
    SELECT j.org_id, j.job_id FROM cmis.scheduled_jobs j
     WHERE p_orgs IS NULL AND j.status = 'active' AND j.next_run_at <= v_now
     ORDER BY j.next_run_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED),
  shares AS MATERIALIZED (
    SELECT s.* FROM unnest(p_orgs) AS o(org_id) CROSS JOIN LATERAL (
      SELECT j.org_id, j.job_id FROM cmis.scheduled_jobs j
       WHERE j.org_id = o.org_id AND j.status = 'active' AND j.next_run_at <= v_now
       ORDER BY j.next_run_at LIMIT p_share FOR NO KEY UPDATE SKIP LOCKED) s
     WHERE p_cap > (SELECT count(*) FROM (
       SELECT FROM cmis.tasks t WHERE t.org_id = o.org_id AND t.state IN ('ready', 'running') AND t.run_at <= v_now
        LIMIT p_cap) x)),
  reviews AS MATERIALIZED (
    SELECT j.org_id, j.job_id FROM cmis.scheduled_jobs j WHERE j.review_at <= v_now
     ORDER BY j.review_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED),
  claimed AS (
    SELECT r.* FROM reviews r WHERE (r.org_id, r.job_id) NOT IN (
      SELECT l.org_id, l.job_id FROM longest l UNION ALL SELECT s.org_id, s.job_id FROM shares s)
    UNION ALL SELECT * FROM longest UNION ALL SELECT * FROM shares)
  SELECT array_agg(c.org_id), array_agg(c.job_id) INTO v_orgs, v_jobs FROM claimed c;
  IF v_orgs IS NULL THEN RETURN; END IF;

  RETURN QUERY
  WITH claimed AS MATERIALIZED (
    SELECT k.place, j.* FROM unnest(v_orgs, v_jobs) WITH ORDINALITY AS k(org_id, job_id, place)
      JOIN cmis.scheduled_jobs j USING (org_id, job_id)),
  sizes AS MATERIALIZED (
    SELECT o.org_id, (SELECT count(*) FROM cmis.campaigns c WHERE c.org_id = o.org_id) AS campaigns
      FROM (SELECT DISTINCT c.org_id FROM claimed c) o)
  SELECT v_now, j.org_id, j.job_id, j.rule_id, CASE WHEN r.entity_id IS NULL THEN sizes.campaigns ELSE 1 END,
         j.schedule_type, j.frequency, j."interval", j.time_of_day, j.days_of_week, j.day_of_month, j.cron_expression,
         j.timezone, j.start_date, j.end_date, j.anchor_at, j.dst_gap, j.dst_fold, j.month_end, j.misfire,
         j.misfire_grace_seconds, j.overlap, j.jitter_seconds, j.max_executions, j.timeout_seconds,
         j.pause_on_failure_count, nullif(j.execution_context, '{}'), j.status, j.revision, j.created_at, j.revised_at, j.next_run_at,
         j.last_scheduled_for, j.last_run_for, j.run_count, j.open_from, j.failures, j.buffered_for,
         runs.outcomes, runs.first_open
    FROM claimed j JOIN sizes USING (org_id)
    JOIN cmis.automation_rules r ON r.org_id = j.org_id AND r.rule_id = j.rule_id
    LEFT JOIN LATERAL (
      SELECT string_agg(coalesce(o.outcome, 'open'), ' ' ORDER BY o.scheduled_for) AS outcomes,
             min(o.scheduled_for) FILTER (WHERE o.outcome IS NULL) AS first_open
        FROM cmis.occurrences o
       WHERE o.org_id = j.org_id AND o.job_id = j.job_id AND o.origin = 'schedule' AND o.decision = 'run'
         AND o.scheduled_for BETWEEN j.open_from AND j.last_run_for) runs ON j.open_from IS NOT NULL
   ORDER BY j.place;
END $$;
"""

# What a scheduler asks to be fair: how many tasks are unfinished at all (up to a bound; those that start later, by jitter or
# after a failure, are none that anybody waits behind), and which orgs have due jobs. The orgs
# are found by skipping through the index from org to org, so that one org's 100,000 due jobs cost as much as one.
_FAIRNESS = """
CREATE FUNCTION cmis.unfinished_tasks(p_bound integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_count integer;
BEGIN
  SELECT count(*) INTO v_count FROM (
    SELECT FROM cmis.tasks t WHERE t.state IN ('ready', 'running') AND t.run_at <= v_now LIMIT p_bound) x;
  RETURN v_count;
END $$;

CREATE FUNCTION cmis.due_orgs(p_limit integer) RETURNS TABLE (org_id uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  IF NOT EXISTS (SELECT FROM cmis.scheduled_jobs j WHERE j.status = 'active' AND j.next_run_at <= v_now) THEN RETURN; END IF;
  RETURN QUERY
  WITH RECURSIVE firsts AS (
    (SELECT j.org_id, j.next_run_at FROM cmis.scheduled_jobs j WHERE j.status = 'active' AND j.next_run_at IS NOT NULL
      ORDER BY j.org_id, j.next_run_at LIMIT 1)
    UNION ALL
    SELECT following.org_id, following.next_run_at FROM firsts CROSS JOIN LATERAL (
      SELECT j.org_id, j.next_run_at FROM cmis.scheduled_jobs j
       WHERE j.status = 'active' AND j.next_run_at IS NOT NULL AND j.org_id > firsts.org_id
       ORDER BY j.org_id, j.next_run_at LIMIT 1) following)
  SELECT f.org_id FROM firsts f WHERE f.next_run_at <= v_now ORDER BY f.next_run_at LIMIT p_limit;
END $$;
"""

# One call records a whole batch. Each job is advanced only from the state in which it was claimed: a job that is no longer
# in it means that the lock was lost, and the batch must not be recorded. `p_moved`: the jobs whose status changes; for the
# others no audited column is named, so that no trigger fires. `p_released`: buffered times that run now, or never.
# `p_cancelled`: jobs whose open runs are to be cancelled.
_ADVANCED = """
         next_run_at = p.next_run_at, last_scheduled_for = p.last_scheduled_for, run_count = j.run_count + p.runs,
         last_run_for = greatest(p.last_run_for, j.last_run_for),
         last_run_at = CASE WHEN p.runs > 0 THEN p_now ELSE j.last_run_at END,
         open_from = p.open_from, failures = p.failures, buffered_for = p.buffered_for, review_at = p.review_at,
         last_error = p.last_error
    FROM jsonb_to_recordset({jobs}) AS p(org_id uuid, job_id uuid, was text, status text, revision bigint,
           previous timestamptz, next_run_at timestamptz, last_scheduled_for timestamptz, last_run_for timestamptz,
           runs integer, open_from timestamptz, failures integer, buffered_for timestamptz, review_at timestamptz,
           pause_note text, last_error text)
   WHERE j.org_id = p.org_id AND j.job_id = p.job_id AND j.status = p.was AND j.revision = p.revision
     AND j.last_scheduled_for IS NOT DISTINCT FROM p.previous"""
_RECORD = f"""
CREATE FUNCTION cmis.record_dispatch(p_now timestamptz, p_jobs jsonb, p_moved jsonb, p_occurrences jsonb, p_tasks jsonb,
                                     p_released jsonb, p_cancelled jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_advanced bigint; v_moved bigint := 0;
BEGIN
  PERFORM set_config('app.current_user_id', '00000000-0000-0000-0000-000000000001', true);
  UPDATE cmis.scheduled_jobs j SET
{_ADVANCED.format(jobs="p_jobs")};
  GET DIAGNOSTICS v_advanced = ROW_COUNT;
  IF jsonb_array_length(p_moved) > 0 THEN
    UPDATE cmis.scheduled_jobs j SET
         status = p.status, pause_note = coalesce(p.pause_note, j.pause_note),
{_ADVANCED.format(jobs="p_moved")};
    GET DIAGNOSTICS v_moved = ROW_COUNT;
  END IF;
  IF v_advanced + v_moved <> jsonb_array_length(p_jobs) + jsonb_array_length(p_moved) THEN
    RAISE EXCEPTION 'a claimed job changed under its lock' USING ERRCODE = 'CM001';
  END IF;

  IF jsonb_array_length(p_released) > 0 THEN
    UPDATE cmis.occurrences o
       SET decision = r.decision, execution_id = r.execution_id, task_id = r.task_id, decided_at = p_now,
           outcome = CASE r.decision WHEN 'cancelled' THEN 'skipped' END,
           finished_at = CASE r.decision WHEN 'cancelled' THEN p_now END
      FROM jsonb_to_recordset(p_released) AS r(org_id uuid, job_id uuid, scheduled_for timestamptz, decision text,
             execution_id uuid, task_id uuid)
     WHERE o.org_id = r.org_id AND o.job_id = r.job_id AND o.origin = 'schedule' AND o.scheduled_for = r.scheduled_for
       AND o.decision = 'buffered';
    GET DIAGNOSTICS v_moved = ROW_COUNT;
    IF v_moved <> jsonb_array_length(p_released) THEN
      RAISE EXCEPTION 'the occurrence that the job has buffered is gone' USING ERRCODE = 'CM002';
    END IF;
  END IF;
  IF jsonb_array_length(p_cancelled) > 0 THEN
    -- A row that is locked is being finished by its worker: a run that has begun completes.
    WITH open AS MATERIALIZED (
      SELECT o.org_id, o.job_id, o.scheduled_for FROM cmis.occurrences o
        JOIN jsonb_to_recordset(p_cancelled) AS c(org_id uuid, job_id uuid, low timestamptz, high timestamptz)
          ON o.org_id = c.org_id AND o.job_id = c.job_id AND o.scheduled_for BETWEEN c.low AND c.high
       WHERE o.origin = 'schedule' AND o.decision = 'run' AND o.outcome IS NULL
         FOR NO KEY UPDATE OF o SKIP LOCKED)
    UPDATE cmis.occurrences o SET cancel_requested = true FROM open
     WHERE o.org_id = open.org_id AND o.job_id = open.job_id AND o.origin = 'schedule'
       AND o.scheduled_for = open.scheduled_for;
  END IF;

  INSERT INTO cmis.occurrences (org_id, job_id, origin, scheduled_for, until, count, previous, job_revision, decision,
                                execution_id, task_id, outcome, decided_at, finished_at)
  SELECT o.org_id, o.job_id, 'schedule', o.scheduled_for, o.until, o.count, o.previous, o.job_revision, o.decision,
         o.execution_id, o.task_id, CASE WHEN o.decision NOT IN ('run', 'buffered') THEN 'skipped' END, p_now,
         CASE WHEN o.decision NOT IN ('run', 'buffered') THEN p_now END
    FROM jsonb_to_recordset(p_occurrences) AS o(org_id uuid, job_id uuid, scheduled_for timestamptz, until timestamptz,
           count integer, previous timestamptz, job_revision bigint, decision text, execution_id uuid, task_id uuid);

  INSERT INTO cmis.tasks (org_id, task_id, kind, queue, payload, run_at, publish_at, timeout_seconds, created_at)
  SELECT t.org_id, t.task_id, t.kind, t.queue, t.payload, t.run_at, t.run_at, t.timeout_seconds, p_now
    FROM jsonb_to_recordset(p_tasks) AS t(org_id uuid, task_id uuid, kind text, queue text, payload jsonb,
           run_at timestamptz, timeout_seconds integer);
END $$;
"""
