"""The database refuses what a guardrail forbids; who lets an effect pass, or takes one back, is on record."""

from migrations.ddl import constant_of, drop_tables, protect, run, run_as_engine
from migrations.guard import SUMS, guard_campaigns

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_CONFIGURATION = [
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
]


def upgrade() -> None:
    run(_TABLES)
    run(_COLUMNS)
    run(_NUMBERS)
    protect("permits", app="SELECT", engine="SELECT, INSERT")
    protect("run_changes", app="SELECT", engine="SELECT, INSERT, DELETE")
    run(_GRANTS)
    _audit(f"({_BY_HAND} OR NEW.last_action_id IS NULL)")
    run_as_engine(_BOUND + _BREAKER + _ROLES + _PERMIT + _SET + _PURGE)
    run_as_engine(SUMS + guard_campaigns(_CONFIGURATION))
    run(_TRIGGER)


def downgrade() -> None:
    run("""
        DROP TRIGGER campaigns_guarded ON cmis.campaigns;
        DROP FUNCTION cmis.guard_campaigns();
        DROP FUNCTION cmis.day_breach(uuid, date, jsonb);
        DROP FUNCTION cmis.run_breach(uuid, jsonb);
        DROP FUNCTION cmis.refuse_old_snapshots();
        DROP FUNCTION cmis.purge_run_changes(integer);
        DROP FUNCTION cmis.set_guardrails(jsonb, uuid[]);
        DROP FUNCTION cmis.permit_effect(uuid, text);
        DROP FUNCTION cmis.require_role(text);
        DROP FUNCTION cmis.break_rules(uuid, uuid[]);
        DROP FUNCTION cmis.bound(jsonb, text);
    """)
    _audit(_BY_HAND)
    run("REVOKE UPDATE (name) ON cmis.orgs FROM cmis_app; GRANT UPDATE ON cmis.orgs TO cmis_app;")
    drop_tables(["run_changes", "permits"])
    run("""
        ALTER TABLE cmis.campaigns DROP CONSTRAINT campaigns_budget_check, DROP CONSTRAINT campaigns_bid_amount_check,
          ADD CONSTRAINT campaigns_budget_check CHECK (budget >= 0),
          ADD CONSTRAINT campaigns_bid_amount_check CHECK (bid_amount >= 0);
        ALTER TABLE cmis.campaign_metrics DROP CONSTRAINT campaign_metrics_numbers_check;
        ALTER TABLE cmis.automation_actions DROP COLUMN decided_by, DROP COLUMN decided_at, DROP COLUMN note,
          DROP COLUMN undone_by, DROP COLUMN undone_at;
    """)


_TABLES = """
CREATE TABLE cmis.permits (
    org_id UUID NOT NULL,
    permit_id UUID NOT NULL,
    action_id UUID NOT NULL,
    verb TEXT NOT NULL,
    entity_id UUID NOT NULL,
    columns JSONB NOT NULL,
    user_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT permits_pkey PRIMARY KEY (org_id, permit_id),
    CONSTRAINT permits_verb_check CHECK (verb IN ('apply', 'undo'))
);
CREATE INDEX permits_org_id_xid_idx ON cmis.permits (org_id, xid);
CREATE INDEX permits_org_id_action_id_idx ON cmis.permits (org_id, action_id);

CREATE TABLE cmis.run_changes (
    org_id UUID NOT NULL,
    run_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    budget NUMERIC(14, 2),
    bid_amount NUMERIC(14, 2),
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT run_changes_pkey PRIMARY KEY (org_id, run_id, campaign_id)
);
CREATE INDEX run_changes_created_at_idx ON cmis.run_changes (created_at);
"""

_COLUMNS = """
ALTER TABLE cmis.automation_actions
  ADD COLUMN decided_by UUID,
  ADD COLUMN decided_at TIMESTAMP WITH TIME ZONE,
  ADD COLUMN note TEXT,
  ADD COLUMN undone_by UUID,
  ADD COLUMN undone_at TIMESTAMP WITH TIME ZONE,
  ADD CONSTRAINT automation_actions_decided_at_check CHECK ((decided_at IS NULL) = (decided_by IS NULL)),
  ADD CONSTRAINT automation_actions_undone_at_check CHECK ((status = 'undone') = (undone_at IS NOT NULL) AND (undone_at IS NULL) = (undone_by IS NULL));
"""

# For Postgres NaN is more than any number: no floor would stop it, and no rule could be planned with it.
_NUMBERS = """
ALTER TABLE cmis.campaigns DROP CONSTRAINT campaigns_budget_check, DROP CONSTRAINT campaigns_bid_amount_check,
  ADD CONSTRAINT campaigns_budget_check CHECK (budget >= 0 AND budget < 'NaN'),
  ADD CONSTRAINT campaigns_bid_amount_check CHECK (bid_amount >= 0 AND bid_amount < 'NaN');
ALTER TABLE cmis.campaign_metrics
  ADD CONSTRAINT campaign_metrics_numbers_check CHECK (spend < 'NaN' AND conversions < 'NaN' AND revenue < 'NaN');
"""

# What bounds an org is changed by its admins, through a function that asks who they are. The zone is part of it: a day's
# limit counts the org's day, and whoever moves the zone begins a new one.
_GRANTS = """
REVOKE UPDATE ON cmis.orgs FROM cmis_app;
GRANT UPDATE (name) ON cmis.orgs TO cmis_app;
"""

# A change that names no new action is nobody's action_taken, and is audited as it is: also one that takes a name away.
_BY_HAND = "NEW.last_action_id IS NOT DISTINCT FROM OLD.last_action_id"


def _audit(condition: str) -> None:
    run("DROP TRIGGER campaigns_audit_insert ON cmis.campaigns; DROP TRIGGER campaigns_audit_update ON cmis.campaigns;")
    made = constant_of("0006", "_triggers")("campaigns", "campaign", "campaign_id", _CONFIGURATION)
    run(made.replace(_BY_HAND, condition))


# As engine.rules.guardrails.stored reads it: what no writer of ours stores bounds nothing.
_BOUND = """
CREATE FUNCTION cmis.bound(p_guardrails jsonb, p_name text) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$
  SELECT CASE WHEN jsonb_typeof(p_guardrails -> p_name) = 'number'
               AND (p_guardrails -> p_name)::numeric BETWEEN
                   CASE p_name WHEN 'budget_floor' THEN 0 WHEN 'max_daily_net_change' THEN 0
                               WHEN 'max_entities_per_run' THEN 1 ELSE 0.01 END
                   AND CASE p_name WHEN 'max_entities_per_run' THEN 1000000 ELSE 999999999999.99 END
              THEN (p_guardrails -> p_name)::numeric END
$$;
REVOKE EXECUTE ON FUNCTION cmis.bound(jsonb, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.bound(jsonb, text) TO cmis_app, cmis_owner, cmis_readonly;
"""

# The one thing in a rule's definition that the engine changes by itself: it names a configuration column, and is audited. A
# worker runs it under its tenant's row security, the reaper as its owner.
_BREAKER = """
CREATE FUNCTION cmis.break_rules(p_org_id uuid, p_rule_ids uuid[]) RETURNS SETOF uuid LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE cmis.automation_rules r SET status = 'paused', failures_in_a_row = 0
    FROM cmis.orgs g
   WHERE g.org_id = p_org_id AND r.org_id = p_org_id AND r.rule_id = ANY (p_rule_ids) AND r.status = 'active'
     AND r.failures_in_a_row >= least(coalesce(cmis.bound(g.guardrails, 'max_failures_in_a_row'), 5),
                                      cmis.bound(r.guardrails, 'max_failures_in_a_row'))
  RETURNING r.rule_id
$$;
REVOKE EXECUTE ON FUNCTION cmis.break_rules(uuid, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.break_rules(uuid, uuid[]) TO cmis_app, cmis_owner;
"""

# The command line stands for whoever may run it; the engine for nobody.
_ROLES = """
CREATE FUNCTION cmis.require_role(p_least text) RETURNS void LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_org uuid := nullif(current_setting('app.current_org_id', true), '')::uuid;
  v_user uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
  v_ranks constant text[] := ARRAY['viewer', 'operator', 'editor', 'admin'];
BEGIN
  IF v_org IS NULL OR v_user IS DISTINCT FROM '00000000-0000-0000-0000-000000000002' AND NOT EXISTS (
      SELECT FROM cmis.user_orgs m JOIN cmis.users u ON u.user_id = m.user_id
       WHERE m.org_id = v_org AND m.user_id = v_user AND m.is_active AND u.is_active AND NOT u.is_system
         AND array_position(v_ranks, m.role) >= array_position(v_ranks, p_least)) THEN
    RAISE EXCEPTION 'user % is no % of org %', v_user, p_least, v_org USING ERRCODE = '42501';
  END IF;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.require_role(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.require_role(text) TO cmis_app, cmis_owner;
"""

# A permit is for one action, its campaign, these very values, and this transaction.
_PERMIT = """
CREATE FUNCTION cmis.permit_effect(p_action_id uuid, p_verb text) RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_now timestamptz := cmis.clock();
  v_id uuid := cmis.uuid_v7(v_now);
  v_org uuid := nullif(current_setting('app.current_org_id', true), '')::uuid;
  v_action cmis.automation_actions;
BEGIN
  PERFORM cmis.require_role('operator');
  SELECT a.* INTO v_action FROM cmis.automation_actions a WHERE a.org_id = v_org AND a.action_id = p_action_id;
  IF v_action.status IS DISTINCT FROM (CASE p_verb WHEN 'apply' THEN 'held' WHEN 'undo' THEN 'succeeded' ELSE '?' END) THEN
    RAISE EXCEPTION 'action % is %, so that there is nothing to %', p_action_id, coalesce(v_action.status, 'not there'), p_verb
      USING ERRCODE = '55000';
  END IF;
  INSERT INTO cmis.permits (org_id, permit_id, action_id, verb, entity_id, columns, user_id, created_at)
  VALUES (v_org, v_id, p_action_id, p_verb, v_action.entity_id,
          CASE p_verb WHEN 'undo' THEN v_action.before
               ELSE (SELECT coalesce(jsonb_object_agg(k, v_action.after -> k), '{}') FROM jsonb_object_keys(v_action.before) k) END,
          current_setting('app.current_user_id')::uuid, v_now);
  RETURN v_id;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.permit_effect(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.permit_effect(uuid, text) TO cmis_app, cmis_owner;
"""

_SET = """
CREATE FUNCTION cmis.set_guardrails(p_guardrails jsonb, p_never_touch uuid[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM cmis.require_role('admin');
  UPDATE cmis.orgs SET guardrails = p_guardrails, never_touch = p_never_touch
   WHERE org_id = nullif(current_setting('app.current_org_id', true), '')::uuid;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.set_guardrails(jsonb, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.set_guardrails(jsonb, uuid[]) TO cmis_app, cmis_owner;
"""

# What a run changed is asked for while it goes on: minutes, or days where its actions are apart in time.
_PURGE = """
CREATE FUNCTION cmis.purge_run_changes(p_limit integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_deleted integer;
BEGIN
  DELETE FROM cmis.run_changes c USING (
    SELECT r.org_id, r.run_id, r.campaign_id FROM cmis.run_changes r
     WHERE r.created_at < cmis.clock() - interval '60 days' ORDER BY r.created_at LIMIT p_limit) old
   WHERE c.org_id = old.org_id AND c.run_id = old.run_id AND c.campaign_id = old.campaign_id;
  GET DIAGNOSTICS v_deleted = ROW_COUNT;
  RETURN v_deleted;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.purge_run_changes(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.purge_run_changes(integer) TO cmis_app, cmis_owner;
"""


# Whoever is in a revision is the owner of the table: nobody else is not looked at.
_TRIGGER = """
CREATE TRIGGER campaigns_guarded AFTER UPDATE ON cmis.campaigns REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
  FOR EACH STATEMENT WHEN (current_user <> 'cmis_owner') EXECUTE FUNCTION cmis.guard_campaigns();
"""
