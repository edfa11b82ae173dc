"""How often the broker lost its messages, what was published again for it, and what workers dropped."""

from migrations.ddl import constant_of, drop_tables, run, run_as_engine

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run("""
        ALTER TABLE cmis.broker_epoch
          ADD COLUMN losses BIGINT DEFAULT '0' NOT NULL,
          ADD COLUMN republished BIGINT DEFAULT '0' NOT NULL;
    """)
    run(_DROPPED)
    run_as_engine(_COUNTED)
    run_as_engine(_COUNT_DROPPED)


def downgrade() -> None:
    run("DROP FUNCTION cmis.count_dropped(jsonb)")
    drop_tables(["dropped_messages"])
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

# No tenant's: who forges a message does not say truly whose it is.
_DROPPED = """
CREATE TABLE cmis.dropped_messages (
    reason TEXT NOT NULL,
    messages BIGINT NOT NULL,
    last_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT dropped_messages_pkey PRIMARY KEY (reason),
    CONSTRAINT dropped_messages_reason_check
      CHECK (reason IN ('unclaimed', 'arguments', 'unknown_org', 'unknown_task', 'refused', 'unreadable'))
);
GRANT SELECT, INSERT, UPDATE ON cmis.dropped_messages TO cmis_engine;
GRANT SELECT ON cmis.dropped_messages TO cmis_readonly;
"""

# Workers add up by themselves, and tell the sums each few seconds. In the order of the reasons, so that none waits in a circle.
_COUNT_DROPPED = """
CREATE FUNCTION cmis.count_dropped(p_counts jsonb) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO cmis.dropped_messages AS d (reason, messages, last_at)
  SELECT c.key, c.value::bigint, cmis.clock() FROM jsonb_each_text(p_counts) c WHERE c.value::bigint > 0 ORDER BY c.key
  ON CONFLICT (reason) DO UPDATE SET messages = d.messages + excluded.messages, last_at = excluded.last_at;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.count_dropped(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.count_dropped(jsonb) TO cmis_app;
"""
