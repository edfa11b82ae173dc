"""The naive wall times of a cron expression. The only importer of croniter, which reads the fields.

Stepping is ours: it costs a tenth of the library's, knows no zones, and ends at the horizon instead of 50 years ahead.
"""

from __future__ import annotations

import calendar
import functools
from bisect import bisect_left, bisect_right
from datetime import date, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from croniter import croniter

from engine.schedule import grammar
from engine.schedule.wall import HORIZON, Wall

if TYPE_CHECKING:
    from collections.abc import Iterator

_MONTHS: Final = 12
_WEEK: Final = 7
_ALL: Final = (range(60), range(24), range(1, 32), range(1, 13), range(7))
_LAST_DAY: Final = "l"


class Cron(NamedTuple):
    """A normalised, checked expression. Equal ones share their next times, whoever's they are."""

    expression: str
    follows_wall_clock: bool

    def after(self, wall: datetime) -> Iterator[Wall]:
        """Yield the wall times strictly after a naive one, up to the horizon."""
        times = _times(self.expression)
        first = wall.date()
        for day in _days(times, first):
            starts = day == first
            for hour in times.hours[bisect_left(times.hours, wall.hour) if starts else 0 :]:
                resumes = starts and hour == wall.hour
                for minute in times.minutes[bisect_right(times.minutes, wall.minute) if resumes else 0 :]:
                    yield Wall(datetime(day.year, day.month, day.day, hour, minute))  # noqa: DTZ001 - a wall time


@functools.lru_cache(maxsize=4096)
def read(expression: str) -> Cron:
    """Return the calendar of a checked expression, however it is spelled."""
    normalised = grammar.normalise(expression)
    return Cron(normalised, grammar.follows_wall_clock(normalised))


class _Times(NamedTuple):
    """What the fields name, ascending. Weekdays: 0 = Sunday."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    last_day: bool
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool
    """As cron does: day of month and day of week must both hold where either begins with `*`, else either is enough."""


@functools.lru_cache(maxsize=1024)
def _times(expression: str) -> _Times:
    fields: list[list[int | str]] = croniter.expand(expression)[0]
    minutes, hours, days, months, weekdays = map(_numbers, fields, _ALL)
    day_text, weekday_text = expression.split()[2::2]
    return _Times(
        minutes=minutes,
        hours=hours,
        days=frozenset(days),
        last_day=_LAST_DAY in fields[2],
        months=frozenset(months),
        weekdays=frozenset(weekdays),
        either=not (day_text.startswith("*") or weekday_text.startswith("*")),
    )


def _numbers(values: list[int | str], every: range) -> tuple[int, ...]:
    if "*" in values:
        return tuple(every)
    return tuple(sorted({value for value in values if isinstance(value, int)}))


def _days(times: _Times, first: date) -> Iterator[date]:
    """Yield the days that the expression names, from `first` on."""
    start = first.day
    for index in range(first.year * _MONTHS + first.month - 1, HORIZON.year * _MONTHS):
        year, month = index // _MONTHS, index % _MONTHS + 1
        if month in times.months:
            yield from _days_of(times, year, month, start)
        start = 1


def _days_of(times: _Times, year: int, month: int, start: int) -> Iterator[date]:
    weekday_of_first, last = calendar.monthrange(year, month)  # Monday is 0, so that adding a day's number gives ours
    for day in range(start, last + 1):
        by_day = day in times.days or (times.last_day and day == last)
        by_weekday = (weekday_of_first + day) % _WEEK in times.weekdays
        if (by_day or by_weekday) if times.either else (by_day and by_weekday):
            yield date(year, month, day)
