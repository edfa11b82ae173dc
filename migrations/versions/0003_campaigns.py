"""Campaigns, their metrics, and the budget ledger that the database itself keeps."""

from migrations.ddl import drop_tables, protect, run, run_as_engine

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_TABLES)
    protect("campaigns", app="SELECT, INSERT, UPDATE")
    protect("campaign_metrics", app="SELECT, INSERT, UPDATE")
    protect("budget_ledger", app="SELECT", engine="SELECT, INSERT")
    run_as_engine(_FUNCTIONS)
    run(_TRIGGERS)


def downgrade() -> None:
    drop_tables(["budget_ledger", "campaign_metrics", "campaigns"])
    run("DROP FUNCTION cmis.touch_campaign(); DROP FUNCTION cmis.record_budget();")


_TABLES = """
CREATE TABLE cmis.campaigns (
    org_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    name TEXT NOT NULL,
    platform TEXT DEFAULT 'generic' NOT NULL,
    objective TEXT,
    status TEXT DEFAULT 'draft' NOT NULL,
    budget NUMERIC(14, 2),
    budget_type TEXT DEFAULT 'daily' NOT NULL,
    currency TEXT,
    bid_amount NUMERIC(14, 2),
    tags JSONB DEFAULT '[]'::jsonb NOT NULL,
    external_id TEXT,
    start_date DATE,
    end_date DATE,
    last_action_id UUID,
    version BIGINT DEFAULT 1 NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT campaigns_pkey PRIMARY KEY (org_id, campaign_id),
    CONSTRAINT campaigns_org_id_platform_external_id_key UNIQUE (org_id, platform, external_id),
    CONSTRAINT campaigns_status_check CHECK (status IN ('draft', 'active', 'paused', 'completed', 'archived')),
    CONSTRAINT campaigns_budget_type_check CHECK (budget_type IN ('daily', 'lifetime')),
    CONSTRAINT campaigns_budget_check CHECK (budget >= 0),
    CONSTRAINT campaigns_bid_amount_check CHECK (bid_amount >= 0),
    CONSTRAINT campaigns_tags_check CHECK (jsonb_typeof(tags) = 'array'),
    CONSTRAINT campaigns_org_id_fkey FOREIGN KEY(org_id) REFERENCES cmis.orgs (org_id)
);
CREATE INDEX campaigns_org_id_status_idx ON cmis.campaigns (org_id, status);

CREATE TABLE cmis.budget_ledger (
    org_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    seq BIGINT NOT NULL,
    user_id UUID,
    action_id UUID,
    before NUMERIC(14, 2),
    after NUMERIC(14, 2),
    day DATE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT budget_ledger_pkey PRIMARY KEY (org_id, campaign_id, seq),
    CONSTRAINT budget_ledger_org_id_campaign_id_fkey FOREIGN KEY(org_id, campaign_id) REFERENCES cmis.campaigns (org_id, campaign_id)
);
CREATE INDEX budget_ledger_org_id_day_idx ON cmis.budget_ledger (org_id, day);

CREATE TABLE cmis.campaign_metrics (
    org_id UUID NOT NULL,
    campaign_id UUID NOT NULL,
    date DATE NOT NULL,
    observed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    superseded_at TIMESTAMP WITH TIME ZONE,
    impressions BIGINT,
    clicks BIGINT,
    spend NUMERIC(18, 6),
    conversions NUMERIC(18, 6),
    revenue NUMERIC(18, 6),
    CONSTRAINT campaign_metrics_pkey PRIMARY KEY (org_id, campaign_id, date, observed_at),
    CONSTRAINT campaign_metrics_org_id_campaign_id_fkey FOREIGN KEY(org_id, campaign_id) REFERENCES cmis.campaigns (org_id, campaign_id),
    CONSTRAINT campaign_metrics_nonnegative_check CHECK (impressions >= 0 AND clicks >= 0 AND spend >= 0 AND conversions >= 0 AND revenue >= 0)
);
CREATE UNIQUE INDEX campaign_metrics_current ON cmis.campaign_metrics (org_id, campaign_id, date) WHERE superseded_at IS NULL;
"""

# The ledger's day is computed here, with the server's zone files: raw SQL must be in the chain too, and it knows no other.
# The campaign's row lock orders the entries of one campaign, so that max(seq) + 1 cannot be taken twice.
_FUNCTIONS = """
CREATE FUNCTION cmis.touch_campaign() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.version := OLD.version + 1;
  NEW.updated_at := cmis.clock();
  RETURN NEW;
END $$;

CREATE FUNCTION cmis.record_budget() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_before numeric; v_action uuid;
BEGIN
  IF TG_OP = 'UPDATE' THEN
    v_before := OLD.budget;
    v_action := CASE WHEN NEW.last_action_id IS DISTINCT FROM OLD.last_action_id THEN NEW.last_action_id END;
  END IF;
  INSERT INTO cmis.budget_ledger (org_id, campaign_id, seq, user_id, action_id, before, after, day, created_at)
  SELECT NEW.org_id, NEW.campaign_id,
         coalesce((SELECT max(l.seq) FROM cmis.budget_ledger l WHERE l.org_id = NEW.org_id AND l.campaign_id = NEW.campaign_id), 0) + 1,
         nullif(current_setting('app.current_user_id', true), '')::uuid, v_action, v_before, NEW.budget,
         (v_now AT TIME ZONE o.timezone)::date, v_now
    FROM cmis.orgs o WHERE o.org_id = NEW.org_id;
  RETURN NULL;
END $$;

REVOKE EXECUTE ON FUNCTION cmis.touch_campaign(), cmis.record_budget() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.touch_campaign(), cmis.record_budget() TO cmis_owner;
"""

_TRIGGERS = """
CREATE TRIGGER campaigns_touch BEFORE UPDATE ON cmis.campaigns FOR EACH ROW EXECUTE FUNCTION cmis.touch_campaign();
CREATE TRIGGER campaigns_budget_started AFTER INSERT ON cmis.campaigns FOR EACH ROW EXECUTE FUNCTION cmis.record_budget();
CREATE TRIGGER campaigns_budget_changed AFTER UPDATE OF budget ON cmis.campaigns FOR EACH ROW
  WHEN (OLD.budget IS DISTINCT FROM NEW.budget) EXECUTE FUNCTION cmis.record_budget();
"""
