"""Bundles of rules (AutomationWorkflow), org and global."""

from migrations.ddl import CONTEXT_ORG, drop_tables, protect, run, run_as_engine

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_TABLE)
    protect("automation_workflows", app="SELECT, INSERT, UPDATE")
    run(_PUBLIC)
    run_as_engine(_SEED)
    run_as_engine(_FUNCTIONS)
    run(_audits())


def downgrade() -> None:
    drop_tables(["automation_workflows"])
    run("""
        DROP FUNCTION cmis.use_workflow(uuid, uuid);
        DROP FUNCTION cmis.audit_bundle_archived();
        ALTER TABLE cmis.automation_rules DROP COLUMN workflow_id;
    """)


# A rule remembers its bundle, which may be another org's: no reference, since none may cross orgs.
_TABLE = """
CREATE TABLE cmis.automation_workflows (
    org_id UUID NOT NULL,
    workflow_id UUID NOT NULL,
    name TEXT NOT NULL,
    description TEXT DEFAULT '' NOT NULL,
    category TEXT NOT NULL,
    rules JSONB NOT NULL,
    is_public BOOLEAN DEFAULT false NOT NULL,
    status TEXT DEFAULT 'active' NOT NULL,
    usage_count BIGINT DEFAULT 0 NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE,
    owner_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT automation_workflows_pkey PRIMARY KEY (org_id, workflow_id),
    CONSTRAINT automation_workflows_org_id_name_key UNIQUE (org_id, name),
    CONSTRAINT automation_workflows_category_check CHECK (category IN ('performance', 'budget', 'creative', 'scheduling')),
    CONSTRAINT automation_workflows_status_check CHECK (status IN ('active', 'archived')),
    CONSTRAINT automation_workflows_name_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT automation_workflows_rules_check CHECK (jsonb_typeof(rules) = 'array' AND jsonb_array_length(rules) BETWEEN 1 AND 50),
    CONSTRAINT automation_workflows_org_id_fkey FOREIGN KEY(org_id) REFERENCES cmis.orgs (org_id)
);
ALTER TABLE cmis.automation_rules ADD COLUMN workflow_id UUID;
"""

# Reading only, and only for somebody: without a context nothing is public.
_PUBLIC = f"""
CREATE POLICY public_bundles ON cmis.automation_workflows FOR SELECT TO cmis_app
  USING (is_public AND status = 'active' AND {CONTEXT_ORG} IS NOT NULL);
"""

# Who uses a public bundle of another org may not write its row; the count is the one thing that is written for them, in
# their transaction: a bundle whose rules were not made was not used.
_FUNCTIONS = """
CREATE FUNCTION cmis.use_workflow(p_org_id uuid, p_workflow_id uuid) RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_org uuid := nullif(current_setting('app.current_org_id', true), '')::uuid;
BEGIN
  UPDATE cmis.automation_workflows w SET usage_count = w.usage_count + 1, last_used_at = cmis.clock()
   WHERE w.org_id = p_org_id AND w.workflow_id = p_workflow_id AND w.status = 'active'
     AND (w.org_id = v_org OR w.is_public AND v_org IS NOT NULL);
  RETURN FOUND;
END $$;

CREATE FUNCTION cmis.audit_bundle_archived() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, before, after, ip)
  VALUES (NEW.org_id, v_now, cmis.uuid_v7(v_now), 'workflow_archived',
          nullif(current_setting('app.current_user_id', true), '')::uuid, 'workflow', NEW.workflow_id,
          jsonb_build_object('status', OLD.status), jsonb_build_object('status', NEW.status),
          nullif(current_setting('app.client_ip', true), '')::inet);
  RETURN NULL;
END $$;

REVOKE EXECUTE ON FUNCTION cmis.use_workflow(uuid, uuid), cmis.audit_bundle_archived() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.use_workflow(uuid, uuid) TO cmis_app;
GRANT EXECUTE ON FUNCTION cmis.audit_bundle_archived() TO cmis_owner;
"""

_CONFIGURATION = ["name", "description", "category", "rules", "is_public", "status", "owner_id"]


def _audits() -> str:
    """To archive is an action of its own where nothing else changes with it; usage is no configuration."""
    others = [column for column in _CONFIGURATION if column != "status"]
    old, new = (", ".join(f"{row}.{column}" for column in others) for row in ("OLD", "NEW"))
    arguments = ", ".join(f"'{argument}'" for argument in ("workflow", "workflow_id", *_CONFIGURATION))
    return f"""
        CREATE TRIGGER automation_workflows_audit_insert AFTER INSERT ON cmis.automation_workflows FOR EACH ROW
          EXECUTE FUNCTION cmis.audit_change({arguments});
        CREATE TRIGGER automation_workflows_audit_update AFTER UPDATE OF {", ".join(_CONFIGURATION)} ON cmis.automation_workflows
          FOR EACH ROW WHEN (({old}) IS DISTINCT FROM ({new}) OR OLD.status <> NEW.status AND NEW.status <> 'archived')
          EXECUTE FUNCTION cmis.audit_change({arguments});
        CREATE TRIGGER automation_workflows_audit_archived AFTER UPDATE OF status ON cmis.automation_workflows FOR EACH ROW
          WHEN (OLD.status <> NEW.status AND NEW.status = 'archived' AND ({old}) IS NOT DISTINCT FROM ({new}))
          EXECUTE FUNCTION cmis.audit_bundle_archived();
    """


# The product's own bundles belong to the reserved org. Their rules are the templates of SPEC §3 with what keeps each from
# acting on noise: a sample, an age of data, a day or more of cooldown. None of them undoes another.
_SEED = """
INSERT INTO cmis.automation_workflows (org_id, workflow_id, name, description, category, rules, is_public, owner_id, created_at, updated_at)
SELECT '00000000-0000-0000-0000-000000000000', b.workflow_id, b.name, b.description, b.category, b.rules, true,
       '00000000-0000-0000-0000-000000000001', '2026-01-01 00:00:00+00', '2026-01-01 00:00:00+00'
  FROM (VALUES
  ('00000000-0000-7000-8000-000000000101'::uuid, 'Performance guard',
   'Stops campaigns that lose money, and lowers the budget of those that few people click.', 'performance', $json$[
    {"name": "Pause high CPA",
     "description": "Pause campaigns whose cost per acquisition is above 50.", "rule_type": "performance",
     "conditions": [{"field": "cpa", "operator": ">", "value": 50}],
     "actions": [{"type": "pause_underperforming"}], "priority": "high",
     "min_sample": {"clicks": 100, "conversions": 3}, "max_data_age": "3d", "cooldown_minutes": 1440,
     "max_executions_per_day": 3, "guardrails": {"max_entities_per_run": 10}},
    {"name": "Pause low ROAS",
     "description": "Pause campaigns whose return on ad spend is below 1.5.", "rule_type": "performance",
     "conditions": [{"field": "roas", "operator": "<", "value": 1.5}],
     "actions": [{"type": "pause_underperforming"}], "priority": "high",
     "min_sample": {"clicks": 100, "spend": 100}, "max_data_age": "3d", "cooldown_minutes": 1440,
     "max_executions_per_day": 3, "guardrails": {"max_entities_per_run": 10}},
    {"name": "Decrease budget on low CTR",
     "description": "Lower the budget by 30 % where the click-through rate is below 1 %.", "rule_type": "budget",
     "conditions": [{"field": "ctr", "operator": "<", "value": 0.01}],
     "actions": [{"type": "decrease_budget", "params": {"percent": 30}}],
     "min_sample": {"impressions": 5000}, "max_data_age": "3d", "cooldown_minutes": 4320,
     "max_executions_per_day": 1, "guardrails": {"budget_floor": 10, "max_change_pct": 30}}
   ]$json$::jsonb),
  ('00000000-0000-7000-8000-000000000102'::uuid, 'Budget steering',
   'Gives more to what earns, and tells when spending gets ahead of the plan.', 'budget', $json$[
    {"name": "Increase budget on high ROAS",
     "description": "Raise the budget by 20 % where the return on ad spend is above 3 and people do click.", "rule_type": "budget",
     "conditions": [{"field": "roas", "operator": ">", "value": 3.0}, {"field": "ctr", "operator": ">=", "value": 0.01}],
     "actions": [{"type": "increase_budget", "params": {"percent": 20}}],
     "min_sample": {"spend": 100, "conversions": 10}, "max_data_age": "3d", "cooldown_minutes": 4320,
     "max_executions_per_day": 1, "guardrails": {"max_change_pct": 20, "max_entities_per_run": 5}},
    {"name": "Notify of high spend",
     "description": "Tell when a campaign has spent more than 1,000 today.", "rule_type": "alert",
     "conditions": [{"field": "spend", "window": "today", "operator": ">", "value": 1000}],
     "actions": [{"type": "notify"}], "cooldown_minutes": 1440},
    {"name": "Notify of a budget nearly spent",
     "description": "Tell when a campaign has spent more than 90 % of its budget.", "rule_type": "alert",
     "conditions": [{"field": "spend_pct_of_budget", "operator": ">", "value": 90}],
     "actions": [{"type": "notify"}], "cooldown_minutes": 1440}
   ]$json$::jsonb),
  ('00000000-0000-7000-8000-000000000103'::uuid, 'Creative watch',
   'Tells when an ad wears out: fewer clicks than the week before, or clicks that no longer convert.', 'creative', $json$[
    {"name": "Notify of a falling CTR",
     "description": "Tell when the click-through rate has fallen by 30 % or more against the week before.", "rule_type": "alert",
     "conditions": [{"field": "ctr", "window": "last_7d", "operator": "changed_pct", "value": -30}],
     "actions": [{"type": "notify"}], "min_sample": {"impressions": 2000}, "max_data_age": "3d", "cooldown_minutes": 4320},
    {"name": "Notify of a low conversion rate",
     "description": "Tell when fewer than 2 % of a campaign's clicks convert.", "rule_type": "alert",
     "conditions": [{"field": "conversion_rate", "operator": "<", "value": 0.02}],
     "actions": [{"type": "notify"}], "min_sample": {"clicks": 200}, "max_data_age": "3d", "cooldown_minutes": 4320}
   ]$json$::jsonb)
  ) AS b(workflow_id, name, description, category, rules);
"""
