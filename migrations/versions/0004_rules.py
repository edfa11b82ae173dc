"""Rules, the memory of their throttles, executions, effects and notifications."""

from migrations.ddl import drop_tables, partition_ahead, protect, run, run_as_engine

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_TABLES)
    for table in (
        "automation_rules",
        "rule_entity_state",
        "automation_executions",
        "automation_actions",
        "notifications",
    ):
        protect(table, app="SELECT, INSERT, UPDATE")
    run_as_engine(_FUNCTIONS)
    run(_TRIGGERS)
    partition_ahead()


def downgrade() -> None:
    drop_tables(
        ["notifications", "automation_actions", "automation_executions", "rule_entity_state", "automation_rules"]
    )
    run("DROP FUNCTION cmis.version_rule()")


_TABLES = """
CREATE TABLE cmis.automation_actions (
    org_id UUID NOT NULL,
    action_id UUID NOT NULL,
    execution_id UUID NOT NULL,
    rule_id UUID NOT NULL,
    task_id UUID NOT NULL,
    position INTEGER NOT NULL,
    type TEXT NOT NULL,
    params JSONB DEFAULT '{}'::jsonb NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id UUID NOT NULL,
    before JSONB DEFAULT '{}'::jsonb NOT NULL,
    after JSONB DEFAULT '{}'::jsonb NOT NULL,
    idempotency_key TEXT NOT NULL,
    status TEXT NOT NULL,
    error JSONB,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT automation_actions_pkey PRIMARY KEY (org_id, action_id),
    CONSTRAINT automation_actions_status_check CHECK (status IN ('held', 'queued', 'running', 'succeeded', 'failed', 'discarded', 'rejected', 'unknown', 'undone'))
)
 PARTITION BY RANGE (action_id);
CREATE INDEX automation_actions_org_id_entity_id_action_id_idx ON cmis.automation_actions (org_id, entity_id, action_id);
CREATE INDEX automation_actions_org_id_execution_id_idx ON cmis.automation_actions (org_id, execution_id);
CREATE INDEX automation_actions_org_id_status_action_id_idx ON cmis.automation_actions (org_id, status, action_id);

CREATE TABLE cmis.automation_executions (
    org_id UUID NOT NULL,
    execution_id UUID NOT NULL,
    rule_id UUID NOT NULL,
    rule_version BIGINT NOT NULL,
    task_id UUID NOT NULL,
    job_id UUID,
    trigger TEXT NOT NULL,
    scheduled_for TIMESTAMP WITH TIME ZONE,
    status TEXT NOT NULL,
    skip_reason TEXT,
    attempt INTEGER DEFAULT 1 NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    duration_ms INTEGER,
    conditions_evaluated JSONB DEFAULT '{}'::jsonb NOT NULL,
    actions_executed JSONB DEFAULT '[]'::jsonb NOT NULL,
    results JSONB DEFAULT '{}'::jsonb NOT NULL,
    error JSONB,
    context JSONB DEFAULT '{}'::jsonb NOT NULL,
    acted_on DATE,
    CONSTRAINT automation_executions_pkey PRIMARY KEY (org_id, execution_id),
    CONSTRAINT automation_executions_status_check CHECK (status IN ('running', 'success', 'partial', 'failure', 'skipped')),
    CONSTRAINT automation_executions_trigger_check CHECK (trigger IN ('schedule', 'event', 'manual')),
    CONSTRAINT automation_executions_skip_reason_check CHECK ((status = 'skipped') = (skip_reason IS NOT NULL)),
    CONSTRAINT automation_executions_finished_at_check CHECK ((status = 'running') = (finished_at IS NULL))
)
 PARTITION BY RANGE (execution_id);
CREATE INDEX automation_executions_org_id_rule_id_execution_id_idx ON cmis.automation_executions (org_id, rule_id, execution_id);
CREATE INDEX automation_executions_org_id_status_execution_id_idx ON cmis.automation_executions (org_id, status, execution_id);

CREATE TABLE cmis.notifications (
    org_id UUID NOT NULL,
    notification_id UUID NOT NULL,
    channel TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    rule_id UUID,
    execution_id UUID,
    action_id UUID,
    entity_id UUID,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT notifications_pkey PRIMARY KEY (org_id, notification_id)
);
CREATE INDEX notifications_org_id_created_at_idx ON cmis.notifications (org_id, created_at);
CREATE INDEX notifications_org_id_rule_id_idx ON cmis.notifications (org_id, rule_id);

CREATE TABLE cmis.automation_rules (
    org_id UUID NOT NULL,
    rule_id UUID NOT NULL,
    name TEXT NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    rule_type TEXT DEFAULT 'performance' NOT NULL,
    template_id TEXT,
    entity_type TEXT DEFAULT 'campaign' NOT NULL,
    entity_id UUID,
    trigger_type TEXT DEFAULT 'schedule' NOT NULL,
    conditions JSONB NOT NULL,
    condition_logic TEXT DEFAULT 'and' NOT NULL,
    actions JSONB NOT NULL,
    stop_on_error BOOLEAN DEFAULT false NOT NULL,
    priority TEXT DEFAULT 'medium' NOT NULL,
    status TEXT DEFAULT 'draft' NOT NULL,
    max_executions_per_day INTEGER,
    cooldown_minutes INTEGER DEFAULT 60 NOT NULL,
    guardrails JSONB DEFAULT '{}'::jsonb NOT NULL,
    owner_id UUID NOT NULL,
    version BIGINT DEFAULT 1 NOT NULL,
    success_count BIGINT DEFAULT 0 NOT NULL,
    partial_count BIGINT DEFAULT 0 NOT NULL,
    failure_count BIGINT DEFAULT 0 NOT NULL,
    skipped_count BIGINT DEFAULT 0 NOT NULL,
    acted_on DATE,
    acted_today INTEGER DEFAULT 0 NOT NULL,
    last_executed_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT automation_rules_pkey PRIMARY KEY (org_id, rule_id),
    CONSTRAINT automation_rules_status_check CHECK (status IN ('draft', 'active', 'paused', 'archived')),
    CONSTRAINT automation_rules_entity_type_check CHECK (entity_type IN ('campaign')),
    CONSTRAINT automation_rules_trigger_type_check CHECK (trigger_type IN ('schedule', 'event', 'manual')),
    CONSTRAINT automation_rules_condition_logic_check CHECK (condition_logic IN ('and', 'or')),
    CONSTRAINT automation_rules_priority_check CHECK (priority IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT automation_rules_name_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT automation_rules_max_executions_per_day_check CHECK (max_executions_per_day > 0),
    CONSTRAINT automation_rules_cooldown_minutes_check CHECK (cooldown_minutes >= 0),
    CONSTRAINT automation_rules_actions_check CHECK (jsonb_typeof(actions) = 'array' AND jsonb_array_length(actions) > 0),
    CONSTRAINT automation_rules_conditions_check CHECK (jsonb_typeof(conditions) IN ('array', 'object')),
    CONSTRAINT automation_rules_guardrails_check CHECK (jsonb_typeof(guardrails) = 'object'),
    CONSTRAINT automation_rules_org_id_fkey FOREIGN KEY(org_id) REFERENCES cmis.orgs (org_id)
);
CREATE INDEX automation_rules_org_id_status_idx ON cmis.automation_rules (org_id, status);

CREATE TABLE cmis.rule_entity_state (
    org_id UUID NOT NULL,
    rule_id UUID NOT NULL,
    entity_id UUID NOT NULL,
    last_acted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    execution_id UUID NOT NULL,
    CONSTRAINT rule_entity_state_pkey PRIMARY KEY (org_id, rule_id, entity_id),
    CONSTRAINT rule_entity_state_org_id_rule_id_fkey FOREIGN KEY(org_id, rule_id) REFERENCES cmis.automation_rules (org_id, rule_id)
);
"""

# An execution names the version of the rule that it ran; whatever changes the definition, raw SQL too, moves it.
_FUNCTIONS = """
CREATE FUNCTION cmis.version_rule() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.version := OLD.version + 1;
  NEW.updated_at := cmis.clock();
  RETURN NEW;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.version_rule() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.version_rule() TO cmis_owner;
"""

_TRIGGERS = """
CREATE TRIGGER automation_rules_version BEFORE UPDATE OF name, description, rule_type, entity_type, entity_id, trigger_type,
  conditions, condition_logic, actions, stop_on_error, priority, status, max_executions_per_day, cooldown_minutes, guardrails,
  owner_id ON cmis.automation_rules FOR EACH ROW WHEN (
    (OLD.name, OLD.description, OLD.rule_type, OLD.entity_type, OLD.entity_id, OLD.trigger_type, OLD.conditions,
     OLD.condition_logic, OLD.actions, OLD.stop_on_error, OLD.priority, OLD.status, OLD.max_executions_per_day,
     OLD.cooldown_minutes, OLD.guardrails, OLD.owner_id)
    IS DISTINCT FROM
    (NEW.name, NEW.description, NEW.rule_type, NEW.entity_type, NEW.entity_id, NEW.trigger_type, NEW.conditions,
     NEW.condition_logic, NEW.actions, NEW.stop_on_error, NEW.priority, NEW.status, NEW.max_executions_per_day,
     NEW.cooldown_minutes, NEW.guardrails, NEW.owner_id))
  EXECUTE FUNCTION cmis.version_rule();
"""
