"""SQL of the heartbeat rows, and of what else says whether the system as a whole is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

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
# What was given up for its delay or its receiver is not late: only what could be at work now counts.
_LATE: Final = text("""
SELECT t.queue, count(*) AS tasks, extract(epoch FROM cmis.clock() - min(greatest(t.run_at, t.created_at)))::float8 AS oldest
  FROM cmis.tasks t WHERE t.state = 'ready' AND t.run_at <= cmis.clock() GROUP BY t.queue ORDER BY t.queue
""")
_FACTS: Final = text("""
SELECT cmis.clock_is_shifted() AS clock_is_shifted,
       (SELECT string_agg(version_num, ', ') FROM cmis.alembic_version) AS revision,
       (SELECT extract(epoch FROM cmis.clock() - min(j.next_run_at))::float8 FROM cmis.scheduled_jobs j
         WHERE j.status = 'active' AND j.next_run_at <= cmis.clock()) AS job_late,
       (SELECT extract(epoch FROM clock_timestamp() - min(t.lease_expires_at))::float8 FROM cmis.tasks t
         WHERE t.state = 'running' AND t.lease_expires_at < clock_timestamp()) AS lease_late -- lease_expires_at
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


def listed(connection: Connection) -> Sequence[Row[Any]]:
    """Return every process, with `seen_ago`, `claimed_ago`, `polled_ago` and `up_for` in seconds; readonly role."""
    return connection.execute(_LISTED).all()


def late(connection: Connection) -> Sequence[Row[Any]]:
    """Return for each queue how many tasks are ready and due, and for how many seconds the oldest; readonly role."""
    return connection.execute(_LATE).all()


def facts(connection: Connection) -> Row[Any]:
    """Return whether the clock is shifted, the schema's revision, and how late jobs and leases are; readonly role."""
    return connection.execute(_FACTS).one()
