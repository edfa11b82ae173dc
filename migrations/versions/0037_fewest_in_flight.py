"""Whoever has little in flight goes first, and what is done to a task by its key reads no other.

The server keeps plans. Those made on a small table joined tasks to a list of keys by reading all that were `ready`, or used
the index of 0032, which holds whatever has not succeeded: when twenty thousand tasks came at once, each look of a scheduler
read all of them, until the next ANALYZE. What is taken is now found key by key. And two indexes are of tasks that are not
final, which is a column that only those statements name that are meant to use them: the one that counts what is in flight, and
the one that finds what waits by time, which was read through for the few tasks of one org.
"""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_INDEXES)
    run_as_engine(_turns() + _IN_FLIGHT + _take())
    for function in _by_time():
        run_as_engine(function.replace(*_WAITING))


def downgrade() -> None:
    in_flight = constant_of("0032", "_CAPS").partition(_OTHER)[0]
    for function in (_turns_before(), in_flight, constant_of("0032", "_TAKE"), *_by_time()):
        run_as_engine(function.replace(*_AGAIN))
    run(_INDEXES_BEFORE)


_AGAIN = ("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
_OTHER = "CREATE FUNCTION cmis.org_cap"
_WAITING = ("t.published_at IS NULL", "t.published_at IS NULL AND t.finished_at IS NULL")
_INDEXES = """
DROP INDEX cmis.tasks_by_state, cmis.tasks_waiting;
CREATE INDEX tasks_open ON cmis.tasks (org_id, state, queue, published_at) WHERE finished_at IS NULL;
CREATE INDEX tasks_waiting ON cmis.tasks (queue, publish_at) WHERE state = 'ready' AND published_at IS NULL AND finished_at IS NULL;
"""
_INDEXES_BEFORE = """
DROP INDEX cmis.tasks_open, cmis.tasks_waiting;
CREATE INDEX tasks_by_state ON cmis.tasks (org_id, state, queue, published_at) WHERE state <> 'succeeded';
CREATE INDEX tasks_waiting ON cmis.tasks (queue, publish_at) WHERE state = 'ready' AND published_at IS NULL;
"""
_IN_FLIGHT = """
CREATE OR REPLACE FUNCTION cmis.org_in_flight(p_org_id uuid, p_queue text, p_bound integer) RETURNS integer
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN (SELECT count(*) FROM (
    (SELECT FROM cmis.tasks t WHERE t.org_id = p_org_id AND t.state = 'running' AND t.queue = p_queue AND t.finished_at IS NULL
      LIMIT p_bound) UNION ALL
    (SELECT FROM cmis.tasks t WHERE t.org_id = p_org_id AND t.state = 'ready' AND t.queue = p_queue AND t.published_at IS NOT NULL
        AND t.finished_at IS NULL LIMIT p_bound) LIMIT p_bound) x);
END $$;
"""
# An org's next task stands behind as many turns as it has tasks in flight, eight at most: so many of an org that has none go
# before the next one of an org that fills the queue. Beyond that orgs are alike, so that long tasks do not keep their own
# org's others waiting for as long.
_BEHIND = """CASE h.org_id WHEN v_shared THEN (h.nth + least(h.has, 8) + 3) / 4 ELSE h.nth + least(h.has, 8) END"""


_SPLIT = "-- What is to be published next"
_NTH = "CASE h.org_id WHEN v_shared THEN (h.nth + 3) / 4 ELSE h.nth END"


def _turns_before() -> str:
    turns: str = constant_of("0032", "_PICK").partition(_SPLIT)[0]
    return turns.replace(*_AGAIN)


def _turns() -> str:
    function = _turns_before()
    for before, after in (
        (
            "max(g.room) AS room FROM groups g WHERE",
            "max(g.room) AS room, max(cmis.org_cap(g.org_id, p_queue, p_cap) - g.room) AS has FROM groups g WHERE",
        ),
        ("SELECT o.place, o.room,", "SELECT o.place, o.room, o.has,"),
        (_NTH, _BEHIND),
    ):
        function = function.replace(before, after)
    return function


def _by_time() -> tuple[str, ...]:
    """Return the functions that find what waits by time, as they were."""
    functions = (
        constant_of("0032", "_next")(),
        constant_of("0032", "_PUBLISHABLE"),
        constant_of("0032", "_PICK").partition(_SPLIT)[2].partition("\n")[2],
    )
    return tuple(function.replace(*_AGAIN) for function in functions)


# Each is looked up and locked by its key, and updated where it was found.
_JOINED = """
      JOIN cmis.tasks t ON t.org_id = p.org_id AND t.task_id = p.task_id
     WHERE t.state = 'ready' AND t.publish_at <= v_now
       FOR NO KEY UPDATE OF t SKIP LOCKED),"""
_LOOKED_UP = """
     CROSS JOIN LATERAL (SELECT t.ctid AS row_id, t.published_at, t.run_at, t.queue FROM cmis.tasks t
       WHERE t.org_id = p.org_id AND t.task_id = p.task_id AND t.state = 'ready' AND t.publish_at <= v_now
         FOR NO KEY UPDATE SKIP LOCKED) t),"""


def _take() -> str:
    function: str = constant_of("0032", "_TAKE").replace(*_AGAIN)
    for before, after in (
        (_JOINED, _LOOKED_UP),
        ("SELECT t.org_id, t.task_id, p.position, (t.published_at", "SELECT t.row_id, p.position, (t.published_at"),
        ("FROM due WHERE t.org_id = due.org_id AND t.task_id = due.task_id", "FROM due WHERE t.ctid = due.row_id"),
    ):
        function = function.replace(before, after)
    return function
