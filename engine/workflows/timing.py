"""Until when a delay waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from core.errors import PermanentError
from engine.rules.reading import shown
from engine.schedule.business import next_open
from engine.schedule.wall import HORIZON
from engine.workflows.resolving import resolved

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from engine.schedule.business import BusinessHours

_LATEST: Final = HORIZON.replace(tzinfo=UTC)


def wakes_at(
    config: Mapping[str, Any], values: Mapping[str, Any], *, now: datetime, tz: ZoneInfo, hours: BusinessHours
) -> datetime:
    """Return the UTC instant at which a delay is over: `now` (aware) where its time is past.

    It counts from `now`, or from `until` if there is one; `seconds` come on top, and with `business_hours` it goes on
    to the next time at which the org is open, by the clock of its zone. Raises PermanentError where `until` comes to
    no time, and where the delay would end after the year 2199.
    """
    start = now if config["until"] is None else moment(resolved(config["until"], values))
    try:
        found = max(now, start + timedelta(seconds=config["seconds"])).astimezone(UTC)
    except OverflowError:
        found = _LATEST
    if found >= _LATEST:
        raise PermanentError(f"the delay would end after the year {_LATEST.year - 1}: wait for less")
    return next_open(found, tz, hours) if config["business_hours"] else found


def moment(value: object) -> datetime:
    """Read a time with its offset, as ISO 8601 has it. Raises PermanentError."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None:
        raise PermanentError(f"until is {shown(value)}, which is no time: give it like 2026-03-01T09:00+01:00")
    if found.tzinfo is None:
        raise PermanentError(f"until is {shown(value)}, which has no offset: give it like 2026-03-01T09:00+01:00")
    return found
