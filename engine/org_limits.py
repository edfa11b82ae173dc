"""How much an org may have in hand: deliveries a minute, and tasks in flight in each queue; set by its admins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError
from engine.deliver.bucket import Rate
from engine.deliver.post import ORG
from engine.store import actions, destinations, publishing
from models.enums import Queue, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Row

    from core.db import Context, Database

MOST: Final = 1_000_000
DEFAULT: Final = "default"
_QUEUES: Final = [queue.value for queue in Queue]
_IN_FLIGHT: Final = "--in-flight"
_COUNTED: Final = 10_000
"""How far tasks in flight are counted where the org has no cap of its own."""


@dataclass(frozen=True, slots=True)
class QueueLimit:
    """One queue: what the org has in flight there, published or running, and its own cap (None = the deployment's)."""

    queue: str
    in_flight: int
    cap: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """An org's own rate (None = the deployment's binds it), its queues, and its destinations by name."""

    rate: Rate | None
    queues: Sequence[QueueLimit]
    destinations: Sequence[Row[Any]]


def show(database: Database, context: Context) -> Limits:
    """Return the context's org's limits."""
    with database.transaction(context) as connection:
        return _read(connection, context)


def change(database: Database, context: Context, rate: int | None, burst: int | None) -> Limits:
    """Give the org a rate of its own, deliveries a minute, or (None) the deployment's again. Raises InputError."""
    for name, value in (("--deliveries", rate), ("--burst", burst)):
        if value is not None and not 1 <= value <= MOST:
            raise InputError.of(name, f"must be a whole number from 1 to {MOST}", "give one")
    if burst is not None and rate is None:
        raise InputError.of("--burst", "belongs to a rate", "give --deliveries, too")
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.ADMIN)
        destinations.set_limit(connection, context.org_id, ORG, rate, burst)
        return _read(connection, context)


def change_caps(database: Database, context: Context, caps: Mapping[str, int | None]) -> Limits:
    """Give the org caps of its own on what is in flight, by queue; None = the deployment's again."""
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.ADMIN)
        for queue, cap in sorted(caps.items()):
            publishing.set_cap(connection, context.org_id, queue, cap)
        return _read(connection, context)


def parse_caps(given: Sequence[str]) -> dict[str, int | None]:
    """Read caps written as QUEUE=N or QUEUE=default. Raises InputError for what is none."""
    caps: dict[str, int | None] = {}
    for text in given:
        queue, _, number = text.partition("=")
        if queue not in _QUEUES:
            raise InputError.of(_IN_FLIGHT, f"knows no queue {queue[:40]!r}", f"name one of {', '.join(_QUEUES)}")
        if queue in caps:
            raise InputError.of(_IN_FLIGHT, f"was given twice for {queue}", "give it once for each queue")
        if number == DEFAULT:
            caps[queue] = None
        elif number.isascii() and number.isdigit() and 1 <= int(number[:10]) <= MOST:
            caps[queue] = int(number)
        else:
            raise InputError.of(
                _IN_FLIGHT,
                f"takes QUEUE=N, N a whole number from 1 to {MOST}, not {text[:60]!r}",
                f"write {queue}=50, or {queue}={DEFAULT}",
            )
    return caps


def no_caps() -> dict[str, int | None]:
    """Return what gives every queue the deployment's cap again."""
    return dict.fromkeys(_QUEUES)


def _read(connection: Connection, context: Context) -> Limits:
    bucket = destinations.limit(connection, context.org_id, ORG)
    own = None if bucket is None or bucket.rate_per_minute is None else bucket
    rate = None if own is None else Rate.of(own.rate_per_minute, own.burst)
    caps = publishing.caps(connection, context.org_id)
    queues = [_queue(connection, context, queue, caps.get(queue)) for queue in _QUEUES]
    return Limits(rate, queues, destinations.listing(connection, context.org_id))


def _queue(connection: Connection, context: Context, queue: str, cap: int | None) -> QueueLimit:
    found = publishing.standing(connection, context.org_id, queue, default=_COUNTED)
    return QueueLimit(queue, found.in_flight, cap)
