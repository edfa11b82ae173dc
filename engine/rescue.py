"""What keeps work moving when something died: expired leases, a broker that lost its messages, hourly upkeep."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

from core import clock
from core.db import ENGINE_ACTOR, RESERVED_ORG, Context, sqlstate
from core.ids import uuid7
from engine import partitions, upkeep
from engine.lease import Heartbeat, LostClaimError, owned
from engine.store import dispatch as store
from engine.store import tasks

if TYPE_CHECKING:
    from uuid import UUID

    from core.db import Database

logger = logging.getLogger(__name__)

BATCH: Final = 500
_TOO_LONG: Final = "57014"


def reap(database: Database) -> int:
    """Take expired leases from their dead owners; returns how many tasks were rescued or given up."""
    with database.transaction(None) as connection:
        rows = store.reap(connection, BATCH)
    for row in rows:
        logger.warning("task %s of org %s: its lease expired, now %s", row.task_id, row.org_id, row.state)
    return len(rows)


def hasten(database: Database, org_id: UUID, task_id: UUID, *, owner: str | None, tries: int = 3) -> str | None:
    """Rescue the task of a process that is known to be dead, without waiting for its lease or for its next message.

    `owner`: the process as leases name it; None if it had claimed nothing. Returns the state in which it was found;
    None if the task is somebody else's by now, or final.
    """
    for left in reversed(range(tries)):
        try:
            with database.transaction(Context(org_id, ENGINE_ACTOR)) as connection:
                return tasks.hasten(connection, org_id, task_id, owner=owner, now=clock.now(connection))
        except DBAPIError as error:
            # the server still executes what the dead process had sent: it holds the row for as long as it may take
            if not left or sqlstate(error) != _TOO_LONG:
                raise
    return None


def grace(database: Database) -> float:
    """Return for how many seconds nothing is to be reaped, since the database was out of reach a moment ago.

    To be asked each second: the first who asks after an outage notices it by the time since anybody did.
    """
    with database.transaction(None) as connection:
        return store.watch_leases(connection, gap=tasks.HEARTBEAT_SECONDS, rest=tasks.LEASE_SECONDS)


def adopt_epoch(database: Database, epoch: str) -> bool:
    """Compare the broker's epoch with the one known; True if it is another one: its messages are lost.

    Only one scheduler gets to change it, but each that asks in time is told, and all may requeue.
    """
    with database.transaction(None) as connection:
        known = store.broker_epoch(connection)
        if known == epoch:
            return False
        if store.swap_broker_epoch(connection, known, epoch):
            _announce(known, epoch)
    return True


def _announce(known: str, epoch: str) -> None:
    if known:
        logger.warning("the broker lost its messages (epoch %s, was %s): publishing again", epoch, known)
    else:
        logger.info("first seen broker, epoch %s", epoch)


def requeue_lost(database: Database) -> int:
    """Make one batch of lost tasks due again; call until it returns 0."""
    with database.transaction(None) as connection:
        return store.requeue_lost(connection, BATCH)


def enqueue_maintenance(database: Database) -> bool:
    """Enqueue this hour's maintenance unless another scheduler has."""
    with database.transaction(None) as connection:
        return store.enqueue_maintenance(connection, uuid7(clock.now(connection)))


def maintain(database: Database, task_id: UUID, *, worker: str) -> dict[str, Any] | None:
    """Do the hour's upkeep; returns what was done, None if there was nothing to claim or the claim was lost.

    The claim commits alone first: what follows is many transactions, and failures use up the task's attempts. But it is
    recorded in a partition, which nobody else makes.
    """
    partitions.make_due(database)
    context = Context(RESERVED_ORG, ENGINE_ACTOR)
    with database.transaction(context) as connection:
        claimed = tasks.claim(connection, RESERVED_ORG, task_id, worker=worker, now=clock.now(connection))
    if claimed is None:
        return None
    try:
        with Heartbeat(database, claimed) as heartbeat:
            result = upkeep.keep_up(database, heartbeat.check)
        with database.transaction(context) as connection:
            owned(tasks.finish(connection, claimed, "succeeded", now=clock.now(connection), result=result))
    except LostClaimError:
        return None
    return result
