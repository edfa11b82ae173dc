"""Notifications that stand for many campaigns, and the end of those that are long past."""

from migrations.ddl import run, run_as_engine

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_COLUMN)
    run_as_engine(_PURGE)


def downgrade() -> None:
    run_as_engine("DROP FUNCTION cmis.purge_notifications(integer);")
    run(_COLUMN_BACK)


_COLUMN = """
ALTER TABLE cmis.notifications ADD COLUMN entities INTEGER DEFAULT 1 NOT NULL,
  ADD CONSTRAINT notifications_entities_check CHECK (entities > 0);
GRANT DELETE ON cmis.notifications TO cmis_engine;
"""
_COLUMN_BACK = """
REVOKE DELETE ON cmis.notifications FROM cmis_engine;
ALTER TABLE cmis.notifications DROP COLUMN entities;
"""

# What somebody has read is kept for a quarter, what nobody has for a year. Org by org: the index begins with it.
_PURGE = """
CREATE FUNCTION cmis.purge_notifications(p_limit integer) RETURNS integer LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_purged integer;
BEGIN
  WITH old AS MATERIALIZED (
    SELECT n.org_id, n.notification_id FROM cmis.orgs o CROSS JOIN LATERAL (
      SELECT * FROM cmis.notifications n
       WHERE n.org_id = o.org_id AND n.created_at < v_now - interval '90 days'
         AND (n.read_at IS NOT NULL OR n.created_at < v_now - interval '365 days')
       ORDER BY n.created_at LIMIT p_limit) n
     LIMIT p_limit)
  DELETE FROM cmis.notifications n USING old WHERE n.org_id = old.org_id AND n.notification_id = old.notification_id;
  GET DIAGNOSTICS v_purged = ROW_COUNT;
  RETURN v_purged;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.purge_notifications(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.purge_notifications(integer) TO cmis_app, cmis_owner;
"""
