"""When an org works: what delays go by that wait for business hours."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run("""
        ALTER TABLE cmis.orgs ADD COLUMN business_hours JSONB,
          ADD CONSTRAINT orgs_business_hours_check CHECK (jsonb_typeof(business_hours) = 'object');
    """)
    constant_of("0013", "_audit")("orgs", ["never_touch", "business_hours"])
    run_as_engine(_SET)


def downgrade() -> None:
    run_as_engine("DROP FUNCTION cmis.set_business_hours(jsonb)")
    constant_of("0013", "_audit")("orgs", ["never_touch"])
    run("ALTER TABLE cmis.orgs DROP COLUMN business_hours")


_SET = """
CREATE FUNCTION cmis.set_business_hours(p_hours jsonb) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM cmis.require_role('admin');
  UPDATE cmis.orgs SET business_hours = p_hours
   WHERE org_id = nullif(current_setting('app.current_org_id', true), '')::uuid;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.set_business_hours(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.set_business_hours(jsonb) TO cmis_app, cmis_owner;
"""
