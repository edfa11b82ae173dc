"""Scheduled jobs, the ledger of their occurrences, and the durable queue."""

from migrations.ddl import drop_tables, partition_ahead, protect, run

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_TABLES)
    protect("scheduled_jobs", app="SELECT, INSERT, UPDATE")
    protect("occurrences", app="SELECT, INSERT, UPDATE")
    protect("tasks", app="SELECT, INSERT, UPDATE", engine="SELECT, INSERT, UPDATE, DELETE")
    protect("task_attempts", app="SELECT, INSERT, UPDATE")
    run(_DEFAULT_PARTITION)
    partition_ahead()


def downgrade() -> None:
    drop_tables(["task_attempts", "tasks", "occurrences", "scheduled_jobs"])


_TABLES = """
CREATE TABLE cmis.occurrences (
    org_id UUID NOT NULL,
    job_id UUID NOT NULL,
    origin TEXT NOT NULL,
    scheduled_for TIMESTAMP WITH TIME ZONE NOT NULL,
    until TIMESTAMP WITH TIME ZONE NOT NULL,
    count INTEGER NOT NULL,
    previous TIMESTAMP WITH TIME ZONE,
    job_revision BIGINT NOT NULL,
    decision TEXT NOT NULL,
    execution_id UUID,
    task_id UUID,
    actor_id UUID,
    outcome TEXT,
    decided_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT occurrences_pkey PRIMARY KEY (org_id, job_id, origin, scheduled_for),
    CONSTRAINT occurrences_origin_check CHECK (origin IN ('schedule', 'manual', 'backfill')),
    CONSTRAINT occurrences_decision_check CHECK (decision IN ('run', 'buffered', 'coalesced', 'misfired', 'overlap_skipped', 'dst_skipped', 'month_end_skipped', 'paused', 'limit_reached', 'cancelled')),
    CONSTRAINT occurrences_outcome_check CHECK (outcome IN ('success', 'partial', 'failure', 'skipped', 'cancelled', 'lost')),
    CONSTRAINT occurrences_stretch_check CHECK (count > 0 AND until >= scheduled_for AND (count = 1) = (until = scheduled_for)),
    CONSTRAINT occurrences_run_check CHECK ((decision = 'run') = (execution_id IS NOT NULL) AND (decision = 'run') = (task_id IS NOT NULL)),
    CONSTRAINT occurrences_run_count_check CHECK (decision <> 'run' OR count = 1),
    CONSTRAINT occurrences_finished_at_check CHECK ((outcome IS NULL) = (finished_at IS NULL)),
    CONSTRAINT occurrences_actor_check CHECK ((origin = 'schedule') = (actor_id IS NULL))
)
 PARTITION BY RANGE (scheduled_for);
CREATE INDEX occurrences_org_id_execution_id_idx ON cmis.occurrences (org_id, execution_id);

CREATE TABLE cmis.task_attempts (
    org_id UUID NOT NULL,
    attempt_id UUID NOT NULL,
    task_id UUID NOT NULL,
    fence BIGINT NOT NULL,
    attempt INTEGER NOT NULL,
    worker TEXT NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    outcome TEXT,
    error JSONB,
    CONSTRAINT task_attempts_pkey PRIMARY KEY (org_id, attempt_id),
    CONSTRAINT task_attempts_outcome_check CHECK (outcome IN ('succeeded', 'failed', 'lost', 'cancelled')),
    CONSTRAINT task_attempts_finished_at_check CHECK ((outcome IS NULL) = (finished_at IS NULL))
)
 PARTITION BY RANGE (attempt_id);
CREATE INDEX task_attempts_org_id_task_id_fence_idx ON cmis.task_attempts (org_id, task_id, fence);

CREATE TABLE cmis.tasks (
    org_id UUID NOT NULL,
    task_id UUID NOT NULL,
    kind TEXT NOT NULL,
    queue TEXT NOT NULL,
    payload JSONB DEFAULT '{}'::jsonb NOT NULL,
    state TEXT DEFAULT 'ready' NOT NULL,
    run_at TIMESTAMP WITH TIME ZONE NOT NULL,
    publish_at TIMESTAMP WITH TIME ZONE,
    published_at TIMESTAMP WITH TIME ZONE,
    delivery INTEGER DEFAULT 0 NOT NULL,
    priority SMALLINT DEFAULT 4 NOT NULL,
    fence BIGINT DEFAULT 0 NOT NULL,
    attempt INTEGER DEFAULT 0 NOT NULL,
    max_attempts INTEGER DEFAULT 5 NOT NULL,
    attempt_id UUID,
    lease_owner TEXT,
    lease_expires_at TIMESTAMP WITH TIME ZONE,
    cancel_requested BOOLEAN DEFAULT false NOT NULL,
    timeout_seconds INTEGER DEFAULT 300 NOT NULL,
    dedupe_key TEXT,
    traceparent TEXT,
    result JSONB,
    error JSONB,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT tasks_pkey PRIMARY KEY (org_id, task_id),
    CONSTRAINT tasks_org_id_dedupe_key_key UNIQUE (org_id, dedupe_key),
    CONSTRAINT tasks_kind_check CHECK (kind IN ('evaluate_rules', 'maintain')),
    CONSTRAINT tasks_queue_check CHECK (queue IN ('rules', 'workflows', 'actions', 'ingest', 'maintenance')),
    CONSTRAINT tasks_state_check CHECK (state IN ('ready', 'held', 'running', 'succeeded', 'failed', 'dead', 'cancelled')),
    CONSTRAINT tasks_lease_owner_check CHECK ((state = 'running') = (lease_owner IS NOT NULL)),
    CONSTRAINT tasks_lease_expires_at_check CHECK ((state = 'running') = (lease_expires_at IS NOT NULL)),
    CONSTRAINT tasks_finished_at_check CHECK ((state IN ('succeeded', 'failed', 'dead', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT tasks_publish_at_check CHECK (state <> 'ready' OR publish_at IS NOT NULL),
    CONSTRAINT tasks_attempt_check CHECK (attempt BETWEEN 0 AND max_attempts AND max_attempts > 0),
    CONSTRAINT tasks_priority_check CHECK (priority BETWEEN 0 AND 9)
);
CREATE INDEX tasks_final ON cmis.tasks (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX tasks_lease ON cmis.tasks (lease_expires_at) WHERE state = 'running';
CREATE INDEX tasks_org_id_state_idx ON cmis.tasks (org_id, state);
CREATE INDEX tasks_publish ON cmis.tasks (publish_at) WHERE state = 'ready';

CREATE TABLE cmis.scheduled_jobs (
    org_id UUID NOT NULL,
    job_id UUID NOT NULL,
    name TEXT NOT NULL,
    target_type TEXT DEFAULT 'rule' NOT NULL,
    rule_id UUID,
    schedule_type TEXT NOT NULL,
    frequency TEXT,
    interval INTEGER DEFAULT 1 NOT NULL,
    time_of_day TIME WITHOUT TIME ZONE,
    days_of_week SMALLINT[],
    day_of_month TEXT,
    cron_expression TEXT,
    timezone TEXT DEFAULT 'UTC' NOT NULL,
    start_date TIMESTAMP WITH TIME ZONE,
    end_date TIMESTAMP WITH TIME ZONE,
    anchor_at TIMESTAMP WITH TIME ZONE NOT NULL,
    status TEXT DEFAULT 'active' NOT NULL,
    revision BIGINT DEFAULT 1 NOT NULL,
    next_run_at TIMESTAMP WITH TIME ZONE,
    last_scheduled_for TIMESTAMP WITH TIME ZONE,
    last_run_for TIMESTAMP WITH TIME ZONE,
    last_run_at TIMESTAMP WITH TIME ZONE,
    run_count BIGINT DEFAULT 0 NOT NULL,
    last_error TEXT,
    owner_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT scheduled_jobs_pkey PRIMARY KEY (org_id, job_id),
    CONSTRAINT scheduled_jobs_org_id_rule_id_fkey FOREIGN KEY(org_id, rule_id) REFERENCES cmis.automation_rules (org_id, rule_id),
    CONSTRAINT scheduled_jobs_org_id_name_key UNIQUE (org_id, name),
    CONSTRAINT scheduled_jobs_target_type_check CHECK (target_type IN ('rule')),
    CONSTRAINT scheduled_jobs_schedule_type_check CHECK (schedule_type IN ('once', 'recurring', 'cron')),
    CONSTRAINT scheduled_jobs_frequency_check CHECK (frequency IN ('hourly', 'daily', 'weekly', 'monthly')),
    CONSTRAINT scheduled_jobs_status_check CHECK (status IN ('active', 'paused', 'completed', 'failed')),
    CONSTRAINT scheduled_jobs_target_check CHECK ((target_type = 'rule') = (rule_id IS NOT NULL)),
    CONSTRAINT scheduled_jobs_next_run_at_check CHECK (status <> 'active' OR next_run_at IS NOT NULL),
    CONSTRAINT scheduled_jobs_interval_check CHECK ("interval" > 0),
    CONSTRAINT scheduled_jobs_cron_expression_check CHECK ((schedule_type = 'cron') = (cron_expression IS NOT NULL)),
    CONSTRAINT scheduled_jobs_recurring_check CHECK ((schedule_type = 'recurring') = (frequency IS NOT NULL)),
    CONSTRAINT scheduled_jobs_once_check CHECK (schedule_type <> 'once' OR start_date IS NOT NULL),
    CONSTRAINT scheduled_jobs_end_date_check CHECK (end_date >= start_date),
    CONSTRAINT scheduled_jobs_org_id_fkey FOREIGN KEY(org_id) REFERENCES cmis.orgs (org_id)
);
CREATE INDEX scheduled_jobs_due ON cmis.scheduled_jobs (next_run_at) WHERE status = 'active';
CREATE INDEX scheduled_jobs_org_id_rule_id_idx ON cmis.scheduled_jobs (org_id, rule_id);
CREATE INDEX scheduled_jobs_org_id_status_idx ON cmis.scheduled_jobs (org_id, status);
"""

# A backfill may reach far into the past: such occurrences have no month of their own.
_DEFAULT_PARTITION = """
CREATE TABLE cmis.occurrences_default PARTITION OF cmis.occurrences DEFAULT;
ALTER TABLE cmis.occurrences_default ENABLE ROW LEVEL SECURITY;
ALTER TABLE cmis.occurrences_default FORCE ROW LEVEL SECURITY;
CREATE POLICY org_isolation ON cmis.occurrences_default
  USING (org_id = (SELECT nullif(current_setting('app.current_org_id', true), '')::uuid))
  WITH CHECK (org_id = (SELECT nullif(current_setting('app.current_org_id', true), '')::uuid));
"""
