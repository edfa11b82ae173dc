"""Calendars: the naive local wall times that a definition names, free of zones and their changes of clocks.

The only importer of croniter, which is given naive times alone: on aware ones it differs from cron where clocks change.
"""

from __future__ import annotations

import calendar
import copy
import functools
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from croniter import CroniterBadDateError, croniter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.schedule.definition import DayOfMonth

HORIZON: Final = datetime(2200, 1, 1)  # noqa: DTZ001 - a wall time has no zone
"""No planned time lies beyond it, so that every search ends."""

_WEEK: Final = timedelta(days=7)
_MONTHS: Final = 12


class Wall(NamedTuple):
    """One wall time; `month_end`: it stands for a day that its month does not have."""

    at: datetime
    month_end: bool = False


def cron(expression: str, after: datetime) -> Iterator[Wall]:
    """Yield the wall times of a normalised, checked expression strictly after `after` (naive), up to the horizon."""
    walls = copy.copy(_template(expression))  # parsing costs more than a step; an iterator holds its own position
    walls.set_current(after.replace(microsecond=0))
    while after < HORIZON:
        try:
            after = walls.get_next(datetime)
        except CroniterBadDateError:  # nothing in the next 50 years: it never fires again
            return
        yield Wall(after)


@functools.lru_cache(maxsize=4096)
def _template(expression: str) -> croniter:
    # As cron does: day of month and day of week both hold where either begins with `*`, else either is enough.
    return croniter(expression, HORIZON, implement_cron_bug=True)


def daily(anchor: date, interval: int, at: time, after: datetime) -> Iterator[Wall]:
    """Yield `at` on every `interval`-th day counted from the anchor's, strictly after `after`."""
    day = after.date() - timedelta(days=(after.date() - anchor).days % interval)
    while datetime.combine(day, at) < HORIZON:
        if (wall := datetime.combine(day, at)) > after:
            yield Wall(wall)
        day += timedelta(days=interval)


def weekly(anchor: date, interval: int, days: tuple[int, ...], at: time, after: datetime) -> Iterator[Wall]:
    """Yield `at` on the days (0 = Sunday) of every `interval`-th week (from Monday) counted from the anchor's."""
    offsets = sorted((day - 1) % 7 for day in days)
    first = _monday(after.date())
    monday = first - _WEEK * (((first - _monday(anchor)) // _WEEK) % interval)
    while datetime.combine(monday, at) < HORIZON:
        walls = (datetime.combine(monday + timedelta(days=offset), at) for offset in offsets)
        yield from (Wall(wall) for wall in walls if wall > after)
        monday += _WEEK * interval


def monthly(anchor: date, interval: int, day: DayOfMonth, at: time, after: datetime) -> Iterator[Wall]:
    """Yield `at` on the day of every `interval`-th month counted from the anchor's; a missing day is the last one."""
    first = _month_index(after.date())
    index = first - (first - _month_index(anchor)) % interval
    while datetime(index // _MONTHS, index % _MONTHS + 1, 1) < HORIZON:  # noqa: DTZ001 - a wall time has no zone
        wall = _in_month(index, day, at)
        if wall.at > after:
            yield wall
        index += interval


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _month_index(day: date) -> int:
    return day.year * _MONTHS + day.month - 1


def _in_month(index: int, day: DayOfMonth, at: time) -> Wall:
    year, month = index // _MONTHS, index % _MONTHS + 1
    last = calendar.monthrange(year, month)[1]
    wanted = last if day == "last" else day
    return Wall(datetime.combine(date(year, month, min(wanted, last)), at), month_end=wanted > last)
