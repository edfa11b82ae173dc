"""What our Python adds to a claim of due jobs: the store's function beside the same statement, sent bare by psycopg."""

from __future__ import annotations

import statistics
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from benchmarks.recording import recorded
from core.db import Database
from engine.dispatch import BATCH
from engine.store import dispatch as store

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.site import Site

_WARM: Final = 6
"""Claims before the clock runs: psycopg prepares a statement when it comes for the sixth time."""


class _Undo(Exception):  # noqa: N818 - no error: the way to leave a transaction without its changes
    """Rolls a transaction back."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """Jobs claimed per second through the store's function, and bare."""

    ours: float
    bare: float


def measure(site: Site, claims: int) -> Claimed:
    """Claim the batch that a scheduler claims, again and again, each time rolled back; both ways in turn."""
    url = site.urls.scheduler
    with (
        closing(Database(url, variable="SCHEDULER_DATABASE_URL", application="bench-claim", pool_size=1)) as database,
        psycopg.connect(url) as connection,
    ):
        statement, values = _recorded(database)

        def through_the_store() -> int:
            return _claim(database)

        def bare() -> int:
            return _claim_bare(connection, statement, values)

        ways = (through_the_store, bare)
        for way in ways * _WARM:
            way()
        seconds = [[_timed(way) for way in ways] for _ in range(claims)]
    ours, theirs = (statistics.median(column) for column in zip(*seconds, strict=True))
    return Claimed(1 / ours, 1 / theirs)


def _timed(way: Callable[[], int]) -> float:
    """Return the seconds that one claimed job took."""
    begun = time.perf_counter()
    jobs = way()
    return (time.perf_counter() - begun) / jobs


def _claim(database: Database) -> int:
    claimed = 0
    with suppress(_Undo), database.transaction(None) as connection:
        claimed = len(store.claim_due_jobs(connection, BATCH))
        raise _Undo
    return claimed


def _claim_bare(connection: psycopg.Connection, statement: str, values: Any) -> int:
    claimed = len(connection.execute(statement, values).fetchall())
    connection.rollback()
    return claimed


def _recorded(database: Database) -> tuple[str, Any]:
    """Return the claim's own statement and values, as they leave for the driver, so that both ways send the same."""
    sent: list[tuple[str, Any]] = []
    with suppress(_Undo), database.transaction(None) as connection:
        with recorded(lambda _, statement, values: sent.append((statement, values))):
            claimed = store.claim_due_jobs(connection, BATCH)
        if not claimed:
            raise ValueError("no job is due")
        raise _Undo
    [found] = sent
    return found
