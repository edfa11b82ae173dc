"""Rules that a budget can be trusted to: samples, the age of data, delays, the breaker's memory, versions, never-touch."""

from migrations.ddl import constant_of, drop_tables, protect, run, run_as_engine

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_COLUMNS)
    after = _ACTIONS_BEFORE.index("action_taken") + 1
    run(_audit_actions([*_ACTIONS_BEFORE[:after], *_ACTIONS_TOO, *_ACTIONS_BEFORE[after:]]))
    _audit("automation_rules", _RULE_COLUMNS_TOO)
    _audit("orgs", ["never_touch"])
    run(_drop_version_trigger() + _version_trigger(_versioned(_RULE_COLUMNS_TOO)))
    run(_VERSIONS)
    protect("rule_versions", app="SELECT", engine="SELECT, INSERT")
    run_as_engine(_RECORD_VERSION)
    run(_VERSION_TRIGGERS)
    run_as_engine(_BACKFILL)
    run_as_engine(_BUDGET_DAY)


def downgrade() -> None:
    run("DROP FUNCTION cmis.lock_budget_day(uuid, date)")
    run("""
        DROP TRIGGER automation_rules_recorded ON cmis.automation_rules;
        DROP TRIGGER automation_rules_changed ON cmis.automation_rules;
        DROP FUNCTION cmis.record_rule_version();
    """)
    drop_tables(["rule_versions"])
    run(_drop_version_trigger() + _version_trigger(_versioned([])))
    _audit("orgs", [])
    _audit("automation_rules", [])
    run(_audit_actions(_ACTIONS_BEFORE))
    run(_BACK)


_COLUMNS = """
ALTER TABLE cmis.automation_rules
  ADD COLUMN min_sample JSONB,
  ADD COLUMN max_data_age INTEGER,
  ADD COLUMN delay_between_actions_seconds INTEGER DEFAULT 0 NOT NULL,
  ADD COLUMN failures_in_a_row INTEGER DEFAULT 0 NOT NULL,
  ADD CONSTRAINT automation_rules_min_sample_check CHECK (jsonb_typeof(min_sample) = 'object'),
  ADD CONSTRAINT automation_rules_max_data_age_check CHECK (max_data_age > 0),
  ADD CONSTRAINT automation_rules_delay_between_actions_seconds_check CHECK (delay_between_actions_seconds BETWEEN 0 AND 86400);
ALTER TABLE cmis.orgs ADD COLUMN never_touch UUID[] DEFAULT '{}'::uuid[] NOT NULL;
"""

_BACK = """
ALTER TABLE cmis.orgs DROP COLUMN never_touch;
ALTER TABLE cmis.automation_rules
  DROP COLUMN min_sample, DROP COLUMN max_data_age, DROP COLUMN delay_between_actions_seconds,
  DROP COLUMN failures_in_a_row;
"""

_RULE_COLUMNS_TOO = ["min_sample", "max_data_age", "delay_between_actions_seconds"]

_ACTIONS_BEFORE = [
    "org_created",
    "org_updated",
    "user_created",
    "user_updated",
    "member_created",
    "member_updated",
    "member_deleted",
    "campaign_created",
    "campaign_updated",
    "rule_created",
    "rule_updated",
    "rule_deleted",
    "rule_activated",
    "rule_paused",
    "rule_archived",
    "rule_executed",
    "action_taken",
    "job_created",
    "job_updated",
    "job_activated",
    "job_paused",
    "job_completed",
    "job_failed",
    "job_triggered",
    "job_backfilled",
    "task_lost",
    "task_died",
    "task_cancelled",
    "task_failed",
]
_ACTIONS_TOO = [
    "action_approved",
    "action_rejected",
    "action_undone",
    "action_discarded",
    "workflow_created",
    "workflow_updated",
    "workflow_archived",
    "workflow_instantiated",
]


def _audit_actions(allowed: list[str]) -> str:
    named = ", ".join(f"'{action}'" for action in allowed)
    return f"""
        ALTER TABLE cmis.automation_audit_log DROP CONSTRAINT automation_audit_log_action_check;
        ALTER TABLE cmis.automation_audit_log ADD CONSTRAINT automation_audit_log_action_check CHECK (action IN ({named}));
    """


def _audit(table: str, columns: list[str]) -> None:
    """Make a table's audit triggers anew, with further configuration columns."""
    noun, key, before = constant_of("0006", "_AUDITED")[table]
    run(f"DROP TRIGGER {table}_audit_insert ON cmis.{table}; DROP TRIGGER {table}_audit_update ON cmis.{table};")
    run(constant_of("0006", "_triggers")(table, noun, key, [*before, *columns]))


def _versioned(columns: list[str]) -> list[str]:
    """Return the columns whose change makes another version of a rule: all that is audited but its template."""
    _, _, before = constant_of("0006", "_AUDITED")["automation_rules"]
    return [column for column in (*before, *columns) if column != "template_id"]


def _drop_version_trigger() -> str:
    return "DROP TRIGGER automation_rules_version ON cmis.automation_rules;"


def _version_trigger(columns: list[str]) -> str:
    old, new = (", ".join(f"{row}.{column}" for column in columns) for row in ("OLD", "NEW"))
    return f"""
        CREATE TRIGGER automation_rules_version BEFORE UPDATE OF {", ".join(columns)} ON cmis.automation_rules FOR EACH ROW
          WHEN (({old}) IS DISTINCT FROM ({new})) EXECUTE FUNCTION cmis.version_rule();
    """


_VERSIONS = """
CREATE TABLE cmis.rule_versions (
    org_id UUID NOT NULL,
    rule_id UUID NOT NULL,
    version BIGINT NOT NULL,
    definition JSONB NOT NULL,
    user_id UUID,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT rule_versions_pkey PRIMARY KEY (org_id, rule_id, version),
    CONSTRAINT rule_versions_org_id_rule_id_fkey FOREIGN KEY(org_id, rule_id) REFERENCES cmis.automation_rules (org_id, rule_id)
);
"""

# Every version of a rule is kept whole, whoever made it and by whatever SQL: an execution names the version that it ran.
_DEFINITION = """jsonb_build_object('name', r.name, 'description', r.description, 'rule_type', r.rule_type,
         'template_id', r.template_id, 'entity_type', r.entity_type, 'entity_id', r.entity_id,
         'trigger_type', r.trigger_type, 'conditions', r.conditions, 'condition_logic', r.condition_logic,
         'actions', r.actions, 'stop_on_error', r.stop_on_error,
         'delay_between_actions_seconds', r.delay_between_actions_seconds, 'priority', r.priority, 'status', r.status,
         'max_executions_per_day', r.max_executions_per_day, 'cooldown_minutes', r.cooldown_minutes,
         'min_sample', r.min_sample, 'max_data_age', r.max_data_age, 'guardrails', r.guardrails, 'owner_id', r.owner_id)"""
_RECORD_VERSION = f"""
CREATE FUNCTION cmis.record_rule_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO cmis.rule_versions (org_id, rule_id, version, definition, user_id, created_at)
  SELECT r.org_id, r.rule_id, r.version, {_DEFINITION},
         nullif(current_setting('app.current_user_id', true), '')::uuid, r.updated_at
    FROM (SELECT NEW.*) r;
  RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.record_rule_version() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.record_rule_version() TO cmis_owner;
"""
_VERSION_TRIGGERS = """
CREATE TRIGGER automation_rules_recorded AFTER INSERT ON cmis.automation_rules
  FOR EACH ROW EXECUTE FUNCTION cmis.record_rule_version();
CREATE TRIGGER automation_rules_changed AFTER UPDATE ON cmis.automation_rules
  FOR EACH ROW WHEN (OLD.version <> NEW.version) EXECUTE FUNCTION cmis.record_rule_version();
"""
_BACKFILL = f"""
INSERT INTO cmis.rule_versions (org_id, rule_id, version, definition, user_id, created_at)
SELECT r.org_id, r.rule_id, r.version, {_DEFINITION}, r.owner_id, r.updated_at FROM cmis.automation_rules r;
"""

# Whoever changes budgets under a limit of the org's day waits here for whoever is doing so: the sum of the day's ledger is
# then true until the transaction ends. Last in the order of locks, after all campaigns of the org.
_BUDGET_DAY = """
CREATE FUNCTION cmis.lock_budget_day(p_org_id uuid, p_day date) RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_advisory_xact_lock(hashtextextended('cmis.budget_day ' || p_org_id || ' ' || p_day, 0)) $$;
REVOKE EXECUTE ON FUNCTION cmis.lock_budget_day(uuid, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.lock_budget_day(uuid, date) TO cmis_app, cmis_owner;
"""
