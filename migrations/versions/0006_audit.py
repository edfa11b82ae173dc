"""The audit log, append-only, and the triggers that write it for every configuration table."""

from migrations.ddl import drop_tables, partition_ahead, protect, run, run_as_engine

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_TABLE)
    protect("automation_audit_log", app="SELECT, INSERT", engine="SELECT, INSERT")
    run_as_engine(_FUNCTIONS)
    run(_APPEND_ONLY)
    partition_ahead()
    for table, (noun, key, columns) in _AUDITED.items():
        run(_triggers(table, noun, key, columns))


def downgrade() -> None:
    for table in _AUDITED:
        run(f"DROP TRIGGER {table}_audit_insert ON cmis.{table}; DROP TRIGGER {table}_audit_update ON cmis.{table};")
    run("DROP TRIGGER user_orgs_audit_delete ON cmis.user_orgs")
    drop_tables(["automation_audit_log"])
    run("DROP FUNCTION cmis.audit_change(); DROP FUNCTION cmis.refuse_change();")


# table → noun of the audit action, id column, configuration columns. The engine's statements on counters and cursors name
# none of these columns, so that they fire nothing.
_AUDITED = {
    "orgs": ("org", "org_id", ["name", "timezone", "guardrails"]),
    "users": ("user", "user_id", ["email", "name", "is_active"]),
    "user_orgs": ("member", "user_id", ["user_id", "role", "is_active"]),
    "campaigns": (
        "campaign",
        "campaign_id",
        [
            "name",
            "platform",
            "objective",
            "status",
            "budget",
            "budget_type",
            "currency",
            "bid_amount",
            "tags",
            "external_id",
            "start_date",
            "end_date",
        ],
    ),
    "automation_rules": (
        "rule",
        "rule_id",
        [
            "name",
            "description",
            "rule_type",
            "template_id",
            "entity_type",
            "entity_id",
            "trigger_type",
            "conditions",
            "condition_logic",
            "actions",
            "stop_on_error",
            "priority",
            "status",
            "max_executions_per_day",
            "cooldown_minutes",
            "guardrails",
            "owner_id",
        ],
    ),
    "scheduled_jobs": (
        "job",
        "job_id",
        [
            "name",
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
            "status",
            "owner_id",
        ],
    ),
}


def _triggers(table: str, noun: str, key: str, columns: list[str]) -> str:
    named = ", ".join(f'"{column}"' for column in columns)
    old, new = (", ".join(f'{row}."{column}"' for column in columns) for row in ("OLD", "NEW"))
    # A change that an automation action made is recorded as its action_taken; see docs/adr/0003.
    by_hand = "AND NEW.last_action_id IS NOT DISTINCT FROM OLD.last_action_id" if table == "campaigns" else ""
    arguments = ", ".join(f"'{argument}'" for argument in (noun, key, *columns))
    sql = f"""
        CREATE TRIGGER {table}_audit_insert AFTER INSERT ON cmis.{table} FOR EACH ROW
          EXECUTE FUNCTION cmis.audit_change({arguments});
        CREATE TRIGGER {table}_audit_update AFTER UPDATE OF {named} ON cmis.{table} FOR EACH ROW
          WHEN (({old}) IS DISTINCT FROM ({new}) {by_hand}) EXECUTE FUNCTION cmis.audit_change({arguments});
    """
    if table == "user_orgs":
        sql += f"""
        CREATE TRIGGER {table}_audit_delete AFTER DELETE ON cmis.{table} FOR EACH ROW
          EXECUTE FUNCTION cmis.audit_change({arguments});
        """
    return sql


_TABLE = """
CREATE TABLE cmis.automation_audit_log (
    org_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    audit_id UUID NOT NULL,
    action TEXT NOT NULL,
    user_id UUID,
    entity_type TEXT NOT NULL,
    entity_id UUID NOT NULL,
    rule_id UUID,
    execution_id UUID,
    action_id UUID,
    before JSONB,
    after JSONB,
    details JSONB,
    ip INET,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT automation_audit_log_pkey PRIMARY KEY (org_id, created_at, audit_id),
    CONSTRAINT automation_audit_log_action_check CHECK (action IN ('org_created', 'org_updated', 'user_created', 'user_updated', 'member_created', 'member_updated', 'member_deleted', 'campaign_created', 'campaign_updated', 'rule_created', 'rule_updated', 'rule_deleted', 'rule_activated', 'rule_paused', 'rule_archived', 'rule_executed', 'action_taken', 'job_created', 'job_updated', 'job_activated', 'job_paused', 'job_completed', 'job_failed', 'job_triggered', 'task_lost', 'task_died', 'task_cancelled', 'task_failed'))
)
 PARTITION BY RANGE (created_at);
CREATE INDEX automation_audit_log_action_idx ON cmis.automation_audit_log (org_id, action, created_at DESC);
CREATE INDEX automation_audit_log_entity_idx ON cmis.automation_audit_log (org_id, entity_id, created_at DESC);
CREATE INDEX automation_audit_log_execution_idx ON cmis.automation_audit_log (org_id, execution_id);
CREATE INDEX automation_audit_log_rule_idx ON cmis.automation_audit_log (org_id, rule_id, created_at DESC);
CREATE INDEX automation_audit_log_user_idx ON cmis.automation_audit_log (org_id, user_id, created_at DESC);
"""

# SECURITY DEFINER: whoever may write the row writes its audit, whether or not the log itself is granted. A user has no org;
# a change of one is filed under the context's org, or the reserved one.
_FUNCTIONS = """
CREATE FUNCTION cmis.audit_change() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_now timestamptz := cmis.clock();
  v_old jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
  v_new jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
  v_row jsonb := coalesce(v_new, v_old);
  v_before jsonb; v_after jsonb; v_keys text[]; v_verb text;
BEGIN
  SELECT array_agg(k), jsonb_object_agg(k, v_old -> k), jsonb_object_agg(k, v_new -> k) INTO v_keys, v_before, v_after
    FROM unnest(TG_ARGV[2:]) k WHERE TG_OP <> 'UPDATE' OR v_old -> k IS DISTINCT FROM v_new -> k;
  v_verb := CASE TG_OP WHEN 'INSERT' THEN 'created' WHEN 'DELETE' THEN 'deleted' ELSE 'updated' END;
  IF TG_OP = 'UPDATE' AND v_keys = ARRAY['status'] AND TG_ARGV[0] IN ('rule', 'job') THEN
    v_verb := CASE v_new ->> 'status' WHEN 'active' THEN 'activated' WHEN 'draft' THEN 'updated' ELSE v_new ->> 'status' END;
  END IF;
  INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, rule_id, before, after, ip)
  VALUES (coalesce((v_row ->> 'org_id')::uuid, nullif(current_setting('app.current_org_id', true), '')::uuid,
                   '00000000-0000-0000-0000-000000000000'),
          v_now, cmis.uuid_v7(v_now), TG_ARGV[0] || '_' || v_verb,
          nullif(current_setting('app.current_user_id', true), '')::uuid, TG_ARGV[0], (v_row ->> TG_ARGV[1])::uuid,
          CASE WHEN TG_ARGV[0] IN ('rule', 'job') THEN (v_row ->> 'rule_id')::uuid END,
          CASE WHEN TG_OP <> 'INSERT' THEN v_before END, CASE WHEN TG_OP <> 'DELETE' THEN v_after END,
          nullif(current_setting('app.client_ip', true), '')::inet);
  RETURN NULL;
END $$;

CREATE FUNCTION cmis.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = '42501'; END $$;

REVOKE EXECUTE ON FUNCTION cmis.audit_change(), cmis.refuse_change() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.audit_change(), cmis.refuse_change() TO cmis_owner;
"""

_APPEND_ONLY = """
CREATE TRIGGER automation_audit_log_append_only BEFORE UPDATE OR DELETE ON cmis.automation_audit_log
  FOR EACH ROW EXECUTE FUNCTION cmis.refuse_change();
CREATE TRIGGER automation_audit_log_no_truncate BEFORE TRUNCATE ON cmis.automation_audit_log
  EXECUTE FUNCTION cmis.refuse_change();
"""
