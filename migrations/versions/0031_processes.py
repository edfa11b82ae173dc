"""Heartbeat rows: which processes there are, and when each was last seen, at work, and waiting for work."""

from migrations.ddl import drop_tables, run, run_as_engine

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_TABLE)
    run_as_engine(_BEAT)


def downgrade() -> None:
    run("DROP FUNCTION cmis.beat(uuid, text, text, integer, text, text[], float8, float8, bigint, text, text)")
    drop_tables(["processes"])


# No tenant's, and written by one function only. Few rows that change all the time: half of each page stays free for that.
_TABLE = """
CREATE TABLE cmis.processes (
    process_id UUID NOT NULL,
    kind TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    queues TEXT[] NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    claimed_at TIMESTAMP WITH TIME ZONE,
    polled_at TIMESTAMP WITH TIME ZONE,
    tasks BIGINT DEFAULT 0 NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    stopped_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT processes_pkey PRIMARY KEY (process_id),
    CONSTRAINT processes_kind_check CHECK (kind IN ('worker', 'deliveries', 'scheduler')),
    CONSTRAINT processes_state_check CHECK (state IN ('working', 'waiting', 'stuck', 'stopped')),
    CONSTRAINT processes_stopped_at_check CHECK ((state = 'stopped') = (stopped_at IS NOT NULL)),
    CONSTRAINT processes_text_check CHECK (length(host) <= 255 AND length(version) <= 64 AND length(reason) <= 500
      AND cardinality(queues) <= 16)
);
ALTER TABLE cmis.processes SET (fillfactor = 50);
GRANT SELECT, INSERT, UPDATE, DELETE ON cmis.processes TO cmis_engine;
GRANT SELECT ON cmis.processes TO cmis_readonly;
"""

# Processes say how long ago something was, not when: their hosts' clocks are nobody's business. A first beat forgets who has
# not been seen for a day.
_BEAT = """
CREATE FUNCTION cmis.beat(p_process_id uuid, p_kind text, p_host text, p_pid integer, p_version text, p_queues text[],
  p_claimed_ago float8, p_polled_ago float8, p_tasks bigint, p_state text, p_reason text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  v_now timestamptz := cmis.clock();
  v_claimed timestamptz := v_now - p_claimed_ago * interval '1 second';
  v_polled timestamptz := v_now - p_polled_ago * interval '1 second';
  v_stopped timestamptz := CASE WHEN p_state = 'stopped' THEN v_now END;
BEGIN
  UPDATE cmis.processes p
     SET seen_at = v_now, claimed_at = v_claimed, polled_at = v_polled, tasks = p_tasks, state = p_state,
         reason = left(p_reason, 500), stopped_at = v_stopped
   WHERE p.process_id = p_process_id;
  IF FOUND THEN RETURN; END IF;
  DELETE FROM cmis.processes p WHERE p.seen_at < v_now - interval '1 day';
  INSERT INTO cmis.processes (process_id, kind, host, pid, version, queues, started_at, seen_at, claimed_at, polled_at,
                              tasks, state, reason, stopped_at)
  VALUES (p_process_id, p_kind, left(p_host, 255), p_pid, left(p_version, 64), p_queues, v_now, v_now, v_claimed, v_polled,
          p_tasks, p_state, left(p_reason, 500), v_stopped);
END $$;
REVOKE EXECUTE ON FUNCTION
  cmis.beat(uuid, text, text, integer, text, text[], float8, float8, bigint, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.beat(uuid, text, text, integer, text, text[], float8, float8, bigint, text, text)
  TO cmis_app, cmis_scheduler;
"""
