"""Orgs take turns in every queue: what is published is little, and of no org more than its cap."""

from migrations.ddl import constant_of, drop_tables, protect, run, run_as_engine

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_LIMITS)
    protect("org_queue_limits", app="SELECT, INSERT, UPDATE", engine="SELECT")
    run(_INDEXES)
    run(f"DROP FUNCTION {_BEFORE}, {_CLAIMS}")
    run_as_engine(_next())
    for functions in (_PUBLISHABLE, _CAPS, _TURNS, _PICK, _TAKE, _GRANTS):
        run_as_engine(functions)
    run_as_engine(_claim() + constant_of("0015", "_GRANT") + _record())


def downgrade() -> None:
    run(f"DROP FUNCTION {', '.join(_SCHEDULER + _INNER)}, {_CLAIMS}")
    run(_INDEXES_BEFORE)
    drop_tables(["org_queue_limits"])
    for name in ("_NEXT", "_PUBLISH", "_GRANTS"):
        run_as_engine(constant_of("0012", name))
    run_as_engine(constant_of("0028", "_claim")() + constant_of("0015", "_GRANT"))
    run_as_engine(constant_of("0028", "_record")())


_CLAIMS = "cmis.claim_due_jobs(integer, uuid[], integer, integer)"
_BEFORE = "cmis.publishable_queues(text[], integer), cmis.take_publishable(integer, text[], integer[], text[])"
_SCHEDULER = (
    "cmis.publishable_queues(text[], integer)",
    "cmis.seconds_until_due(text[])",
    "cmis.pick_publishable(text, integer, uuid, integer)",
    "cmis.take_publishable(uuid[], uuid[], text[])",
)
_SHOWN = ("cmis.org_in_flight(uuid, text, integer)", "cmis.org_cap(uuid, text, integer)")
_RING = (
    "cmis.due_groups(text, uuid, uuid, integer, integer, integer)",
    "cmis.pick_turns(text, integer, uuid, integer)",
)
_INNER = (*_RING, *_SHOWN)
_GRANTS = f"""
REVOKE EXECUTE ON FUNCTION {", ".join(_SCHEDULER + _INNER)} FROM PUBLIC;
GRANT EXECUTE ON FUNCTION {", ".join(_SCHEDULER)} TO cmis_scheduler;
GRANT EXECUTE ON FUNCTION {", ".join(_SHOWN)} TO cmis_app;
"""

_LIMITS = """
CREATE TABLE cmis.org_queue_limits (
    org_id UUID NOT NULL,
    queue TEXT NOT NULL,
    in_flight INTEGER,
    CONSTRAINT org_queue_limits_pkey PRIMARY KEY (org_id, queue),
    CONSTRAINT org_queue_limits_queue_check CHECK (queue IN ('rules', 'workflows', 'actions', 'ingest', 'maintenance')),
    CONSTRAINT org_queue_limits_in_flight_check CHECK (in_flight > 0),
    CONSTRAINT org_queue_limits_org_id_fkey FOREIGN KEY(org_id) REFERENCES cmis.orgs (org_id)
);
"""

# A task that is ready either waits here (`published_at` is NULL) or was published: each of the two has an index of its own,
# so that neither is found among the other. What waits is found by time, and by org. The index by state counts what an org
# has in flight; what succeeded, which is nearly all, is not in it.
_INDEXES = """
DROP INDEX cmis.tasks_publish;
CREATE INDEX tasks_waiting ON cmis.tasks (queue, publish_at) WHERE state = 'ready' AND published_at IS NULL;
CREATE INDEX tasks_turns ON cmis.tasks (queue, org_id, priority, publish_at) WHERE state = 'ready' AND published_at IS NULL;
CREATE INDEX tasks_published ON cmis.tasks (queue, publish_at) WHERE state = 'ready' AND published_at IS NOT NULL;
CREATE INDEX tasks_by_state ON cmis.tasks (org_id, state, queue, published_at) WHERE state <> 'succeeded';
"""
_INDEXES_BEFORE = """
DROP INDEX cmis.tasks_waiting, cmis.tasks_turns, cmis.tasks_published, cmis.tasks_by_state;
CREATE INDEX tasks_publish ON cmis.tasks (queue, publish_at) WHERE state = 'ready';
"""


def _next() -> str:
    """Return the function of 0012; what waits and what was published are two indexes now."""
    before: str = constant_of("0012", "_NEXT")
    one = before[before.index("SELECT t.publish_at") : before.index(") d))")]
    both = [one.replace("'ready'", f"'ready' AND t.published_at {state}") for state in ("IS NULL", "IS NOT NULL")]
    return before.replace("CREATE F", "CREATE OR REPLACE F").replace(one, f"({both[0]}) UNION ALL ({both[1]})")


# Which queues have a message due; `published`: where one is due again, how many of the queue's tasks are published, counted
# up to a bound. The first by time is asked for, not whether there is one: that, a plan may look for in the whole table.
_PUBLISHABLE = """
CREATE FUNCTION cmis.publishable_queues(p_queues text[], p_bound integer) RETURNS TABLE (queue text, published bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  RETURN QUERY
  SELECT d.queue, CASE WHEN d.again <= v_now THEN (SELECT count(*) FROM (SELECT FROM cmis.tasks t
           WHERE t.state = 'ready' AND t.published_at IS NOT NULL AND t.queue = d.queue LIMIT p_bound) x) END
    FROM (SELECT q.queue,
            (SELECT t.publish_at FROM cmis.tasks t WHERE t.state = 'ready' AND t.published_at IS NULL AND t.queue = q.queue
              ORDER BY t.publish_at LIMIT 1) AS fresh,
            (SELECT t.publish_at FROM cmis.tasks t WHERE t.state = 'ready' AND t.published_at IS NOT NULL AND t.queue = q.queue
              ORDER BY t.publish_at LIMIT 1) AS again
            FROM unnest(p_queues) AS q(queue)) d
   WHERE least(d.fresh, d.again) <= v_now;
END $$;
"""

# What an org has in flight in a queue, counted up to a bound: its messages that nobody has claimed, and what runs. They read
# as their caller, who sees the rows of all orgs or of his own. The reserved org is no tenant: nothing binds what it carries.
_CAPS = """
CREATE FUNCTION cmis.org_in_flight(p_org_id uuid, p_queue text, p_bound integer) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN (SELECT count(*) FROM (
    (SELECT FROM cmis.tasks t WHERE t.org_id = p_org_id AND t.state = 'running' AND t.queue = p_queue LIMIT p_bound) UNION ALL
    (SELECT FROM cmis.tasks t WHERE t.org_id = p_org_id AND t.state = 'ready' AND t.queue = p_queue AND t.published_at IS NOT NULL
      LIMIT p_bound) LIMIT p_bound) x);
END $$;

CREATE FUNCTION cmis.org_cap(p_org_id uuid, p_queue text, p_default integer) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  IF p_org_id = '00000000-0000-0000-0000-000000000000' THEN RETURN 1000000; END IF;
  RETURN coalesce((SELECT l.in_flight FROM cmis.org_queue_limits l WHERE l.org_id = p_org_id AND l.queue = p_queue), p_default);
END $$;
"""

# The orgs that have tasks waiting in a queue, after `p_after` and up to `p_until`, in the order of their ids; of each its
# priorities that have one due. Found by skipping through the index from priority to priority, so that a million tasks of one
# org cost as much as one; at most `p_probes` skips, and no further once `p_orgs` orgs give tasks. `room`: how many more of
# its tasks may be published; NULL where none is due. The last row is where it stopped, due or not.
_TURNS = """
CREATE FUNCTION cmis.due_groups(p_queue text, p_after uuid, p_until uuid, p_orgs integer, p_probes integer, p_cap integer)
RETURNS TABLE (place integer, org_id uuid, priority smallint, room integer, orgs integer)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  RETURN QUERY
  WITH RECURSIVE ring AS (
    SELECT 0 AS place, coalesce(p_after, '00000000-0000-0000-0000-000000000000') AS org_id,
           CASE WHEN p_after IS NULL THEN -1 ELSE 9 END::smallint AS priority, false AS due, NULL::integer AS room, 0 AS orgs
    UNION ALL
    SELECT ring.place + 1, following.org_id, following.priority, following.due, free.room,
           ring.orgs + CASE WHEN free.room > 0 AND (ring.room IS NULL OR ring.org_id <> following.org_id) THEN 1 ELSE 0 END
      FROM ring CROSS JOIN LATERAL (
        SELECT t.org_id, t.priority, t.publish_at <= v_now AS due FROM cmis.tasks t
         WHERE t.state = 'ready' AND t.published_at IS NULL AND t.queue = p_queue
           AND (t.org_id, t.priority) > (ring.org_id, ring.priority)
         ORDER BY t.org_id, t.priority, t.publish_at LIMIT 1) following
      CROSS JOIN LATERAL (SELECT CASE
        WHEN ring.org_id = following.org_id AND ring.room IS NOT NULL THEN ring.room
        WHEN following.due THEN (SELECT c.cap - cmis.org_in_flight(following.org_id, p_queue, c.cap)
          FROM (SELECT cmis.org_cap(following.org_id, p_queue, p_cap) AS cap) c) END AS room) free
     WHERE ring.place < p_probes AND ring.orgs <= p_orgs AND following.org_id <= p_until)
  SELECT r.place, r.org_id, r.priority, CASE WHEN r.due THEN r.room END, r.orgs FROM ring r WHERE r.place > 0 ORDER BY r.place;
END $$;
"""

# Orgs take turns from `p_after` on: a task a turn (the reserved org, whose tasks carry several tenants' work, four), its most
# urgent first; a minute's waiting counts as much as a step of priority. `reached`: whose turn was the last.
_PICK = """
CREATE FUNCTION cmis.pick_turns(p_queue text, p_room integer, p_after uuid, p_cap integer,
  OUT orgs uuid[], OUT tasks uuid[], OUT reached uuid)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  v_now timestamptz := cmis.clock();
  v_shared constant uuid := '00000000-0000-0000-0000-000000000000';
  v_last constant uuid := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
  v_probes constant integer := 4000;
BEGIN
  WITH ahead AS MATERIALIZED (
    SELECT g.* FROM cmis.due_groups(p_queue, p_after, v_last, p_room, v_probes, p_cap) g),
  around AS MATERIALIZED (
    SELECT g.* FROM (SELECT FROM ahead a HAVING coalesce(max(a.place), 0) < v_probes AND coalesce(max(a.orgs), 0) <= p_room) s
     CROSS JOIN LATERAL cmis.due_groups(p_queue, NULL, p_after, p_room, v_probes, p_cap) g WHERE p_after IS NOT NULL),
  groups AS MATERIALIZED (
    SELECT a.place, a.org_id, a.priority, a.room FROM ahead a UNION ALL
    SELECT v_probes + a.place, a.org_id, a.priority, a.room FROM around a),
  givers AS MATERIALIZED (
    SELECT g.org_id, min(g.place) AS place, max(g.room) AS room FROM groups g WHERE g.room > 0 GROUP BY 1 ORDER BY 2 LIMIT p_room),
  heads AS (
    SELECT o.place, o.room, o.org_id, h.task_id, row_number() OVER (PARTITION BY o.org_id ORDER BY
             g.priority - floor(extract(epoch FROM v_now - h.publish_at) / 60), h.publish_at, h.task_id) AS nth
      FROM givers o JOIN groups g ON g.org_id = o.org_id AND g.room > 0 CROSS JOIN LATERAL (
        SELECT t.task_id, t.publish_at FROM cmis.tasks t
         WHERE t.state = 'ready' AND t.published_at IS NULL AND t.queue = p_queue AND t.org_id = g.org_id
           AND t.priority = g.priority AND t.publish_at <= v_now
         ORDER BY t.publish_at LIMIT least(p_room, 4 * (1 + p_room / (SELECT count(*) FROM givers)))) h),
  picked AS (
    SELECT h.org_id, h.task_id, row_number() OVER (
             ORDER BY CASE h.org_id WHEN v_shared THEN (h.nth + 3) / 4 ELSE h.nth END, h.place, h.nth) AS position
      FROM heads h WHERE h.nth <= h.room ORDER BY position LIMIT p_room)
  SELECT array_agg(p.org_id ORDER BY p.position), array_agg(p.task_id ORDER BY p.position),
         coalesce(CASE WHEN (SELECT max(g.place) % v_probes FROM groups g) <> 0 THEN (array_agg(p.org_id ORDER BY p.position DESC))[1] END,
                  (SELECT g.org_id FROM groups g ORDER BY g.place DESC LIMIT 1), p_after)
    INTO orgs, tasks, reached FROM picked p;
END $$;

-- What is to be published next of a queue that has room for `p_room` messages. First what is due again, up to half of the room.
-- Then, if all that waits fits, and no org would pass its cap, that; else orgs take turns. `short`: more is due than was picked.
CREATE FUNCTION cmis.pick_publishable(p_queue text, p_room integer, p_after uuid, p_cap integer,
  OUT orgs uuid[], OUT tasks uuid[], OUT reached uuid, OUT short boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := cmis.clock(); v_room integer; v_again uuid[]; v_again_tasks uuid[];
BEGIN
  SELECT coalesce(array_agg(a.org_id), '{}'), coalesce(array_agg(a.task_id), '{}') INTO v_again, v_again_tasks FROM (
    SELECT t.org_id, t.task_id FROM cmis.tasks t
     WHERE t.state = 'ready' AND t.published_at IS NOT NULL AND t.queue = p_queue AND t.publish_at <= v_now
     ORDER BY t.publish_at LIMIT (p_room + 1) / 2) a;
  v_room := p_room - cardinality(v_again);
  WITH oldest AS MATERIALIZED (
    SELECT t.org_id, t.task_id, t.priority, t.publish_at FROM cmis.tasks t
     WHERE t.state = 'ready' AND t.published_at IS NULL AND t.queue = p_queue AND t.publish_at <= v_now
     ORDER BY t.publish_at LIMIT v_room + 1),
  turns AS (
    SELECT o.*, row_number() OVER (PARTITION BY o.org_id ORDER BY o.priority, o.publish_at, o.task_id) AS nth FROM oldest o)
  SELECT array_agg(t.org_id ORDER BY t.nth, t.publish_at), array_agg(t.task_id ORDER BY t.nth, t.publish_at),
         count(*) > v_room OR EXISTS (
           SELECT FROM (SELECT o.org_id, count(*)::integer AS due, cmis.org_cap(o.org_id, p_queue, p_cap) AS cap
                          FROM oldest o GROUP BY o.org_id) d
            WHERE d.due + cmis.org_in_flight(d.org_id, p_queue, d.cap) > d.cap)
    INTO orgs, tasks, short FROM turns t;
  reached := p_after;
  IF short THEN
    SELECT t.orgs, t.tasks, t.reached INTO orgs, tasks, reached FROM cmis.pick_turns(p_queue, v_room, p_after, p_cap) t;
  END IF;
  orgs := v_again || coalesce(orgs, '{}');
  tasks := v_again_tasks || coalesce(tasks, '{}');
END $$;
"""

# Marks what was picked, as far as no other scheduler has and nobody has claimed it, and returns it in the order in which it
# is to be sent. A task whose message merely waits is put off, for two minutes at most, and returned so that the caller knows
# of it. The broker's priorities are for an org that is alone in a queue: beside others no message passes another, whatever
# its org calls it, and that an urgent task comes before its org's others was seen to when it was picked.
_TAKE = """
CREATE FUNCTION cmis.take_publishable(p_orgs uuid[], p_tasks uuid[], p_backlogged text[])
RETURNS TABLE (org_id uuid, task_id uuid, kind text, queue text, priority smallint, timeout_seconds integer, waits boolean)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  RETURN QUERY
  WITH due AS MATERIALIZED (
    SELECT t.org_id, t.task_id, p.position, (t.published_at >= greatest(t.run_at, v_now - interval '2 min')
                                             AND t.queue = ANY (p_backlogged)) IS TRUE AS waits
      FROM unnest(p_orgs, p_tasks) WITH ORDINALITY AS p(org_id, task_id, position)
      JOIN cmis.tasks t ON t.org_id = p.org_id AND t.task_id = p.task_id
     WHERE t.state = 'ready' AND t.publish_at <= v_now
       FOR NO KEY UPDATE OF t SKIP LOCKED),
  marked AS (
    UPDATE cmis.tasks t SET
      publish_at = v_now + interval '15 s' * CASE WHEN due.waits THEN 1 ELSE power(2, least(t.delivery, 5)) END,
      delivery = t.delivery + CASE WHEN due.waits THEN 0 ELSE 1 END,
      published_at = CASE WHEN due.waits THEN t.published_at ELSE v_now END
      FROM due WHERE t.org_id = due.org_id AND t.task_id = due.task_id
    RETURNING t.org_id, t.task_id, t.kind, t.queue, t.priority, t.timeout_seconds, due.waits, due.position),
  present AS (
    SELECT q.queue, count(DISTINCT q.org_id) > 1 AS several FROM (
      SELECT m.queue, m.org_id FROM marked m UNION ALL
      SELECT s.queue, s.org_id FROM (SELECT DISTINCT m.queue FROM marked m) d CROSS JOIN LATERAL (
        SELECT t.queue, t.org_id FROM cmis.tasks t
         WHERE t.state = 'ready' AND t.published_at IS NOT NULL AND t.queue = d.queue
         ORDER BY t.publish_at DESC LIMIT 64) s) q
     GROUP BY q.queue)
  SELECT m.org_id, m.task_id, m.kind, m.queue, CASE WHEN p.several THEN 4 ELSE m.priority END::smallint, m.timeout_seconds,
         m.waits FROM marked m JOIN present p USING (queue) ORDER BY m.position;
END $$;
"""


# A task is as urgent as the most urgent rule that it carries: the scheduler reads it with the job, and says so of the task.
def _claim() -> str:
    before: str = constant_of("0028", "_claim")()
    return before.replace(
        "template_id uuid, entities bigint", "template_id uuid, priority text, entities bigint"
    ).replace("j.campaign_id, j.template_id,", "j.campaign_id, j.template_id, r.priority,")


def _record() -> str:
    """Return the function; a run that is told to stop is told so before what is bulk."""
    function: str = constant_of("0028", "_record")()
    for before, after in (
        ("publish_at, timeout_seconds, created_at)", "publish_at, timeout_seconds, priority, created_at)"),
        ("t.run_at, t.timeout_seconds, p_now\n", "t.run_at, t.timeout_seconds, coalesce(t.priority, 4), p_now\n"),
        ("timestamptz, timeout_seconds integer);", "timestamptz, timeout_seconds integer, priority smallint);"),
        ("publish_at, created_at)\n      SELECT open", "publish_at, created_at, priority)\n      SELECT open"),
        ("             p_now, p_now, p_now\n", "             p_now, p_now, p_now, 1\n"),
    ):
        function = function.replace(before, after)
    return function
