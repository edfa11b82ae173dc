"""Policies of scheduled jobs, what a scheduler remembers for them, and the index by which publishing is bounded."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_COLUMNS)
    run(_AUDIT_ACTIONS)
    run_as_engine(_STATUS_AUDIT)
    run(_DROP_AUDITS)
    run(_audits([*constant_of("0006", "_AUDITED")[_TABLE][2], *_AUDITED_TOO]))
    run_as_engine(_VERSION)
    run(_VERSION_TRIGGER)
    run_as_engine("UPDATE cmis.scheduled_jobs SET open_from = last_run_for WHERE last_run_for IS NOT NULL")


def downgrade() -> None:
    run("""
        DROP TRIGGER scheduled_jobs_version ON cmis.scheduled_jobs;
        DROP FUNCTION cmis.version_job();
        DROP TRIGGER scheduled_jobs_audit_status ON cmis.scheduled_jobs;
        DROP FUNCTION cmis.audit_status();
    """)
    run(_DROP_AUDITS)
    run(constant_of("0006", "_triggers")(_TABLE, *constant_of("0006", "_AUDITED")[_TABLE]))
    run(_BACK)


_COLUMNS = """
ALTER TABLE cmis.scheduled_jobs
  ADD COLUMN dst_gap TEXT DEFAULT 'next_valid' NOT NULL,
  ADD COLUMN dst_fold TEXT DEFAULT 'first' NOT NULL,
  ADD COLUMN month_end TEXT DEFAULT 'last_day' NOT NULL,
  ADD COLUMN misfire TEXT DEFAULT 'once' NOT NULL,
  ADD COLUMN misfire_grace_seconds INTEGER DEFAULT 3600 NOT NULL,
  ADD COLUMN overlap TEXT DEFAULT 'skip' NOT NULL,
  ADD COLUMN jitter_seconds INTEGER DEFAULT 0 NOT NULL,
  ADD COLUMN max_executions BIGINT,
  ADD COLUMN timeout_seconds INTEGER DEFAULT 300 NOT NULL,
  ADD COLUMN pause_on_failure_count INTEGER,
  ADD COLUMN execution_context JSONB DEFAULT '{}'::jsonb NOT NULL,
  ADD COLUMN revised_at TIMESTAMP WITH TIME ZONE,
  ADD COLUMN open_from TIMESTAMP WITH TIME ZONE,
  ADD COLUMN failures INTEGER DEFAULT 0 NOT NULL,
  ADD COLUMN buffered_for TIMESTAMP WITH TIME ZONE,
  ADD COLUMN review_at TIMESTAMP WITH TIME ZONE,
  ADD COLUMN pause_note TEXT,
  ADD CONSTRAINT scheduled_jobs_dst_gap_check CHECK (dst_gap IN ('next_valid', 'skip')),
  ADD CONSTRAINT scheduled_jobs_dst_fold_check CHECK (dst_fold IN ('first', 'both')),
  ADD CONSTRAINT scheduled_jobs_month_end_check CHECK (month_end IN ('last_day', 'skip')),
  ADD CONSTRAINT scheduled_jobs_misfire_check CHECK (misfire IN ('skip', 'once', 'all')),
  ADD CONSTRAINT scheduled_jobs_overlap_check CHECK (overlap IN ('skip', 'buffer_one', 'allow', 'cancel_other')),
  ADD CONSTRAINT scheduled_jobs_misfire_grace_seconds_check CHECK (misfire_grace_seconds BETWEEN 1 AND 2592000),
  ADD CONSTRAINT scheduled_jobs_jitter_seconds_check CHECK (jitter_seconds BETWEEN 0 AND 3600),
  ADD CONSTRAINT scheduled_jobs_timeout_seconds_check CHECK (timeout_seconds BETWEEN 1 AND 3600),
  ADD CONSTRAINT scheduled_jobs_max_executions_check CHECK (max_executions > 0),
  ADD CONSTRAINT scheduled_jobs_pause_on_failure_count_check CHECK (pause_on_failure_count > 0),
  ADD CONSTRAINT scheduled_jobs_execution_context_check CHECK (jsonb_typeof(execution_context) = 'object'),
  ADD CONSTRAINT scheduled_jobs_review_at_check CHECK (buffered_for IS NULL OR review_at IS NOT NULL),
  DROP CONSTRAINT scheduled_jobs_next_run_at_check,
  ADD CONSTRAINT scheduled_jobs_next_run_at_check
    CHECK (status <> 'active' OR next_run_at IS NOT NULL OR buffered_for IS NOT NULL);
CREATE INDEX scheduled_jobs_due_by_org ON cmis.scheduled_jobs (org_id, next_run_at) WHERE status = 'active';
DROP INDEX cmis.scheduled_jobs_org_id_status_idx; -- only active jobs are asked for by status, and a partial index has them
CREATE INDEX scheduled_jobs_review ON cmis.scheduled_jobs (review_at) WHERE review_at IS NOT NULL;

ALTER TABLE cmis.occurrences ADD COLUMN cancel_requested BOOLEAN DEFAULT false NOT NULL;
DROP INDEX cmis.occurrences_org_id_execution_id_idx; -- an execution names its job and planned time: the primary key
CREATE INDEX occurrences_cancel ON cmis.occurrences (org_id, scheduled_for) WHERE cancel_requested AND outcome IS NULL;

ALTER TABLE cmis.tasks ADD COLUMN started_at TIMESTAMP WITH TIME ZONE;
DROP INDEX cmis.tasks_publish;
CREATE INDEX tasks_publish ON cmis.tasks (queue, publish_at) WHERE state = 'ready';
CREATE INDEX tasks_unfinished ON cmis.tasks (run_at) WHERE state IN ('ready', 'running');
CREATE INDEX tasks_unfinished_by_org ON cmis.tasks (org_id, run_at) WHERE state IN ('ready', 'running');
"""

_BACK = """
ALTER TABLE cmis.scheduled_jobs
  DROP CONSTRAINT scheduled_jobs_next_run_at_check,
  ADD CONSTRAINT scheduled_jobs_next_run_at_check CHECK (status <> 'active' OR next_run_at IS NOT NULL),
  DROP COLUMN dst_gap, DROP COLUMN dst_fold, DROP COLUMN month_end, DROP COLUMN misfire,
  DROP COLUMN misfire_grace_seconds, DROP COLUMN overlap, DROP COLUMN jitter_seconds, DROP COLUMN max_executions,
  DROP COLUMN timeout_seconds, DROP COLUMN pause_on_failure_count, DROP COLUMN execution_context,
  DROP COLUMN revised_at, DROP COLUMN open_from, DROP COLUMN failures, DROP COLUMN buffered_for,
  DROP COLUMN review_at, DROP COLUMN pause_note;
DROP INDEX cmis.scheduled_jobs_due_by_org;
CREATE INDEX scheduled_jobs_org_id_status_idx ON cmis.scheduled_jobs (org_id, status);
CREATE INDEX occurrences_org_id_execution_id_idx ON cmis.occurrences (org_id, execution_id);
ALTER TABLE cmis.occurrences DROP COLUMN cancel_requested;
ALTER TABLE cmis.tasks DROP COLUMN started_at;
DROP INDEX cmis.tasks_publish, cmis.tasks_unfinished, cmis.tasks_unfinished_by_org;
CREATE INDEX tasks_publish ON cmis.tasks (publish_at) WHERE state = 'ready';
ALTER TABLE cmis.automation_audit_log DROP CONSTRAINT automation_audit_log_action_check;
ALTER TABLE cmis.automation_audit_log ADD CONSTRAINT automation_audit_log_action_check CHECK (action IN ('org_created', 'org_updated', 'user_created', 'user_updated', 'member_created', 'member_updated', 'member_deleted', 'campaign_created', 'campaign_updated', 'rule_created', 'rule_updated', 'rule_deleted', 'rule_activated', 'rule_paused', 'rule_archived', 'rule_executed', 'action_taken', 'job_created', 'job_updated', 'job_activated', 'job_paused', 'job_completed', 'job_failed', 'job_triggered', 'task_lost', 'task_died', 'task_cancelled', 'task_failed'));
"""

_AUDIT_ACTIONS = """
ALTER TABLE cmis.automation_audit_log DROP CONSTRAINT automation_audit_log_action_check;
ALTER TABLE cmis.automation_audit_log ADD CONSTRAINT automation_audit_log_action_check CHECK (action IN ('org_created', 'org_updated', 'user_created', 'user_updated', 'member_created', 'member_updated', 'member_deleted', 'campaign_created', 'campaign_updated', 'rule_created', 'rule_updated', 'rule_deleted', 'rule_activated', 'rule_paused', 'rule_archived', 'rule_executed', 'action_taken', 'job_created', 'job_updated', 'job_activated', 'job_paused', 'job_completed', 'job_failed', 'job_triggered', 'job_backfilled', 'task_lost', 'task_died', 'task_cancelled', 'task_failed'));
"""

_AUDITED_TOO = [
    "dst_gap",
    "dst_fold",
    "month_end",
    "misfire",
    "misfire_grace_seconds",
    "overlap",
    "jitter_seconds",
    "max_executions",
    "timeout_seconds",
    "pause_on_failure_count",
    "execution_context",
    "pause_note",
]


_TABLE = "scheduled_jobs"
_DROP_AUDITS = """
DROP TRIGGER scheduled_jobs_audit_insert ON cmis.scheduled_jobs;
DROP TRIGGER scheduled_jobs_audit_update ON cmis.scheduled_jobs;
"""

# A status changes alone, or with the note of a pause: the audit says what that means (paused, completed, …). Most of these
# are jobs of a burst that fire once. The general function compares all columns of a wide row, at 100 microseconds; this one
# writes what it knows, at a third of that.
_STATUS_AUDIT = """
CREATE FUNCTION cmis.audit_status() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_now timestamptz := cmis.clock();
  v_before jsonb := jsonb_build_object('status', OLD.status);
  v_after jsonb := jsonb_build_object('status', NEW.status);
BEGIN
  IF OLD.pause_note IS DISTINCT FROM NEW.pause_note THEN
    v_before := v_before || jsonb_build_object('pause_note', OLD.pause_note);
    v_after := v_after || jsonb_build_object('pause_note', NEW.pause_note);
  END IF;
  INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, rule_id, before, after, ip)
  VALUES (NEW.org_id, v_now, cmis.uuid_v7(v_now), 'job_' || CASE NEW.status WHEN 'active' THEN 'activated' ELSE NEW.status END,
          nullif(current_setting('app.current_user_id', true), '')::uuid, 'job', NEW.job_id, NEW.rule_id,
          v_before, v_after,
          nullif(current_setting('app.client_ip', true), '')::inet);
  RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.audit_status() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.audit_status() TO cmis_owner;
"""


def _audits(columns: list[str]) -> str:
    named = ", ".join(f'"{column}"' for column in columns)
    old, new = _others("OLD", columns), _others("NEW", columns)
    arguments = ", ".join(f"'{argument}'" for argument in ("job", "job_id", *columns))
    return f"""
        CREATE TRIGGER scheduled_jobs_audit_insert AFTER INSERT ON cmis.scheduled_jobs FOR EACH ROW
          EXECUTE FUNCTION cmis.audit_change({arguments});
        CREATE TRIGGER scheduled_jobs_audit_update AFTER UPDATE OF {named} ON cmis.scheduled_jobs FOR EACH ROW
          WHEN (({old}) IS DISTINCT FROM ({new}) OR OLD.status = NEW.status AND OLD.pause_note IS DISTINCT FROM NEW.pause_note)
          EXECUTE FUNCTION cmis.audit_change({arguments});
        CREATE TRIGGER scheduled_jobs_audit_status AFTER UPDATE OF status ON cmis.scheduled_jobs FOR EACH ROW
          WHEN (OLD.status <> NEW.status AND ({old}) IS NOT DISTINCT FROM ({new})) EXECUTE FUNCTION cmis.audit_status();
    """


def _others(row: str, columns: list[str]) -> str:
    return ", ".join(f'{row}."{column}"' for column in columns if column not in {"status", "pause_note"})


# The ledger names the revision that planned a time; whatever changes the plan, raw SQL too, moves it.
_VERSION = """
CREATE FUNCTION cmis.version_job() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.revision := OLD.revision + 1;
  NEW.updated_at := cmis.clock();
  RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.version_job() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.version_job() TO cmis_owner;
"""
_VERSION_TRIGGER = """
CREATE TRIGGER scheduled_jobs_version BEFORE UPDATE OF target_type, rule_id, schedule_type, frequency, "interval",
  time_of_day, days_of_week, day_of_month, cron_expression, timezone, start_date, end_date, anchor_at, dst_gap, dst_fold,
  month_end ON cmis.scheduled_jobs FOR EACH ROW WHEN (
    (OLD.target_type, OLD.rule_id, OLD.schedule_type, OLD.frequency, OLD."interval", OLD.time_of_day, OLD.days_of_week,
     OLD.day_of_month, OLD.cron_expression, OLD.timezone, OLD.start_date, OLD.end_date, OLD.anchor_at, OLD.dst_gap,
     OLD.dst_fold, OLD.month_end)
    IS DISTINCT FROM
    (NEW.target_type, NEW.rule_id, NEW.schedule_type, NEW.frequency, NEW."interval", NEW.time_of_day, NEW.days_of_week,
     NEW.day_of_month, NEW.cron_expression, NEW.timezone, NEW.start_date, NEW.end_date, NEW.anchor_at, NEW.dst_gap,
     NEW.dst_fold, NEW.month_end))
  EXECUTE FUNCTION cmis.version_job();
"""
