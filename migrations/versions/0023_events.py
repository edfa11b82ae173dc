"""Events are forgotten after 90 days."""

from migrations.ddl import run, run_as_engine

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run("""
        CREATE INDEX automation_events_created_at_idx ON cmis.automation_events (created_at);
        GRANT DELETE ON cmis.automation_events TO cmis_engine;
    """)
    run_as_engine(_PURGE)


def downgrade() -> None:
    run_as_engine("DROP FUNCTION cmis.purge_events(integer)")
    run("REVOKE DELETE ON cmis.automation_events FROM cmis_engine; DROP INDEX cmis.automation_events_created_at_idx;")


# Executions name their event by id and type, and keep the values that decided in their traces.
_PURGE = """
CREATE FUNCTION cmis.purge_events(p_limit integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_deleted integer;
BEGIN
  DELETE FROM cmis.automation_events e USING (
    SELECT o.org_id, o.event_id FROM cmis.automation_events o
     WHERE o.created_at < cmis.clock() - interval '90 days' ORDER BY o.created_at LIMIT p_limit) old
   WHERE e.org_id = old.org_id AND e.event_id = old.event_id;
  GET DIAGNOSTICS v_deleted = ROW_COUNT;
  RETURN v_deleted;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.purge_events(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.purge_events(integer) TO cmis_app, cmis_owner;
"""
