"""Workflows: templates with their versions, instances with their steps, and where else these are named."""

from migrations import transitions
from migrations.ddl import CONTEXT_ORG, constant_of, drop_tables, protect, run, run_as_engine

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_TABLES)
    protect("workflow_templates", app="SELECT, INSERT, UPDATE")
    protect("workflow_template_versions", app="SELECT, INSERT", engine="SELECT")
    protect("workflow_instances", app="SELECT, INSERT, UPDATE")
    protect("workflow_steps", app="SELECT, INSERT, UPDATE")
    run(_SHARED)
    run_as_engine(transitions.REFUSE)
    run(transitions.guards())
    run(_ELSEWHERE)
    run(_kinds("'evaluate_rules', 'apply_actions', 'deliver', 'run_workflow', 'maintain'"))
    run(_HELD)
    run(constant_of("0013", "_audit_actions")(_audited_now()))
    run(constant_of("0006", "_triggers")("workflow_templates", "workflow", "template_id", _CONFIGURATION))
    run(_TIMELINE)


def downgrade() -> None:
    run("DROP VIEW cmis.v_workflow_timeline")
    run("DROP INDEX cmis.tasks_held_instance")
    run(_kinds("'evaluate_rules', 'apply_actions', 'deliver', 'maintain'"))
    run(_ELSEWHERE_BACK)
    drop_tables(["workflow_steps", "workflow_instances", "workflow_template_versions", "workflow_templates"])
    run("DROP FUNCTION cmis.refuse_transition()")
    run(constant_of("0013", "_audit_actions")(constant_of("0018", "_audited_now")()))


def _kinds(allowed: str) -> str:
    statement: str = constant_of("0018", "_kinds")(allowed)
    return statement


_TABLES = """
CREATE TABLE cmis.workflow_templates (
    org_id UUID NOT NULL,
    template_id UUID NOT NULL,
    name TEXT NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    category TEXT NOT NULL,
    tags JSONB DEFAULT '[]'::jsonb NOT NULL,
    status TEXT DEFAULT 'draft' NOT NULL,
    is_public BOOLEAN DEFAULT false NOT NULL,
    definition JSONB NOT NULL,
    version INTEGER,
    event_type TEXT,
    event_conditions JSONB,
    usage_count BIGINT DEFAULT 0 NOT NULL,
    active_instances BIGINT DEFAULT 0 NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    cloned_from JSONB,
    owner_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT workflow_templates_pkey PRIMARY KEY (org_id, template_id),
    CONSTRAINT workflow_templates_org_id_name_key UNIQUE (org_id, name),
    CONSTRAINT workflow_templates_category_check CHECK (category IN ('social', 'campaign', 'lead_nurture', 'engagement', 'reporting')),
    CONSTRAINT workflow_templates_status_check CHECK (status IN ('draft', 'active', 'archived')),
    CONSTRAINT workflow_templates_name_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT workflow_templates_definition_check CHECK (jsonb_typeof(definition) = 'object'),
    CONSTRAINT workflow_templates_version_check CHECK (status <> 'active' OR version IS NOT NULL),
    CONSTRAINT workflow_templates_event_conditions_check CHECK (event_conditions IS NULL OR event_type IS NOT NULL),
    CONSTRAINT workflow_templates_counts_check CHECK (active_instances >= 0 AND usage_count >= 0),
    CONSTRAINT workflow_templates_org_id_fkey FOREIGN KEY(org_id) REFERENCES cmis.orgs (org_id)
);
CREATE INDEX workflow_templates_org_id_event_type_idx ON cmis.workflow_templates (org_id, event_type) WHERE event_type IS NOT NULL;
CREATE INDEX workflow_templates_org_id_status_idx ON cmis.workflow_templates (org_id, status);
CREATE TABLE cmis.workflow_template_versions (
    org_id UUID NOT NULL,
    template_id UUID NOT NULL,
    version INTEGER NOT NULL,
    definition JSONB NOT NULL,
    steps INTEGER NOT NULL,
    published_by UUID NOT NULL,
    published_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT workflow_template_versions_pkey PRIMARY KEY (org_id, template_id, version),
    CONSTRAINT workflow_template_versions_org_id_template_id_fkey FOREIGN KEY(org_id, template_id) REFERENCES cmis.workflow_templates (org_id, template_id),
    CONSTRAINT workflow_template_versions_version_check CHECK (version > 0),
    CONSTRAINT workflow_template_versions_steps_check CHECK (steps > 0)
);
CREATE TABLE cmis.workflow_instances (
    org_id UUID NOT NULL,
    instance_id UUID NOT NULL,
    template_id UUID NOT NULL,
    version INTEGER NOT NULL,
    status TEXT DEFAULT 'pending' NOT NULL,
    trigger_type TEXT NOT NULL,
    triggered_by UUID,
    event_id UUID,
    job_id UUID,
    origin TEXT,
    scheduled_for TIMESTAMP WITH TIME ZONE,
    action_id UUID,
    parent_instance_id UUID,
    parent_step_id TEXT,
    forked_from UUID,
    idempotency_key TEXT,
    context_data JSONB DEFAULT '{}'::jsonb NOT NULL,
    output_data JSONB,
    current_step TEXT,
    steps_total INTEGER NOT NULL,
    steps_completed INTEGER DEFAULT 0 NOT NULL,
    steps_failed INTEGER DEFAULT 0 NOT NULL,
    steps_skipped INTEGER DEFAULT 0 NOT NULL,
    steps_cancelled INTEGER DEFAULT 0 NOT NULL,
    revision BIGINT DEFAULT 0 NOT NULL,
    error JSONB,
    pause_note TEXT,
    timeout_at TIMESTAMP WITH TIME ZONE,
    timeout_task_id UUID,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    duration_ms BIGINT,
    CONSTRAINT workflow_instances_pkey PRIMARY KEY (org_id, instance_id),
    CONSTRAINT workflow_instances_org_id_template_id_version_fkey FOREIGN KEY(org_id, template_id, version) REFERENCES cmis.workflow_template_versions (org_id, template_id, version),
    CONSTRAINT workflow_instances_org_id_parent_instance_id_fkey FOREIGN KEY(org_id, parent_instance_id) REFERENCES cmis.workflow_instances (org_id, instance_id),
    CONSTRAINT workflow_instances_org_id_forked_from_fkey FOREIGN KEY(org_id, forked_from) REFERENCES cmis.workflow_instances (org_id, instance_id),
    CONSTRAINT workflow_instances_status_check CHECK (status IN ('pending', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    CONSTRAINT workflow_instances_trigger_type_check CHECK (trigger_type IN ('scheduled', 'event', 'manual', 'api')),
    CONSTRAINT workflow_instances_origin_check CHECK (origin IN ('schedule', 'manual', 'backfill')),
    CONSTRAINT workflow_instances_finished_at_check CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT workflow_instances_started_at_check CHECK (status IN ('pending', 'paused', 'cancelled', 'failed') OR started_at IS NOT NULL),
    CONSTRAINT workflow_instances_parent_check CHECK ((parent_instance_id IS NULL) = (parent_step_id IS NULL)),
    CONSTRAINT workflow_instances_job_check CHECK ((job_id IS NULL) = (scheduled_for IS NULL) AND (job_id IS NULL) = (origin IS NULL)),
    CONSTRAINT workflow_instances_steps_check CHECK (steps_completed >= 0 AND steps_failed >= 0 AND steps_skipped >= 0 AND steps_cancelled >= 0 AND steps_completed + steps_failed + steps_skipped + steps_cancelled <= steps_total),
    CONSTRAINT workflow_instances_completed_check CHECK (status <> 'completed' OR steps_completed + steps_failed + steps_skipped + steps_cancelled = steps_total),
    CONSTRAINT workflow_instances_context_data_check CHECK (jsonb_typeof(context_data) = 'object'),
    CONSTRAINT workflow_instances_idempotency_key_check CHECK (length(idempotency_key) BETWEEN 1 AND 200)
);
CREATE UNIQUE INDEX workflow_instances_idempotency_key ON cmis.workflow_instances (org_id, template_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX workflow_instances_org_id_forked_from_idx ON cmis.workflow_instances (org_id, forked_from) WHERE forked_from IS NOT NULL;
CREATE INDEX workflow_instances_org_id_job_id_scheduled_for_idx ON cmis.workflow_instances (org_id, job_id, scheduled_for) WHERE job_id IS NOT NULL;
CREATE INDEX workflow_instances_org_id_parent_instance_id_idx ON cmis.workflow_instances (org_id, parent_instance_id) WHERE parent_instance_id IS NOT NULL;
CREATE INDEX workflow_instances_org_id_status_idx ON cmis.workflow_instances (org_id, status);
CREATE INDEX workflow_instances_org_id_template_id_status_idx ON cmis.workflow_instances (org_id, template_id, status);
CREATE INDEX workflow_instances_org_id_template_id_version_idx ON cmis.workflow_instances (org_id, template_id, version);
CREATE TABLE cmis.workflow_steps (
    org_id UUID NOT NULL,
    instance_id UUID NOT NULL,
    step_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    type TEXT NOT NULL,
    status TEXT DEFAULT 'pending' NOT NULL,
    attempt INTEGER DEFAULT 0 NOT NULL,
    branch_taken TEXT,
    task_id UUID,
    input_data JSONB,
    output_data JSONB,
    error JSONB,
    note TEXT,
    decided_by UUID,
    wake_at TIMESTAMP WITH TIME ZONE,
    waits_for TEXT,
    event_type TEXT,
    correlation TEXT,
    action_id UUID,
    child_instance_id UUID,
    started_at TIMESTAMP WITH TIME ZONE,
    finished_at TIMESTAMP WITH TIME ZONE,
    duration_ms BIGINT,
    CONSTRAINT workflow_steps_pkey PRIMARY KEY (org_id, instance_id, step_id),
    CONSTRAINT workflow_steps_org_id_instance_id_fkey FOREIGN KEY(org_id, instance_id) REFERENCES cmis.workflow_instances (org_id, instance_id),
    CONSTRAINT workflow_steps_type_check CHECK (type IN ('action', 'condition', 'delay', 'split', 'merge', 'wait_for_event', 'approval', 'subworkflow')),
    CONSTRAINT workflow_steps_status_check CHECK (status IN ('pending', 'queued', 'running', 'waiting', 'retrying', 'completed', 'failed', 'skipped', 'cancelled')),
    CONSTRAINT workflow_steps_finished_at_check CHECK ((status IN ('completed', 'failed', 'skipped', 'cancelled')) = (finished_at IS NOT NULL)),
    CONSTRAINT workflow_steps_task_id_check CHECK (status NOT IN ('queued', 'running', 'retrying') OR task_id IS NOT NULL),
    CONSTRAINT workflow_steps_wake_at_check CHECK (status <> 'retrying' OR wake_at IS NOT NULL),
    CONSTRAINT workflow_steps_waits_for_check CHECK ((status = 'waiting') = (waits_for IS NOT NULL)),
    CONSTRAINT workflow_steps_started_at_check CHECK (status <> 'running' OR started_at IS NOT NULL),
    CONSTRAINT workflow_steps_attempt_check CHECK (attempt >= 0),
    CONSTRAINT workflow_steps_correlation_check CHECK (correlation IS NULL OR event_type IS NOT NULL)
);
CREATE INDEX workflow_steps_events ON cmis.workflow_steps (org_id, event_type, correlation) WHERE status = 'waiting' AND event_type IS NOT NULL;
CREATE INDEX workflow_steps_org_id_waits_for_idx ON cmis.workflow_steps (org_id, waits_for) WHERE status = 'waiting';
"""

# Reading only, and only for somebody: without a context nothing is public. A version is as public as its template.
_SHARED = f"""
CREATE POLICY public_templates ON cmis.workflow_templates FOR SELECT TO cmis_app
  USING (is_public AND status = 'active' AND {CONTEXT_ORG} IS NOT NULL);
CREATE POLICY public_versions ON cmis.workflow_template_versions FOR SELECT TO cmis_app
  USING (EXISTS (SELECT FROM cmis.workflow_templates t
                  WHERE t.org_id = workflow_template_versions.org_id AND t.template_id = workflow_template_versions.template_id
                    AND t.is_public AND t.status = 'active' AND {CONTEXT_ORG} IS NOT NULL));
"""

_ELSEWHERE = """
ALTER TABLE cmis.automation_actions
  ADD COLUMN instance_id UUID,
  ADD COLUMN step_id TEXT,
  ADD CONSTRAINT automation_actions_instance_id_check
    CHECK ((instance_id IS NULL) = (step_id IS NULL) AND (instance_id IS NULL OR execution_id IS NULL));
CREATE INDEX automation_actions_org_id_instance_id_idx ON cmis.automation_actions (org_id, instance_id)
  WHERE instance_id IS NOT NULL;
ALTER TABLE cmis.scheduled_jobs
  ADD COLUMN template_id UUID,
  DROP CONSTRAINT scheduled_jobs_target_type_check,
  ADD CONSTRAINT scheduled_jobs_target_type_check CHECK (target_type IN ('rule', 'optimization', 'workflow')),
  ADD CONSTRAINT scheduled_jobs_template_id_check CHECK ((target_type = 'workflow') = (template_id IS NOT NULL)),
  ADD CONSTRAINT scheduled_jobs_org_id_template_id_fkey FOREIGN KEY (org_id, template_id)
    REFERENCES cmis.workflow_templates (org_id, template_id);
CREATE INDEX scheduled_jobs_org_id_template_id_idx ON cmis.scheduled_jobs (org_id, template_id) WHERE template_id IS NOT NULL;
ALTER TABLE cmis.occurrences
  ADD COLUMN instance_id UUID,
  DROP CONSTRAINT occurrences_run_check,
  ADD CONSTRAINT occurrences_run_check
    CHECK ((decision = 'run') = (num_nonnulls(execution_id, instance_id) = 1) AND (decision = 'run') = (task_id IS NOT NULL));
"""
_ELSEWHERE_BACK = """
ALTER TABLE cmis.occurrences
  DROP COLUMN instance_id,
  ADD CONSTRAINT occurrences_run_check
    CHECK ((decision = 'run') = (execution_id IS NOT NULL) AND (decision = 'run') = (task_id IS NOT NULL));
ALTER TABLE cmis.scheduled_jobs
  DROP COLUMN template_id,
  DROP CONSTRAINT scheduled_jobs_target_type_check,
  ADD CONSTRAINT scheduled_jobs_target_type_check CHECK (target_type IN ('rule', 'optimization'));
ALTER TABLE cmis.automation_actions DROP COLUMN instance_id, DROP COLUMN step_id;
"""

# The tasks that a paused instance has waiting: released when it goes on.
_HELD = """
CREATE INDEX tasks_held_instance ON cmis.tasks (org_id, (payload #>> '{items,0,instance_id}'))
  WHERE state = 'held' AND kind = 'run_workflow';
"""

_AUDITED_TOO = [
    "workflow_published",
    "instance_started",
    "instance_paused",
    "instance_resumed",
    "instance_completed",
    "instance_failed",
    "instance_cancelled",
    "instance_forked",
    "instance_migrated",
    "step_completed",
    "step_failed",
    "step_skipped",
    "step_cancelled",
    "step_retried",
    "step_approved",
    "step_rejected",
]


def _audited_now() -> list[str]:
    before: list[str] = constant_of("0018", "_audited_now")()
    place = before.index("workflow_instantiated") + 1
    return [*before[:place], *_AUDITED_TOO, *before[place:]]


_CONFIGURATION = [
    "name",
    "description",
    "category",
    "tags",
    "status",
    "is_public",
    "definition",
    "version",
    "event_type",
    "event_conditions",
    "owner_id",
]

# By the day (UTC) on which they were started. Seconds, of those that ended.
_TIMELINE = """
CREATE VIEW cmis.v_workflow_timeline WITH (security_invoker = true) AS
SELECT i.org_id, (i.created_at AT TIME ZONE 'UTC')::date AS date, t.name AS template_name, t.category,
       count(*) AS total_executions, count(*) FILTER (WHERE i.status = 'completed') AS completed,
       count(*) FILTER (WHERE i.status = 'failed') AS failed,
       round(avg(i.duration_ms) / 1000, 3) AS avg_execution_time,
       sum(i.steps_completed + i.steps_failed)::bigint AS total_steps_executed
  FROM cmis.workflow_instances i JOIN cmis.workflow_templates t USING (org_id, template_id)
 GROUP BY i.org_id, 2, t.template_id, t.name, t.category;
GRANT SELECT ON cmis.v_workflow_timeline TO cmis_app, cmis_readonly;
"""
