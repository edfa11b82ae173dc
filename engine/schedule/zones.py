"""Time zones: names to rules, and local wall times to instants through gaps and folds of any size.

The rules come from the pinned package `tzdata` and never from the operating system, whose files differ from it in some
zones. They are read from the package directly rather than by `zoneinfo.reset_tzpath`: no process-wide state decides
what a schedule means, and a process started without `PYTHONTZPATH=""` computes the same times.
"""

from __future__ import annotations

import difflib
import functools
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
_LONGEST = 64


@functools.cache
def names() -> frozenset[str]:
    """Return every IANA zone name of the pinned tzdata."""
    return frozenset((resources.files("tzdata") / "zones").read_text(encoding="utf-8").split())


@functools.cache
def _load(name: str) -> ZoneInfo:
    with (resources.files("tzdata") / "zoneinfo").joinpath(*name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name, spelled exactly; raise InputError on the field `timezone` if there is none."""
    if name not in names():
        raise InputError.of("timezone", f"unknown time zone {name[:_LONGEST]!r}", _remedy(name))
    return _load(name)


def _remedy(name: str) -> str:
    by_folded = {known.casefold(): known for known in names()}
    close = difflib.get_close_matches(name.casefold()[:_LONGEST], by_folded, n=1)
    meant = f"did you mean {by_folded[close[0]]!r}? " if close else ""
    return f"{meant}use an IANA name such as 'Europe/Berlin' or 'UTC'"


def local_day(now: datetime, tz: ZoneInfo) -> date:
    """Return the calendar day that the instant `now` (aware) falls on in the zone."""
    return now.astimezone(tz).date()


def wall_of(instant: datetime, tz: ZoneInfo) -> datetime:
    """Return what a wall clock in the zone shows at an instant, as a naive datetime."""
    return instant.astimezone(tz).replace(tzinfo=None, fold=0)


def instants(wall: datetime, tz: ZoneInfo) -> tuple[datetime, ...]:
    """Return the UTC instants at which the zone's clock shows `wall`: none in a gap, two in a fold, ascending."""
    aware = wall.replace(tzinfo=tz, fold=0)
    offset = aware.utcoffset()
    if offset is not None and offset == aware.replace(fold=1).utcoffset():  # no change of clocks: nearly always
        return ((wall - offset).replace(tzinfo=UTC),)
    first, second = _readings(wall, tz)
    return tuple(reading for reading in (first, second) if first < second and wall_of(reading, tz) == wall)


def gap_end(wall: datetime, tz: ZoneInfo) -> datetime:
    """Return the first UTC instant after the gap that contains `wall` (naive)."""
    # PEP 495: in a gap fold=0 reads with the offset before it (an instant after the jump), fold=1 the other way round.
    after, before = _readings(wall, tz)
    return _first(before, after, lambda instant: wall_of(instant, tz) > wall)


def fold_turn(instant: datetime, tz: ZoneInfo) -> datetime | None:
    """Return when the clock goes back over the wall time shown at `instant`, or None if it will not show it again."""
    local = instant.astimezone(tz)
    again = local.replace(fold=1)
    offset = again.utcoffset()
    # What the clock shows lies in no gap: its readings differ in a fold alone, and this one is not the second already.
    if offset == local.utcoffset():
        return None
    return _first(instant, again.astimezone(UTC), lambda moment: moment.astimezone(tz).utcoffset() == offset)


def next_change(start: datetime, end: datetime, tz: ZoneInfo) -> datetime | None:
    """Return the first UTC instant after `start`, `end` at the latest, at which the zone's offset changes."""
    offset, before = start.astimezone(tz).utcoffset(), start
    while before < end:
        after = min(before + _HOUR, end)  # no zone changes its clocks twice within an hour
        if after.astimezone(tz).utcoffset() != offset:
            return _first(before, after, lambda moment: moment.astimezone(tz).utcoffset() != offset)
        before = after
    return None


def _readings(wall: datetime, tz: ZoneInfo) -> tuple[datetime, datetime]:
    """Read a wall time with the offset before and with the offset after a change of clocks near it."""
    aware = wall.replace(tzinfo=tz, fold=0)
    return aware.astimezone(UTC), aware.replace(fold=1).astimezone(UTC)


def _first(low: datetime, high: datetime, changed: Callable[[datetime], bool]) -> datetime:
    """Bisect to the second: `changed` is false at `low`, true at `high`. Clocks change on whole seconds of UTC."""
    # Cut both to the second first: with a fraction left the middle could stay at `low` for ever.
    low, high = low.replace(microsecond=0), high.replace(microsecond=0)
    while high - low > _SECOND:
        middle = low + ((high - low) / 2 // _SECOND) * _SECOND
        low, high = (low, middle) if changed(middle) else (middle, high)
    return high
