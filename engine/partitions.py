"""Partitions ahead of time: each month of each table in a transaction of its own, which waits for no lock for long."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError

from core.db import first_line, must_restart, sqlstate
from engine.store import maintenance

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.db import Database

logger = logging.getLogger(__name__)

_DUE: Final = range(2)
_IN_USE: Final = "55P03"


@dataclass(slots=True)
class Made:
    """How many partitions were made, and what kept which others from it."""

    count: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def make_due(database: Database) -> Made:
    """Make what is missing of the present month and the next: without it nothing is claimed, decided or recorded.

    The hour's upkeep makes them months before. To be asked by whoever needs no partition for it.
    """
    with database.transaction(None) as connection:
        missing = maintenance.missing_partitions(connection)
    return _make(database, [one for one in missing if one.ahead in _DUE], _nothing)


def make_all(database: Database, check: Callable[[], None]) -> Made:
    """Make what is missing from two months back to three ahead; `check` is called before each and may raise."""
    with database.transaction(None) as connection:
        missing = maintenance.missing_partitions(connection)
    return _make(database, missing, check)


def _make(database: Database, missing: list[maintenance.Missing], check: Callable[[], None]) -> Made:
    """Make one after the other. Where a table is in use its other months are left: each try makes its users wait."""
    made, in_use = Made(), set[str]()
    for one in missing:
        if one.relation in in_use:
            continue
        check()
        try:
            with database.transaction(None) as connection:
                made.count += maintenance.add_partition(connection, one)
        except DBAPIError as error:
            if must_restart(error):
                raise
            made.failed[one.partition] = first_line(error)
            logger.warning("partition %s is not made: %s", one.partition, made.failed[one.partition])
            if sqlstate(error) == _IN_USE:
                in_use.add(one.relation)
    return made


def _nothing() -> None:
    """Check nothing."""
