"""The org's own list of notifications, and what its people have read. One read mark is the whole org's."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from core import clock
from core.errors import NotFoundError, Problem
from engine.schedule.zones import gap_end, instants, local_day, zone
from engine.store import notifications as store
from engine.store import orgs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date
    from uuid import UUID
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection, Row

    from core.db import Context, Database


def digest(
    connection: Connection, context: Context, *, since: datetime, unread: bool, limit: int
) -> Sequence[Row[Any]]:
    """Return the list newest first, a line for what one place of a rule told on one day of the org's zone."""
    days = _days(connection, context.org_id, since, clock.now(connection))
    return store.digests(connection, context.org_id, since=since, days=days, unread=unread, limit=limit)


def mark_read(database: Database, context: Context, ids: Sequence[UUID], *, each: bool) -> int:
    """Mark notifications as read by the context's user, each with its digest or, with `each`, alone; returns how many.

    What was read before keeps its reader. Raises NotFoundError with every id that is not there; then none is marked.
    """
    with database.transaction(context) as connection:
        made = _require(connection, context.org_id, ids)
        user_id, now = context.user_id, clock.now(connection)
        if each or not made:
            return store.read(connection, context.org_id, ids, user_id=user_id, now=now)
        days = _days(connection, context.org_id, min(made), max(made))
        return store.read_digests(connection, context.org_id, ids, days=days, user_id=user_id, now=now)


def mark_all_read(database: Database, context: Context) -> int:
    """Mark everything that is there as read by the context's user; returns how many were not."""
    with database.transaction(context) as connection:
        now = clock.now(connection)
        return store.read_all(connection, context.org_id, user_id=context.user_id, now=now)


def _require(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> Sequence[datetime]:
    """Return when the notifications of these ids were made; raises NotFoundError with every id that is not there."""
    known = store.known(connection, org_id, ids)
    remedy = "see `cmis notifications list`"
    missing = [Problem("ID", f"there is no notification {one} in this org", remedy) for one in ids if one not in known]
    if missing:
        raise NotFoundError(missing)
    return list(known.values())


def _days(connection: Connection, org_id: UUID, since: datetime, until: datetime) -> store.Days:
    """Return when each of the org's days begins, from that of `since` to that of `until`."""
    tz = zone(orgs.get(connection, org_id).timezone)
    first, last = local_day(since, tz), local_day(until, tz)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return {day: _beginning(day, tz) for day in days}


def _beginning(day: date, tz: ZoneInfo) -> datetime:
    midnight = datetime.combine(day, time())
    found = instants(midnight, tz)
    return found[0] if found else gap_end(midnight, tz)
