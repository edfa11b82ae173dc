"""How many deliveries an org may make, and how its destinations are; the rate is set by its admins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from engine.deliver.bucket import Rate
from engine.deliver.post import ORG
from engine.store import actions, destinations
from models.enums import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from core.db import Context, Database

MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """An org's own rate (None = the deployment's binds it), and its destinations by name."""

    rate: Rate | None
    destinations: Sequence[Row[Any]]


def show(database: Database, context: Context) -> Limits:
    """Return the context's org's limits."""
    with database.transaction(context) as connection:
        bucket = destinations.limit(connection, context.org_id, ORG)
        own = None if bucket is None or bucket.rate_per_minute is None else bucket
        rate = None if own is None else Rate.of(own.rate_per_minute, own.burst)
        return Limits(rate, destinations.listing(connection, context.org_id))


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
    return show(database, context)
