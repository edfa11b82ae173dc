"""What the scheduler's role may do: call the functions of `cmis` that find, record, publish and rescue. Nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text, Uuid

from core import driver
from engine.store.claimed import ClaimedJob
from engine.store.statements import with_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

JOB_MOVED: Final = "CM001"
"""SQLSTATE of `cmis.record_dispatch`: a job is not in the state any more in which it was claimed."""
BUFFER_GONE: Final = "CM002"
"""SQLSTATE of the same: the occurrence that a job has buffered is not in the ledger."""

_CLAIM = text("SELECT * FROM cmis.claim_due_jobs(:limit)")
_CLAIM_SHARES = text("SELECT * FROM cmis.claim_due_jobs(:limit, :orgs, :share, :cap)").bindparams(
    bindparam("orgs", type_=ARRAY(Uuid()))
)
_UNFINISHED = text("SELECT cmis.unfinished_tasks(:bound, :share)")
_IS_ANYTHING_DUE = text("SELECT cmis.is_anything_due()")
_DUE_ORGS = text("SELECT org_id FROM cmis.due_orgs(:limit)")
_RECORD = with_rows(
    "SELECT cmis.record_dispatch(:now, :rows, :moved, :occurrences, :tasks, :released, :cancelled)",
    "moved",
    "occurrences",
    "tasks",
    "released",
    "cancelled",
)
_UNTIL_DUE = text("SELECT cmis.seconds_until_due(:queues)").bindparams(bindparam("queues", type_=ARRAY(Text())))
_PUBLISH_FAILED = with_rows("SELECT cmis.publish_failed(CAST(:rows AS jsonb))")
_EPOCH = text("SELECT cmis.broker_epoch()")
_SWAP_EPOCH = text("SELECT cmis.swap_broker_epoch(:old, :new)")
_REQUEUE_LOST = text("SELECT cmis.requeue_lost(:limit)")
_REAP = text("SELECT org_id, task_id, state FROM cmis.reap(:limit)")
_WATCH_LEASES = text("SELECT cmis.watch_leases(make_interval(secs => :gap), make_interval(secs => :rest))")
_MAINTENANCE = text("SELECT cmis.enqueue_maintenance(:task_id)")


@dataclass(frozen=True, slots=True)
class Message:
    """What must be sent to the broker for one task."""

    org_id: UUID
    task_id: UUID
    kind: str
    queue: str
    priority: int
    timeout_seconds: int


def is_anything_due(connection: Connection) -> bool:
    """Say whether a job is due, or due for review; another scheduler may hold it."""
    [(due,)] = driver.rows(connection, _IS_ANYTHING_DUE, {})
    return bool(due)


def claim_due_jobs(connection: Connection, limit: int) -> list[ClaimedJob]:
    """Lock up to `limit` due jobs, longest due first, skipping those that another scheduler holds."""
    return [ClaimedJob._make(row) for row in driver.rows(connection, _CLAIM, {"limit": limit})]


def claim_shares(connection: Connection, limit: int, orgs: Sequence[UUID], *, share: int, cap: int) -> list[ClaimedJob]:
    """Lock up to `share` due jobs of each of these orgs, and up to `limit` that are due for review.

    An org that has `cap` unfinished tasks of due jobs gives none.
    """
    values = {"limit": limit, "orgs": list(orgs), "share": share, "cap": cap}
    return [ClaimedJob._make(row) for row in driver.rows(connection, _CLAIM_SHARES, values)]


def unfinished_tasks(connection: Connection, bound: int, share: int) -> int:
    """Return how many tasks that due jobs made are ready to run or running; others are none of theirs.

    Of each org up to `share` count, and counting ends at `bound` or beyond.
    """
    [(count,)] = driver.rows(connection, _UNFINISHED, {"bound": bound, "share": share})
    return int(count)


def due_orgs(connection: Connection, limit: int) -> list[UUID]:
    """Return the orgs that have due jobs, longest due first."""
    return [row.org_id for row in driver.rows(connection, _DUE_ORGS, {"limit": limit})]


def record(
    connection: Connection,
    *,
    now: datetime,
    jobs: Sequence[Mapping[str, Any]],
    occurrences: Sequence[Mapping[str, Any]],
    tasks: Sequence[Mapping[str, Any]],
    released: Sequence[Mapping[str, Any]] = (),
    cancelled: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Advance the claimed jobs and insert their occurrences and tasks; refused with JOB_MOVED or BUFFER_GONE.

    `released`: buffered times that run now, or never. `cancelled`: of which jobs open runs are to be cancelled.
    """
    rows = {
        "rows": [job for job in jobs if job["status"] == job["was"]],
        "moved": [job for job in jobs if job["status"] != job["was"]],
        "occurrences": occurrences,
        "tasks": tasks,
        "released": released,
        "cancelled": cancelled,
    }
    driver.rows(connection, _RECORD, rows | {"now": now})


def seconds_until_due(connection: Connection, queues: Sequence[str]) -> float | None:
    """Return how long no job and no message of these queues falls due; None if none is known to."""
    [(seconds,)] = driver.rows(connection, _UNTIL_DUE, {"queues": list(queues)})
    return None if seconds is None else float(seconds)


def publish_failed(connection: Connection, messages: Sequence[Message]) -> None:
    """Make tasks due again at once whose messages the broker did not take."""
    rows = [{"org_id": message.org_id, "task_id": message.task_id} for message in messages]
    connection.execute(_PUBLISH_FAILED, {"rows": rows})


def broker_epoch(connection: Connection) -> str:
    """Return the epoch that the broker held when it was last looked at; empty if it never was."""
    epoch: str = connection.execute(_EPOCH).scalar_one()
    return epoch


def swap_broker_epoch(connection: Connection, old: str, new: str) -> bool:
    """Replace the epoch if it still is `old`; True for the one scheduler that noticed first."""
    won: bool = connection.execute(_SWAP_EPOCH, {"old": old, "new": new}).scalar_one()
    return won


def requeue_lost(connection: Connection, limit: int) -> int:
    """Make due again what was published before the broker was lost; returns how many, at most `limit`."""
    requeued: int = connection.execute(_REQUEUE_LOST, {"limit": limit}).scalar_one()
    return requeued


def reap(connection: Connection, limit: int) -> Sequence[Row[Any]]:
    """Take expired leases from their owners: the tasks are ready again, dead or cancelled, and audited."""
    return connection.execute(_REAP, {"limit": limit}).all()


def watch_leases(connection: Connection, *, gap: float, rest: float) -> float:
    """Note that somebody looks for expired leases, and return for how many seconds none may be taken from its owner.

    That is `rest` seconds from the first look on after nobody could look for more than `gap` seconds.
    """
    seconds: float = connection.execute(_WATCH_LEASES, {"gap": gap, "rest": rest}).scalar_one()
    return seconds


def enqueue_maintenance(connection: Connection, task_id: UUID) -> bool:
    """Enqueue this hour's maintenance task unless it is there; returns whether it was this call."""
    made: bool = connection.execute(_MAINTENANCE, {"task_id": task_id}).scalar_one()
    return made
