"""Who belongs to an org, and as what, is changed by its admins and the command line: only its first admin could be named."""

from migrations.ddl import run_as_engine

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_as_engine(_SET)


def downgrade() -> None:
    run_as_engine("DROP FUNCTION cmis.set_member(uuid, text, text)")


# A role makes the person of this address, known or new (with that id), a member; NULL ends a membership, whose row stays: others
# name the user. Returns the member; NULL where there is none of this address, or it is a system actor's.
_SET = """
CREATE FUNCTION cmis.set_member(p_user_id uuid, p_email text, p_role text) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_org uuid := nullif(current_setting('app.current_org_id', true), '')::uuid;
  v_now timestamptz := cmis.clock();
  v_member uuid;
BEGIN
  PERFORM cmis.require_role('admin');
  IF p_role IS NULL THEN
    UPDATE cmis.user_orgs m SET is_active = false
      FROM cmis.users u
     WHERE m.org_id = v_org AND m.is_active AND u.user_id = m.user_id AND u.email = lower(p_email)
    RETURNING m.user_id INTO v_member;
    RETURN v_member;
  END IF;
  INSERT INTO cmis.users (user_id, email, name, created_at)
  VALUES (p_user_id, lower(p_email), split_part(p_email, '@', 1), v_now) ON CONFLICT (email) DO NOTHING;
  INSERT INTO cmis.user_orgs (org_id, user_id, role, created_at)
  SELECT v_org, u.user_id, p_role, v_now FROM cmis.users u WHERE u.email = lower(p_email) AND NOT u.is_system
  ON CONFLICT (org_id, user_id) DO UPDATE SET role = excluded.role, is_active = true
  RETURNING user_id INTO v_member;
  RETURN v_member;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.set_member(uuid, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.set_member(uuid, text, text) TO cmis_app, cmis_owner;
"""
