"""The hour's upkeep: partitions ahead; what is done with deleted in batches; months older than is kept dropped.

Each batch and each month is a transaction of its own: dropping a month locks its table for as long as that goes on.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import DBAPIError

from core import clock
from core.db import ENGINE_ACTOR, RESERVED_ORG, Context, first_line, must_restart, sqlstate
from engine import partitions
from engine.store import maintenance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection

    from core.db import Database

logger = logging.getLogger(__name__)

BATCH: Final = 5_000
SECONDS: Final = 15.0
"""How long one kind of rows is deleted in one go; the next hour goes on."""
STEPS_SECONDS: Final = 190.0
"""When no further month is begun with: what its counting may take still ends before the task's time does, 300 s."""
_PURGES: Final[Mapping[str, Callable[[Connection, int], int]]] = {
    "purged": maintenance.purge_tasks,
    "forgotten": maintenance.forget_runs,
    "notifications": maintenance.purge_notifications,
    "events": maintenance.forget_events,
    "runs": maintenance.purge_instances,  # after the events, which name them
    "planned": maintenance.purge_occurrences,  # before their months, which follow them
}
_CONTEXT: Final = Context(RESERVED_ORG, ENGINE_ACTOR)
_TIMED_OUT: Final = "57014"


def keep_up(database: Database, check: Callable[[], None]) -> dict[str, Any]:
    """Do all of it and return what was done; `held` says which months are due, and why they stay.

    `check` is called before each transaction and raises if the upkeep is no longer this process's. What the database
    refuses keeps nothing else from being done; it is told, and the next hour tries again.
    """
    ends = clock.monotonic() + STEPS_SECONDS
    failed: dict[str, str] = {}
    result: dict[str, Any] = {"partitions": 0}
    with _noting(failed, "partitions"):
        made = partitions.make_all(database, check)
        result["partitions"] = made.count
        failed |= made.failed
    for name, purge in _PURGES.items():
        with _noting(failed, name):
            result[name] = _exhaust(database, purge, check)
    result["dropped"], result["held"] = _retire(database, check, ends, failed)
    return result | ({"failed": failed} if failed else {})


@contextmanager
def _noting(failed: dict[str, str], name: str) -> Iterator[None]:
    """Note what the database refuses and go on; what ends the connection, or is lost to others, ends the upkeep."""
    try:
        yield
    except DBAPIError as error:
        if must_restart(error):
            raise
        logger.exception("upkeep: %s failed", name)
        failed[name] = first_line(error)


def _exhaust(database: Database, purge: Callable[[Connection, int], int], check: Callable[[], None]) -> int:
    """Delete batch after batch, until one is not full or the time is up."""
    deleted, ends = 0, clock.monotonic() + SECONDS
    while True:
        check()
        with database.transaction(_CONTEXT) as connection:
            batch = purge(connection, BATCH)
        deleted += batch
        if batch < BATCH or clock.monotonic() > ends:
            return deleted


def _retire(
    database: Database, check: Callable[[], None], ends: float, failed: dict[str, str]
) -> tuple[list[str], list[str]]:
    """Drop the months that are due, table by table, the oldest first; (dropped, reasons of those that stay)."""
    dropped: list[str] = []
    held: list[str] = []
    for table in maintenance.MONTHLY:
        with _noting(failed, table):
            while clock.monotonic() < ends and (step := _step(database, table, check)):
                if step.outcome == "dropped":
                    dropped.append(step.partition)
                elif step.outcome != "watched":
                    held.append(f"{step.partition}: {step.reason}")
                    break
    for reason in held:
        logger.warning("a month that is due stays: %s", reason)
    return dropped, held


def _step(database: Database, table: str, check: Callable[[], None]) -> maintenance.Retired | None:
    check()
    try:
        with database.transaction(_CONTEXT) as connection:
            return maintenance.retire_partition(connection, table)
    except DBAPIError as error:
        if sqlstate(error) != _TIMED_OUT:
            raise
        return maintenance.Retired(table, "busy", "to count its rows took too long")
