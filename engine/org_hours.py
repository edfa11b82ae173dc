"""When an org works: what delays of its workflows go by, set by its admins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.schedule.business import BusinessHours
from engine.store import orgs

if TYPE_CHECKING:
    from core.db import Context, Database


@dataclass(frozen=True, slots=True)
class Hours:
    """An org's business hours, by the clock of its zone; `own` = they are not the product's default."""

    hours: BusinessHours
    timezone: str
    own: bool


def show(database: Database, context: Context) -> Hours:
    """Return the hours of the context's org."""
    with database.transaction(context) as connection:
        row = orgs.get(connection, context.org_id)
    return Hours(BusinessHours.stored(row.business_hours), row.timezone, row.business_hours is not None)


def change(database: Database, context: Context, hours: BusinessHours | None) -> Hours:
    """Give the context's org hours of its own, or (None) the default again; for its admins only.

    A delay that waits already keeps the time that it was given.
    """
    with database.transaction(context) as connection:
        orgs.set_business_hours(connection, None if hours is None else hours.document())
    return show(database, context)
