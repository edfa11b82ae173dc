"""The durable queue as its workers see it: claim, heartbeat, finish, retry. Every write after a claim carries its fence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from core import driver
from core.ids import uuid7
from engine.store.statements import with_rows
from engine.store.unheld import CLAIMABLE, patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

PRIORITY = 4
"""What a task has of which nobody says how urgent it is; 0 is the most urgent, 9 the least."""
AGAIN = 5
"""What a delivery has at least that is tried again: fresh ones come before it."""
LEASE_SECONDS = 30
HEARTBEAT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Claim:
    """Ownership of a task until its lease ends. `first` = this is the first message of a task that nobody has tried."""

    org_id: UUID
    task_id: UUID
    attempt_id: UUID
    kind: str
    payload: dict[str, Any]
    fence: int
    attempt: int
    max_attempts: int
    first: bool
    lost: bool
    """Whether the attempt before this one was lost: its worker died, or did not extend its lease."""
    worker: str
    timeout_seconds: int
    started_at: datetime
    """When it was first claimed; its timeout counts from then."""
    priority: int

    @property
    def ends_at(self) -> datetime:
        """When its time is up."""
        return self.started_at + timedelta(seconds=self.timeout_seconds)


# SKIP LOCKED: a duplicate message never waits for the claim that it duplicates. The lease runs on the true clock. The key is
# named twice: joined to what it has just locked, the table was read whole by plans that were made while it was small.
_CLAIM = text(f"""
WITH mine AS MATERIALIZED (
  SELECT org_id, task_id FROM cmis.tasks {CLAIMABLE}
     FOR NO KEY UPDATE SKIP LOCKED),
claimed AS (
UPDATE cmis.tasks t
   SET state = 'running', fence = t.fence + 1, attempt = t.attempt + 1, attempt_id = :attempt_id, lease_owner = :worker,
       started_at = coalesce(t.started_at, :now), lease_expires_at = clock_timestamp() + interval '{LEASE_SECONDS} s'
  FROM mine WHERE t.org_id = :org_id AND t.task_id = :task_id AND t.state = 'ready'
RETURNING t.kind, t.payload, t.fence, t.attempt, t.max_attempts, t.attempt = 1 AND t.delivery <= 1 AS first,
          coalesce(t.error ->> 'code' = 'LOST', false) AS lost, t.timeout_seconds, t.started_at, t.priority),
attempted AS (
INSERT INTO cmis.task_attempts (org_id, attempt_id, task_id, fence, attempt, worker, started_at)
SELECT :org_id, :attempt_id, :task_id, fence, attempt, :worker, :now FROM claimed)
SELECT kind, payload, fence, attempt, max_attempts, first, lost, timeout_seconds, started_at, priority FROM claimed
""")
_PEEK = text(f"SELECT payload, attempt, created_at FROM cmis.tasks {CLAIMABLE} FOR NO KEY UPDATE SKIP LOCKED")
_LOCK = text("SELECT FROM cmis.tasks WHERE org_id = :org_id AND task_id = :task_id FOR NO KEY UPDATE")
# Its messages so far were answered: were they counted on, one that is lost later would be sent again minutes after.
_POSTPONE = text("""
UPDATE cmis.tasks SET run_at = :run_at, publish_at = :run_at, published_at = NULL, delivery = 0,
       payload = payload || jsonb_build_object('reserved', CASE WHEN :reserved THEN attempt END)
 WHERE org_id = :org_id AND task_id = :task_id AND state = 'ready'
""")
_OWNED = "WHERE org_id = :org_id AND task_id = :task_id AND fence = :fence AND state = 'running'"
_HEARTBEAT = text(f"""
UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() + interval '{LEASE_SECONDS} s' {_OWNED}
RETURNING cancel_requested
""")
_HOLD = text(f"SELECT FROM cmis.tasks {_OWNED} FOR NO KEY UPDATE")
_HOLD_UNSTOPPED = text(f"SELECT FROM cmis.tasks {_OWNED} AND NOT cancel_requested FOR NO KEY UPDATE")
# The lock waits for whoever may still be committing what is asked for: its client is gone, but not yet the server's process.
_ATTEMPT = "SELECT FROM cmis.task_attempts WHERE org_id = :org_id AND attempt_id = :attempt_id"
_BEGUN = text(_ATTEMPT)
_ENDED = text(f"{_ATTEMPT} AND outcome IS NOT NULL AND outcome <> 'lost'")
# A write under the fence that meets a row ends its attempt, too: the statement's rows are those that it met.
_ENDING_ATTEMPT = """
attempted AS (
UPDATE cmis.task_attempts SET outcome = :outcome, finished_at = :now, error = :error
 WHERE org_id = :org_id AND attempt_id = :attempt_id AND outcome IS NULL AND EXISTS (SELECT FROM owned))
SELECT FROM owned
"""
_FINISH = text(f"""
WITH owned AS (
UPDATE cmis.tasks SET state = :state, finished_at = :now, lease_owner = NULL, lease_expires_at = NULL, result = :result,
       error = :error {_OWNED} RETURNING task_id),
{_ENDING_ATTEMPT}
""").bindparams(bindparam("result", type_=JSONB(none_as_null=True)), bindparam("error", type_=JSONB(none_as_null=True)))
# Who asked a workflow's task to stop meant the attempt that is over: asked for still, nobody could claim the next one, which
# would find that there is nothing left to do. An evaluation that is to stop has no next attempt: it is left to the end of its
# lease, when it is cancelled with all that hangs on it.
_RETRY = text(f"""
WITH owned AS (
UPDATE cmis.tasks SET state = 'ready', run_at = :run_at, publish_at = :run_at, published_at = NULL, lease_owner = NULL,
       lease_expires_at = NULL, error = :error, cancel_requested = false,
       priority = CASE WHEN kind = 'deliver' THEN greatest(priority, {AGAIN}) ELSE priority END,
       max_attempts = greatest(max_attempts, attempt + :more) {_OWNED}
   AND NOT (cancel_requested AND kind IN ('evaluate_rules', 'apply_actions'))
RETURNING task_id),
{_ENDING_ATTEMPT}
""").bindparams(bindparam("error", type_=JSONB(none_as_null=True)))
# Its owner is known to be dead: the reaper takes it in its next pass, or the scheduler sends its next message.
_HASTEN = text("""
UPDATE cmis.tasks SET
  lease_expires_at = CASE state WHEN 'running' THEN clock_timestamp() END,
  publish_at = CASE state WHEN 'ready' THEN greatest(run_at, :now) ELSE publish_at END,
  published_at = CASE state WHEN 'running' THEN published_at END
 WHERE org_id = :org_id AND task_id = :task_id AND (state = 'ready' OR state = 'running' AND lease_owner = :owner)
RETURNING state
""")
SENDS_ITSELF = 16
"""Messages of one org that nobody has claimed in a queue at which a process that makes a task leaves its first message to the
schedulers, so that its org waits its turn."""
# An org with a cap of its own sends no more itself than that leaves room for; the rows of one call count one another.
_INSERT = with_rows(f"""
WITH given AS MATERIALIZED (
SELECT a.*, row_number() OVER (PARTITION BY a.org_id, a.queue, a.asks) AS nth
  FROM (SELECT r.*, coalesce(r.delivery > 0 AND r.publish_at > r.run_at, false) AS asks
          FROM json_to_recordset(:rows) AS r(org_id uuid, task_id uuid, kind text, queue text, payload jsonb, state text,
               run_at timestamptz, publish_at timestamptz, delivery integer, attempt integer, timeout_seconds integer,
               started_at timestamptz, max_attempts integer, retry_of uuid, priority smallint)) a),
rooms AS MATERIALIZED (
SELECT d.org_id, d.queue, least(
         {SENDS_ITSELF} - (SELECT count(*) FROM (
           SELECT FROM cmis.tasks t WHERE t.org_id = d.org_id AND t.state = 'ready' AND t.queue = d.queue
              AND t.published_at IS NOT NULL AND t.finished_at IS NULL LIMIT {SENDS_ITSELF}) x),
         l.in_flight - CASE WHEN l.in_flight IS NOT NULL THEN cmis.org_in_flight(d.org_id, d.queue, l.in_flight) END) AS room
  FROM (SELECT DISTINCT g.org_id, g.queue FROM given g WHERE g.asks) d
  LEFT JOIN cmis.org_queue_limits l ON l.org_id = d.org_id AND l.queue = d.queue),
sends AS MATERIALIZED (
SELECT g.*, g.asks AND g.nth <= r.room AS sent FROM given g LEFT JOIN rooms r ON r.org_id = g.org_id AND r.queue = g.queue),
made AS (
INSERT INTO cmis.tasks (org_id, task_id, kind, queue, payload, state, run_at, publish_at, published_at, delivery, attempt,
       timeout_seconds, started_at, max_attempts, retry_of, priority, created_at)
SELECT r.org_id, r.task_id, r.kind, r.queue, r.payload, coalesce(r.state, 'ready'), r.run_at,
       CASE WHEN r.asks AND NOT r.sent THEN r.run_at ELSE coalesce(r.publish_at, r.run_at) END,
       CASE WHEN r.sent THEN CAST(:now AS timestamptz) END,
       CASE WHEN r.asks AND NOT r.sent THEN 0 ELSE coalesce(r.delivery, 0) END, r.attempt,
       coalesce(r.timeout_seconds, 300), r.started_at, coalesce(r.max_attempts, 5), r.retry_of,
       coalesce(r.priority, {PRIORITY}), :now
  FROM sends r)
SELECT task_id FROM sends WHERE asks AND NOT sent
""")


def claim(connection: Connection, org_id: UUID, task_id: UUID, *, worker: str, now: datetime) -> Claim | None:
    """Take a ready task and record the attempt; None if there is nothing to take (a duplicate, too early, final)."""
    attempt_id = uuid7(now)
    key = {"org_id": org_id, "task_id": task_id, "attempt_id": attempt_id, "worker": worker, "now": now}
    found = patiently(connection, key, lambda: driver.rows(connection, _CLAIM, key))
    for kind, payload, fence, attempt, max_attempts, first, lost, *time in found:
        task = (org_id, task_id, attempt_id, kind, payload, fence, attempt, max_attempts, first, lost, worker)
        return Claim(*task, *time)
    return None


def peek(connection: Connection, org_id: UUID, task_id: UUID, *, now: datetime) -> Row[Any] | None:
    """Lock a task that `claim` would take, and return (payload, attempt, created_at); it uses up no attempt."""
    key = {"org_id": org_id, "task_id": task_id, "now": now}
    return patiently(connection, key, lambda: connection.execute(_PEEK, key).one_or_none())


def lock(connection: Connection, org_id: UUID, task_id: UUID) -> None:
    """Lock a task, if it is still there, until the transaction ends: nobody claims it meanwhile."""
    connection.execute(_LOCK, {"org_id": org_id, "task_id": task_id})


def postpone(connection: Connection, org_id: UUID, task_id: UUID, *, until: datetime, reserved: bool) -> None:
    """Let a task that was peeked at wait; `reserved`: its next attempt has a turn of its own, as its payload then says.

    The payload holds how many attempts were used up then: the attempt that is made of the turn uses that up, too.
    """
    connection.execute(_POSTPONE, {"org_id": org_id, "task_id": task_id, "run_at": until, "reserved": reserved})


def heartbeat(connection: Connection, claimed: Claim) -> bool | None:
    """Extend the lease. Returns whether cancelling was requested, or None if the task is no longer ours."""
    return connection.execute(_HEARTBEAT, _owned(claimed)).scalar_one_or_none()


def hold(connection: Connection, claimed: Claim, *, unless_stopped: bool = False) -> bool:
    """Lock the task until the transaction ends; False if the claim is lost, or (`unless_stopped`) it is to stop."""
    return connection.execute(_HOLD_UNSTOPPED if unless_stopped else _HOLD, _owned(claimed)).rowcount == 1


def finish(
    connection: Connection,
    claimed: Claim,
    state: str,
    *,
    now: datetime,
    result: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
) -> bool:
    """End the task (`succeeded`, `failed` or `cancelled`); False if the claim is lost, and the caller must roll back."""
    outcome = "succeeded" if state == "succeeded" else "failed"
    ending = {"state": state, "outcome": outcome, "now": now, "result": result, "error": error}
    return driver.changed(connection, _FINISH, _owned(claimed) | {"attempt_id": claimed.attempt_id} | ending) == 1


def retry(
    connection: Connection,
    claimed: Claim,
    *,
    after: timedelta,
    now: datetime,
    error: dict[str, Any],
    more: int = 0,
) -> bool:
    """Make the task ready again after a delay, which is a row and never a message; False if the claim is lost.

    `more`: so many attempts are left from here on, at least: what its step's own policy decides on is not counted here.
    """
    ending = {"run_at": now + after, "outcome": "failed", "now": now, "error": error, "more": more}
    return driver.changed(connection, _RETRY, _owned(claimed) | {"attempt_id": claimed.attempt_id} | ending) == 1


def begun(connection: Connection, claimed: Claim) -> bool:
    """Say whether a claim is on record, where the answer to its COMMIT was lost."""
    lock(connection, claimed.org_id, claimed.task_id)
    return connection.execute(_BEGUN, _attempt(claimed)).rowcount == 1


def ended(connection: Connection, claimed: Claim) -> bool:
    """Say whether the end of a claim, whichever it was, is on record, where the answer to its COMMIT was lost."""
    lock(connection, claimed.org_id, claimed.task_id)
    return connection.execute(_ENDED, _attempt(claimed)).rowcount == 1


def hasten(connection: Connection, org_id: UUID, task_id: UUID, *, owner: str | None, now: datetime) -> str | None:
    """End the lease of a dead owner, or make a ready task's next message due; returns its state, None for neither."""
    values = {"org_id": org_id, "task_id": task_id, "owner": owner, "now": now}
    return connection.execute(_HASTEN, values).scalar_one_or_none()


def insert(connection: Connection, rows: Sequence[dict[str, Any]], *, now: datetime) -> Callable[[], set[UUID]]:
    """Enqueue tasks: org_id, task_id, kind, queue, payload, run_at, attempt (attempts already used).

    Optional: timeout_seconds (default 300), max_attempts (default 5), priority (default 4), started_at where their time is
    running already, state (`ready`, or `held` for a task that another one will release), and retry_of (the task whose work
    it does again).
    `publish_at` may be later than `run_at` where the inserting process claims the task itself, or (`delivery` 1) sends its
    first message itself. `delivery` 1 without a later `publish_at`: even the first message's claim is to commit alone.

    What is returned says, outside of `driver.together`, which first messages the process is not to send: their org has
    enough unclaimed messages in the queue, and the schedulers send them when it is its turn.
    """
    if not rows:
        return set
    found = driver.asked(connection, _INSERT, {"rows": rows, "now": now})
    return lambda: {row.task_id for row in found()}


def _attempt(claimed: Claim) -> dict[str, Any]:
    return {"org_id": claimed.org_id, "attempt_id": claimed.attempt_id}


def _owned(claimed: Claim) -> dict[str, Any]:
    return {"org_id": claimed.org_id, "task_id": claimed.task_id, "fence": claimed.fence}
