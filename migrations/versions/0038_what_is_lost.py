"""A message that is lost beside many that wait is sent again after 15 s, and nothing that somebody holds keeps the rest waiting.

What waits in a queue is first in, first out: of so many messages, those are there that were published last. What was published
before them and is due again is lost, or in the hands of a worker, whose transaction holds its row. Before, all that was due again
was put off for two minutes while a queue was about as long as what had been published into it.

Reaping waited for the rules of what died, and a refused batch for the workers that had begun on what had arrived: five seconds
each, then nothing of it was done.
"""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(f"DROP FUNCTION {_TAKE_BEFORE}, {_QUEUES_BEFORE}")
    run_as_engine(_PUBLISHABLE + _take() + _GRANTS + _FAILED + _REAP)


def downgrade() -> None:
    run(f"DROP FUNCTION {_TAKE}, {_QUEUES}")
    run_as_engine(constant_of("0032", "_PUBLISHABLE").replace(*_UNFINISHED) + _take_before().replace(*_AGAIN[::-1]))
    run_as_engine(_granted(_TAKE_BEFORE, _QUEUES_BEFORE))
    failed = constant_of("0008", "_PUBLISH")
    run_as_engine(failed[failed.index("CREATE FUNCTION cmis.publish_failed") :].replace(*_AGAIN))
    reap = constant_of("0030", "_REAP")
    run_as_engine(
        reap[reap.index("CREATE FUNCTION cmis.reap(") : reap.index("REVOKE EXECUTE ON FUNCTION")].replace(*_AGAIN)
    )


_AGAIN = ("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
_UNFINISHED = ("t.published_at IS NULL", "t.published_at IS NULL AND t.finished_at IS NULL")
_TAKE_BEFORE = "cmis.take_publishable(uuid[], uuid[], text[])"
_TAKE = "cmis.take_publishable(uuid[], uuid[], text[], integer[])"
_QUEUES_BEFORE = "cmis.publishable_queues(text[], integer)"
_QUEUES = "cmis.publishable_queues(text[])"


def _granted(*functions: str) -> str:
    listed = ", ".join(functions)
    return f"""
REVOKE EXECUTE ON FUNCTION {listed} FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {listed} TO cmis_scheduler;
"""


_GRANTS = _granted(_TAKE, _QUEUES)

# Which queues have a message due, and whether one is due there again. The first by time is asked for, not whether there is one:
# that, a plan may look for in the whole table.
_PUBLISHABLE = """
CREATE FUNCTION cmis.publishable_queues(p_queues text[]) RETURNS TABLE (queue text, again boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  RETURN QUERY
  SELECT d.queue, d.again <= v_now IS TRUE
    FROM (SELECT q.queue,
            (SELECT t.publish_at FROM cmis.tasks t
              WHERE t.state = 'ready' AND t.published_at IS NULL AND t.finished_at IS NULL AND t.queue = q.queue
              ORDER BY t.publish_at LIMIT 1) AS fresh,
            (SELECT t.publish_at FROM cmis.tasks t WHERE t.state = 'ready' AND t.published_at IS NOT NULL AND t.queue = q.queue
              ORDER BY t.publish_at LIMIT 1) AS again
            FROM unnest(p_queues) AS q(queue)) d
   WHERE least(d.fresh, d.again) <= v_now;
END $$;
"""

# `live`: what was published of the queues in which something is due again, the newest first, and how many messages wait there.
# What is published together is told apart by microseconds, in the order in which it is sent.
_WAITS_BEFORE = """(t.published_at >= greatest(t.run_at, v_now - interval '2 min')
                                             AND t.queue = ANY (p_backlogged)) IS TRUE AS waits"""
_WAITS = """(t.published_at >= greatest(t.run_at, v_now - interval '2 min') AND EXISTS (
             SELECT FROM live l WHERE l.org_id = p.org_id AND l.task_id = p.task_id AND l.newest <= l.waiting)) IS TRUE AS waits"""
_LIVE = """
  WITH live AS MATERIALIZED (
    SELECT p.org_id, p.task_id, q.waiting,
           row_number() OVER (PARTITION BY q.queue ORDER BY p.published_at DESC, p.publish_at DESC, p.task_id DESC) AS newest
      FROM unnest(p_queues, p_waiting) AS q(queue, waiting) CROSS JOIN LATERAL (
        SELECT t.org_id, t.task_id, t.published_at, t.publish_at FROM cmis.tasks t
         WHERE t.state = 'ready' AND t.published_at IS NOT NULL AND t.queue = q.queue LIMIT 10000) p),
  due AS MATERIALIZED ("""


def _take_before() -> str:
    function: str = constant_of("0037", "_take")()
    return function


def _take() -> str:
    function = _take_before().replace(*_AGAIN[::-1])
    for before, after in (
        ("p_tasks uuid[], p_backlogged text[])", "p_tasks uuid[], p_queues text[], p_waiting integer[])"),
        ("\n  WITH due AS MATERIALIZED (", _LIVE),
        (_WAITS_BEFORE, _WAITS),
        (
            "THEN t.published_at ELSE v_now END",
            "THEN t.published_at ELSE v_now + (due.position - 1) * interval '1 us' END",
        ),
    ):
        function = function.replace(before, after)
    return function


# What a worker holds has arrived: it is at work on it.
_FAILED = """
CREATE OR REPLACE FUNCTION cmis.publish_failed(p_tasks jsonb) RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
  WITH unheld AS MATERIALIZED (
    SELECT t.row_id FROM jsonb_to_recordset(p_tasks) AS p(org_id uuid, task_id uuid)
     CROSS JOIN LATERAL (SELECT t.ctid AS row_id FROM cmis.tasks t
       WHERE t.org_id = p.org_id AND t.task_id = p.task_id AND t.state = 'ready' FOR NO KEY UPDATE SKIP LOCKED) t)
  UPDATE cmis.tasks t SET publish_at = cmis.clock(), published_at = NULL FROM unheld WHERE t.ctid = unheld.row_id
$$;
"""

# As 0030's, but for what somebody else holds: what ends for good counts with its rules, which an optimisation holds for as long
# as it takes. A batch that meets such a lock is done one by one, and what still meets one is left: its lease ends again now, so
# that all others come before it next time. Of a hundred such in one pass the rest is left as well.
_REAP = """
CREATE OR REPLACE FUNCTION cmis.reap(p_limit integer) RETURNS TABLE (org_id uuid, task_id uuid, state text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
AS $$
DECLARE v_orgs uuid[]; v_tasks uuid[]; v_said text; v_held integer := 0;
BEGIN
  SELECT array_agg(e.org_id), array_agg(e.task_id) INTO v_orgs, v_tasks FROM (
    SELECT t.org_id, t.task_id FROM cmis.tasks t
     WHERE t.state = 'running' AND t.lease_expires_at < clock_timestamp()
     ORDER BY t.lease_expires_at LIMIT p_limit FOR NO KEY UPDATE SKIP LOCKED) e;
  IF v_tasks IS NULL THEN
    RETURN;
  END IF;
  BEGIN
    RETURN QUERY SELECT r.org_id, r.task_id, r.state FROM cmis.reap_together(v_orgs, v_tasks) r;
    RETURN;
  EXCEPTION WHEN data_exception OR integrity_constraint_violation OR lock_not_available THEN
    NULL;
  END;
  PERFORM set_config('lock_timeout', '10ms', true);
  FOR i IN 1 .. cardinality(v_tasks) LOOP
    BEGIN
      RETURN QUERY SELECT r.org_id, r.task_id, r.state FROM cmis.reap_together(v_orgs[i:i], v_tasks[i:i]) r;
    EXCEPTION
      WHEN lock_not_available THEN
        UPDATE cmis.tasks t SET lease_expires_at = clock_timestamp() WHERE t.org_id = v_orgs[i] AND t.task_id = v_tasks[i];
        v_held := v_held + 1;
        EXIT WHEN v_held = 100;
      WHEN data_exception OR integrity_constraint_violation THEN
        GET STACKED DIAGNOSTICS v_said = MESSAGE_TEXT;
        RETURN QUERY SELECT r.org_id, r.task_id, r.state FROM cmis.reap_bare(v_orgs[i], v_tasks[i], v_said) r;
    END;
  END LOOP;
END $$;
"""
