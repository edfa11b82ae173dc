"""Orgs, users, memberships, and the transaction context that everything else relies on."""

from migrations.ddl import CONTEXT_ORG, drop_tables, protect, run, run_as_engine

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_TABLES)
    protect("orgs", app="SELECT, UPDATE")
    protect("user_orgs", app="SELECT")
    run(_USERS)
    run_as_engine(_SEED)
    run_as_engine(_CONTEXT)
    run_as_engine(_ORGS)


def downgrade() -> None:
    run("""
        DROP FUNCTION cmis.list_orgs();
        DROP FUNCTION cmis.resolve_org(text);
        DROP FUNCTION cmis.create_org(uuid, uuid, text, text, uuid, text);
        DROP FUNCTION cmis.init_transaction_context(uuid, uuid, text);
        DROP POLICY members ON cmis.users;
    """)
    drop_tables(["user_orgs", "users", "orgs"])


_TABLES = """
CREATE TABLE cmis.orgs (
    org_id UUID NOT NULL,
    name TEXT NOT NULL,
    timezone TEXT DEFAULT 'UTC' NOT NULL,
    guardrails JSONB DEFAULT '{}'::jsonb NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT orgs_pkey PRIMARY KEY (org_id),
    CONSTRAINT orgs_name_key UNIQUE (name),
    CONSTRAINT orgs_name_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT orgs_guardrails_check CHECK (jsonb_typeof(guardrails) = 'object')
);

CREATE TABLE cmis.users (
    user_id UUID NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    is_system BOOLEAN DEFAULT false NOT NULL,
    is_active BOOLEAN DEFAULT true NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT users_pkey PRIMARY KEY (user_id),
    CONSTRAINT users_email_key UNIQUE (email),
    CONSTRAINT users_email_check CHECK (email = lower(email))
);

CREATE TABLE cmis.user_orgs (
    org_id UUID NOT NULL,
    user_id UUID NOT NULL,
    role TEXT NOT NULL,
    is_active BOOLEAN DEFAULT true NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT user_orgs_pkey PRIMARY KEY (org_id, user_id),
    CONSTRAINT user_orgs_role_check CHECK (role IN ('viewer', 'operator', 'editor', 'admin')),
    CONSTRAINT user_orgs_org_id_fkey FOREIGN KEY(org_id) REFERENCES cmis.orgs (org_id),
    CONSTRAINT user_orgs_user_id_fkey FOREIGN KEY(user_id) REFERENCES cmis.users (user_id)
);
CREATE INDEX user_orgs_user_id_idx ON cmis.user_orgs (user_id);
"""

# Not a tenant's table (a person may belong to several orgs), yet an org sees only its own members and the system actors.
_USERS = f"""
ALTER TABLE cmis.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE cmis.users FORCE ROW LEVEL SECURITY;
CREATE POLICY members ON cmis.users FOR SELECT TO cmis_app USING (
  is_system OR EXISTS (SELECT FROM cmis.user_orgs m WHERE m.org_id = {CONTEXT_ORG} AND m.user_id = users.user_id));
CREATE POLICY engine_all ON cmis.users TO cmis_engine USING (true) WITH CHECK (true);
CREATE POLICY readonly_all ON cmis.users FOR SELECT TO cmis_readonly USING (true);
GRANT SELECT ON cmis.users TO cmis_app, cmis_readonly;
GRANT SELECT, INSERT, UPDATE ON cmis.users TO cmis_engine;
"""

# The reserved org owns tasks that cover several orgs; the system actors act where no person does.
_SEED = """
INSERT INTO cmis.orgs (org_id, name, created_at)
VALUES ('00000000-0000-0000-0000-000000000000', '(reserved)', '-infinity');
INSERT INTO cmis.users (user_id, email, name, is_system, created_at) VALUES
  ('00000000-0000-0000-0000-000000000001', 'engine@system.cmis', 'automation engine', true, '-infinity'),
  ('00000000-0000-0000-0000-000000000002', 'cli@system.cmis', 'command line', true, '-infinity');
"""

# Transaction-local settings only: after the transaction they read as the empty string, which the policies take for none.
_CONTEXT = """
CREATE FUNCTION cmis.init_transaction_context(p_user_id uuid, p_org_id uuid, p_ip text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_system boolean;
BEGIN
  SELECT is_system INTO v_system FROM cmis.users WHERE user_id = p_user_id AND is_active;
  IF p_org_id = '00000000-0000-0000-0000-000000000000' AND p_user_id <> '00000000-0000-0000-0000-000000000001' THEN
    RAISE EXCEPTION 'user % may not act in the reserved org', p_user_id USING ERRCODE = '42501';
  ELSIF v_system AND NOT EXISTS (SELECT FROM cmis.orgs WHERE org_id = p_org_id) THEN
    RAISE EXCEPTION 'there is no org %', p_org_id USING ERRCODE = '42501';
  ELSIF v_system IS NULL OR NOT v_system AND NOT EXISTS (
      SELECT FROM cmis.user_orgs WHERE org_id = p_org_id AND user_id = p_user_id AND is_active) THEN
    RAISE EXCEPTION 'user % is no active member of org %', p_user_id, p_org_id USING ERRCODE = '42501';
  END IF;
  PERFORM set_config('app.current_user_id', p_user_id::text, true), set_config('app.current_org_id', p_org_id::text, true),
          set_config('app.client_ip', coalesce(host(nullif(p_ip, '')::inet), ''), true);
END $$;
"""

# These run before any context exists: they are how a caller comes by an org.
_ORGS = """
CREATE FUNCTION cmis.create_org(p_actor_id uuid, p_org_id uuid, p_name text, p_timezone text, p_admin_id uuid,
                                p_admin_email text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_admin uuid;
BEGIN
  PERFORM set_config('app.current_user_id', p_actor_id::text, true), set_config('app.current_org_id', p_org_id::text, true);
  INSERT INTO cmis.orgs (org_id, name, timezone, created_at) VALUES (p_org_id, p_name, p_timezone, v_now);
  IF p_admin_email IS NOT NULL THEN
    INSERT INTO cmis.users (user_id, email, name, created_at)
    VALUES (p_admin_id, lower(p_admin_email), split_part(p_admin_email, '@', 1), v_now) ON CONFLICT (email) DO NOTHING;
    SELECT user_id INTO STRICT v_admin FROM cmis.users WHERE email = lower(p_admin_email) AND NOT is_system;
    INSERT INTO cmis.user_orgs (org_id, user_id, role, created_at) VALUES (p_org_id, v_admin, 'admin', v_now);
  END IF;
END $$;

CREATE FUNCTION cmis.resolve_org(p_reference text) RETURNS TABLE (org_id uuid, name text, timezone text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT o.org_id, o.name, o.timezone FROM cmis.orgs o
   WHERE (o.name = p_reference OR o.org_id::text = lower(p_reference))
     AND o.org_id <> '00000000-0000-0000-0000-000000000000'
   ORDER BY o.org_id::text = lower(p_reference) DESC LIMIT 1
$$;

CREATE FUNCTION cmis.list_orgs() RETURNS TABLE (org_id uuid, name text, timezone text, created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT o.org_id, o.name, o.timezone, o.created_at FROM cmis.orgs o
   WHERE o.org_id <> '00000000-0000-0000-0000-000000000000' ORDER BY o.name
$$;

REVOKE EXECUTE ON FUNCTION cmis.init_transaction_context(uuid, uuid, text), cmis.resolve_org(text), cmis.list_orgs(),
  cmis.create_org(uuid, uuid, text, text, uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.init_transaction_context(uuid, uuid, text), cmis.resolve_org(text), cmis.list_orgs(),
  cmis.create_org(uuid, uuid, text, text, uuid, text) TO cmis_app;
"""
