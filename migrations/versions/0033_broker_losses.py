"""How often the broker lost its messages, and how many tasks were published again for it."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0033"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run("""
        ALTER TABLE cmis.broker_epoch
          ADD COLUMN losses BIGINT DEFAULT '0' NOT NULL,
          ADD COLUMN republished BIGINT DEFAULT '0' NOT NULL;
    """)
    run_as_engine(_COUNTED)


def downgrade() -> None:
    run_as_engine(constant_of("0008", "_EPOCH").replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))
    run("ALTER TABLE cmis.broker_epoch DROP COLUMN losses, DROP COLUMN republished")


# As in 0008, and both count. The first broker that is ever seen has lost nothing. The count is part of the transaction that
# makes the tasks due: a batch that is rolled back counts not, and several schedulers wait for each other at its very end only.
_COUNTED = """
CREATE OR REPLACE FUNCTION cmis.swap_broker_epoch(p_old text, p_new text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE cmis.broker_epoch SET epoch = p_new, lost_at = cmis.clock(), losses = losses + (p_old <> '')::integer
   WHERE epoch = p_old;
  RETURN FOUND;
END $$;

CREATE OR REPLACE FUNCTION cmis.requeue_lost(p_limit integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_now timestamptz := cmis.clock(); v_requeued integer;
BEGIN
  WITH lost AS MATERIALIZED (
    SELECT t.org_id, t.task_id FROM cmis.tasks t
     WHERE t.state = 'ready' AND t.publish_at > v_now AND t.run_at <= v_now
       AND t.published_at < (SELECT e.lost_at FROM cmis.broker_epoch e)
     LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED)
  UPDATE cmis.tasks t SET publish_at = v_now, published_at = NULL FROM lost
   WHERE t.org_id = lost.org_id AND t.task_id = lost.task_id;
  GET DIAGNOSTICS v_requeued = ROW_COUNT;
  IF v_requeued > 0 THEN
    UPDATE cmis.broker_epoch SET republished = republished + v_requeued;
  END IF;
  RETURN v_requeued;
END $$;
"""
