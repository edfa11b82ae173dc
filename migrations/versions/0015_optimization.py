"""Jobs whose target is an optimisation: every active rule of an org, on all its campaigns or on one."""

from migrations.ddl import constant_of, drop_tables, protect, run, run_as_engine

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_TABLE)
    protect("optimizations", app="SELECT, INSERT", engine="SELECT, INSERT")
    run(_COLUMN)
    _watch([*_audited(), "campaign_id"], [*_PLANNED, "campaign_id"])
    run("DROP FUNCTION cmis.claim_due_jobs(integer, uuid[], integer, integer)")
    run_as_engine(_CLAIM + _GRANT)
    run_as_engine(_REAP)


def downgrade() -> None:
    run("DROP FUNCTION cmis.claim_due_jobs(integer, uuid[], integer, integer)")
    run_as_engine(constant_of("0011", "_CLAIM") + _GRANT)
    run_as_engine(constant_of("0012", "_REAP"))
    _watch(_audited(), _PLANNED)
    run(_BACK)
    drop_tables(["optimizations"])


_TABLE = """
CREATE TABLE cmis.optimizations (
    org_id UUID NOT NULL,
    optimization_id UUID NOT NULL,
    job_id UUID,
    campaign_id UUID,
    trigger TEXT NOT NULL,
    scheduled_for TIMESTAMP WITH TIME ZONE,
    task_id UUID NOT NULL,
    status TEXT NOT NULL,
    counts JSONB DEFAULT '{}'::jsonb NOT NULL,
    error JSONB,
    requested_by UUID,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT optimizations_pkey PRIMARY KEY (org_id, optimization_id),
    CONSTRAINT optimizations_status_check CHECK (status IN ('success', 'partial', 'failure', 'skipped')),
    CONSTRAINT optimizations_trigger_check CHECK (trigger IN ('schedule', 'event', 'manual')),
    CONSTRAINT optimizations_org_id_campaign_id_fkey FOREIGN KEY(org_id, campaign_id) REFERENCES cmis.campaigns (org_id, campaign_id),
    CONSTRAINT optimizations_org_id_job_id_fkey FOREIGN KEY(org_id, job_id) REFERENCES cmis.scheduled_jobs (org_id, job_id)
);
CREATE INDEX optimizations_org_id_campaign_id_idx ON cmis.optimizations (org_id, campaign_id);
CREATE INDEX optimizations_org_id_job_id_idx ON cmis.optimizations (org_id, job_id);
"""

_COLUMN = """
ALTER TABLE cmis.scheduled_jobs
  ADD COLUMN campaign_id UUID,
  DROP CONSTRAINT scheduled_jobs_target_type_check,
  ADD CONSTRAINT scheduled_jobs_target_type_check CHECK (target_type IN ('rule', 'optimization')),
  ADD CONSTRAINT scheduled_jobs_campaign_id_check CHECK (campaign_id IS NULL OR target_type = 'optimization'),
  ADD CONSTRAINT scheduled_jobs_org_id_campaign_id_fkey FOREIGN KEY(org_id, campaign_id)
    REFERENCES cmis.campaigns (org_id, campaign_id);
CREATE INDEX scheduled_jobs_org_id_campaign_id_idx ON cmis.scheduled_jobs (org_id, campaign_id);
"""
_BACK = """
ALTER TABLE cmis.scheduled_jobs
  DROP CONSTRAINT scheduled_jobs_target_type_check,
  ADD CONSTRAINT scheduled_jobs_target_type_check CHECK (target_type IN ('rule')),
  DROP COLUMN campaign_id;
"""

_PLANNED = [
    "target_type",
    "rule_id",
    "schedule_type",
    "frequency",
    "interval",
    "time_of_day",
    "days_of_week",
    "day_of_month",
    "cron_expression",
    "timezone",
    "start_date",
    "end_date",
    "anchor_at",
    "dst_gap",
    "dst_fold",
    "month_end",
]
"""What the ledger's revision stands for (0010)."""


def _audited() -> list[str]:
    return [*constant_of("0006", "_AUDITED")["scheduled_jobs"][2], *constant_of("0010", "_AUDITED_TOO")]


def _watch(audited: list[str], planned: list[str]) -> None:
    """Make the triggers of the jobs' audit and of their revision anew, over these columns."""
    run(constant_of("0010", "_DROP_AUDITS"))
    run("DROP TRIGGER scheduled_jobs_audit_status ON cmis.scheduled_jobs")
    run(constant_of("0010", "_audits")(audited))
    named = ", ".join(f'"{column}"' for column in planned)
    old, new = (", ".join(f'{row}."{column}"' for column in planned) for row in ("OLD", "NEW"))
    run(f"""
        DROP TRIGGER scheduled_jobs_version ON cmis.scheduled_jobs;
        CREATE TRIGGER scheduled_jobs_version BEFORE UPDATE OF {named} ON cmis.scheduled_jobs FOR EACH ROW
          WHEN (({old}) IS DISTINCT FROM ({new})) EXECUTE FUNCTION cmis.version_job();
    """)


_GRANT = """
REVOKE EXECUTE ON FUNCTION cmis.claim_due_jobs(integer, uuid[], integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.claim_due_jobs(integer, uuid[], integer, integer) TO cmis_scheduler;
"""

# As in 0011, and jobs that have no rule are claimed, too.
_CLAIM = """
CREATE FUNCTION cmis.claim_due_jobs(p_limit integer, p_orgs uuid[] DEFAULT NULL, p_share integer DEFAULT 0,
                                    p_cap integer DEFAULT 0)
RETURNS TABLE (
  now timestamptz, org_id uuid, job_id uuid, target_type text, rule_id uuid, campaign_id uuid, entities bigint,
  schedule_type text, frequency text,
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
  SELECT v_now, j.org_id, j.job_id, j.target_type, j.rule_id, j.campaign_id,
         CASE WHEN coalesce(r.entity_id, j.campaign_id) IS NULL THEN sizes.campaigns ELSE 1 END,
         j.schedule_type, j.frequency, j."interval", j.time_of_day, j.days_of_week, j.day_of_month, j.cron_expression,
         j.timezone, j.start_date, j.end_date, j.anchor_at, j.dst_gap, j.dst_fold, j.month_end, j.misfire,
         j.misfire_grace_seconds, j.overlap, j.jitter_seconds, j.max_executions, j.timeout_seconds,
         j.pause_on_failure_count, nullif(j.execution_context, '{}'), j.status, j.revision, j.created_at, j.revised_at, j.next_run_at,
         j.last_scheduled_for, j.last_run_for, j.run_count, j.open_from, j.failures, j.buffered_for,
         runs.outcomes, runs.first_open
    FROM claimed j JOIN sizes USING (org_id)
    LEFT JOIN cmis.automation_rules r ON r.org_id = j.org_id AND r.rule_id = j.rule_id
    LEFT JOIN LATERAL (
      SELECT string_agg(coalesce(o.outcome, 'open'), ' ' ORDER BY o.scheduled_for) AS outcomes,
             min(o.scheduled_for) FILTER (WHERE o.outcome IS NULL) AS first_open
        FROM cmis.occurrences o
       WHERE o.org_id = j.org_id AND o.job_id = j.job_id AND o.origin = 'schedule' AND o.decision = 'run'
         AND o.scheduled_for BETWEEN j.open_from AND j.last_run_for) runs ON j.open_from IS NOT NULL
   ORDER BY j.place;
END $$;
"""

# As in 0012; an item that is an optimisation has no rule, and leaves a result of its own.
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
             scheduled_for timestamptz, trigger text, context jsonb, requested_by uuid, optimize jsonb)
     WHERE m.state <> 'ready' AND m.kind = 'evaluate_rules'),
  executions AS (
    INSERT INTO cmis.automation_executions (org_id, execution_id, rule_id, rule_version, task_id, job_id, trigger,
           scheduled_for, status, attempt, started_at, finished_at, duration_ms, error, context)
    SELECT i.org_id, i.execution_id, i.rule_id, r.version, i.task_id, i.job_id, i.trigger, i.scheduled_for, 'failure',
           i.attempt, v_now, v_now, 0, i.error,
           coalesce(i.context, '{}') - 'requested_by' || jsonb_strip_nulls(jsonb_build_object('requested_by', i.requested_by))
      FROM items i JOIN cmis.automation_rules r ON r.org_id = i.org_id AND r.rule_id = i.rule_id WHERE i.state = 'dead'),
  optimizations AS (
    INSERT INTO cmis.optimizations (org_id, optimization_id, job_id, campaign_id, trigger, scheduled_for, task_id, status,
           error, requested_by, started_at, finished_at)
    SELECT i.org_id, i.execution_id, i.job_id, (i.optimize ->> 'campaign_id')::uuid, i.trigger, i.scheduled_for, i.task_id,
           'failure', i.error, i.requested_by, v_now, v_now
      FROM items i WHERE i.state = 'dead' AND i.optimize IS NOT NULL),
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
           jsonb_build_object('status', 'failure', 'error', i.error) FROM items i WHERE i.state = 'dead' AND i.rule_id IS NOT NULL
    UNION ALL
    SELECT m.org_id, v_now, cmis.uuid_v7(v_now),
           CASE m.state WHEN 'ready' THEN 'task_lost' WHEN 'dead' THEN 'task_died' ELSE 'task_cancelled' END,
           v_engine, 'task', m.task_id, NULL, NULL,
           jsonb_build_object('fence', m.fence, 'attempt', m.attempt, 'error', m.error) FROM moved m)
  SELECT m.org_id, m.task_id, m.state FROM moved m;
END $$;
"""
