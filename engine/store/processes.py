"""SQL of the heartbeat rows, and of what else says whether the system as a whole is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from models.enums import Queue

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

_BEAT: Final = text(
    "SELECT cmis.beat(:process_id, :kind, :host, :pid, :version, :queues, :claimed_ago, :polled_ago, :tasks, :state, :reason)"
).bindparams(bindparam("queues", type_=ARRAY(Text())))
_LISTED: Final = text("""
SELECT p.*, extract(epoch FROM cmis.clock() - p.seen_at)::float8 AS seen_ago,
       extract(epoch FROM cmis.clock() - p.claimed_at)::float8 AS claimed_ago,
       extract(epoch FROM cmis.clock() - p.polled_at)::float8 AS polled_ago,
       extract(epoch FROM cmis.clock() - p.started_at)::float8 AS up_for
  FROM cmis.processes p ORDER BY p.kind, p.host, p.started_at
""")
# Each table is read by an index that has what is asked for in its order, whatever is known of its size: health is asked for
# when there suddenly is much of everything.
_BY_INDEX: Final = text("""
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_sort', 'off', true), set_config('jit', 'off', true)
""")
MOST: Final = 10_000
"""How many tasks of a queue are counted at most."""
# Waiting and published tasks have an index each, in the order in which they are sent (again). Of each no more is read than
# counts; a queue with more is as late as the first of them are. What was given up for its delay or its receiver is not late:
# only what could be at work now counts.
_LATE: Final = text("""
WITH clock AS MATERIALIZED (SELECT cmis.clock() AS now)
SELECT q.queue, least(d.tasks, :most)::integer AS tasks, extract(epoch FROM c.now - d.since)::float8 AS oldest
  FROM clock c CROSS JOIN unnest(CAST(:queues AS text[])) AS q(queue) CROSS JOIN LATERAL (
    SELECT count(*) AS tasks, min(greatest(f.run_at, f.created_at)) AS since FROM (
      (SELECT t.run_at, t.created_at FROM cmis.tasks t
        WHERE t.state = 'ready' AND t.published_at IS NULL AND t.finished_at IS NULL AND t.queue = q.queue
        ORDER BY t.publish_at LIMIT :most)
      UNION ALL
      (SELECT t.run_at, t.created_at FROM cmis.tasks t
        WHERE t.state = 'ready' AND t.published_at IS NOT NULL AND t.queue = q.queue
        ORDER BY t.publish_at LIMIT :most)) f
     WHERE f.run_at <= c.now) d
 WHERE d.tasks > 0 ORDER BY q.queue
""")
# The first of its index, and only then compared with the clock: asked for the first that is due, the server would look at
# each that is not.
_FACTS: Final = text("""
WITH clock AS MATERIALIZED (SELECT cmis.clock() AS now)
SELECT cmis.clock_is_shifted() AS clock_is_shifted,
       (SELECT string_agg(version_num, ', ') FROM cmis.alembic_version) AS revision,
       (SELECT CASE WHEN j.next <= c.now THEN extract(epoch FROM c.now - j.next)::float8 END FROM clock c CROSS JOIN (
          SELECT min(next_run_at) AS next FROM cmis.scheduled_jobs WHERE status = 'active') j) AS job_late,
       (SELECT CASE WHEN l.late > 0 THEN l.late END FROM (
          SELECT extract(epoch FROM clock_timestamp() - min(t.lease_expires_at))::float8 AS late -- lease_expires_at
            FROM cmis.tasks t WHERE t.state = 'running') l) AS lease_late
""")


class Identity(NamedTuple):
    """A process, from its start to its end."""

    process_id: UUID
    kind: str
    host: str
    pid: int
    version: str
    queues: tuple[str, ...]


class Beat(NamedTuple):
    """What a process says of itself at one moment; ages in seconds, None = never."""

    claimed_ago: float | None
    polled_ago: float | None
    tasks: int
    state: str
    reason: str | None


def beat(connection: Connection, identity: Identity, said: Beat) -> None:
    """Write a process's heartbeat row; the first one forgets processes that nobody has seen for a day."""
    connection.execute(_BEAT, {**identity._asdict(), **said._asdict(), "queues": list(identity.queues)})


def read_by_index(connection: Connection) -> None:
    """Prepare the transaction for questions whose answers take as long however many tasks and jobs there are."""
    connection.execute(_BY_INDEX)


def listed(connection: Connection) -> Sequence[Row[Any]]:
    """Return every process, with `seen_ago`, `claimed_ago`, `polled_ago` and `up_for` in seconds; readonly role."""
    return connection.execute(_LISTED).all()


def late(connection: Connection) -> Sequence[Row[Any]]:
    """Return for each queue that has any how many tasks are ready and due, and for how many seconds the oldest; readonly role.

    `tasks` is MOST for so many or more. The oldest is then that of the MOST that wait to be sent and the MOST that were
    sent whose (next) message is due first.
    """
    return connection.execute(_LATE, {"queues": [queue.value for queue in Queue], "most": MOST}).all()


def facts(connection: Connection) -> Row[Any]:
    """Return whether the clock is shifted, the schema's revision, and how late jobs and leases are; readonly role."""
    return connection.execute(_FACTS).one()
