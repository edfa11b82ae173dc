"""Calendars: the naive local wall times that a definition names, free of zones and changes of clocks.

A calendar holds of its job's anchor only where in the interval it stands (`phase`; 0 for an interval of 1), so that
jobs of one rhythm are equal and share their next times.
"""

from __future__ import annotations

import calendar
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.schedule import crons, zones
from engine.schedule.wall import HORIZON, Wall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.schedule.definition import DayOfMonth, Schedule

_WEEK: Final = timedelta(days=7)
_DAYS: Final = 7
_MONTHS: Final = 12


class Daily(NamedTuple):
    """A time of day on every `interval`-th day."""

    interval: int
    phase: int
    at: time

    def after(self, wall: datetime) -> Iterator[Wall]:
        """Yield the wall times strictly after a naive one, up to the horizon."""
        day = wall.date()
        day -= timedelta(days=(day.toordinal() - self.phase) % self.interval)
        while (found := datetime.combine(day, self.at)) < HORIZON:
            if found > wall:
                yield Wall(found)
            day += timedelta(days=self.interval)


class Weekly(NamedTuple):
    """A time of day on some days (0 = Sunday) of every `interval`-th week; weeks start on Monday."""

    interval: int
    phase: int
    at: time
    days: tuple[int, ...]

    def after(self, wall: datetime) -> Iterator[Wall]:
        """Yield the wall times strictly after a naive one, up to the horizon."""
        offsets = sorted((day - 1) % _DAYS for day in self.days)
        day = wall.date()
        monday = day - timedelta(days=day.weekday()) - _WEEK * ((_week(day) - self.phase) % self.interval)
        while datetime.combine(monday, self.at) < HORIZON:
            walls = (datetime.combine(monday + timedelta(days=offset), self.at) for offset in offsets)
            yield from (Wall(found) for found in walls if found > wall)
            monday += _WEEK * self.interval


class Monthly(NamedTuple):
    """A time of day on one day of every `interval`-th month; where the month lacks the day, on its last."""

    interval: int
    phase: int
    at: time
    day: DayOfMonth

    def after(self, wall: datetime) -> Iterator[Wall]:
        """Yield the wall times strictly after a naive one, up to the horizon."""
        index = _month(wall)
        index -= (index - self.phase) % self.interval
        while index < HORIZON.year * _MONTHS:
            found = self._in_month(index)
            if found.at > wall:
                yield found
            index += self.interval

    def _in_month(self, index: int) -> Wall:
        year, month = index // _MONTHS, index % _MONTHS + 1
        last = calendar.monthrange(year, month)[1]
        wanted = last if self.day == "last" else self.day
        return Wall(datetime.combine(date(year, month, min(wanted, last)), self.at), month_end=wanted > last)


Calendar = Daily | Weekly | Monthly | crons.Cron


def of(schedule: Schedule) -> Calendar:
    """Return the calendar of a cron or of a recurrence with a time of day; ValueError where a field is missing."""
    if schedule.schedule_type == "cron":
        if schedule.cron_expression is None:
            raise ValueError("a cron schedule needs cron_expression")
        return crons.read(schedule.cron_expression)
    interval, at = schedule.interval, schedule.time_of_day
    if at is None:
        raise ValueError(f"a {schedule.frequency} schedule needs time_of_day")
    phase = 0 if interval == 1 else _phase(schedule)
    if schedule.frequency == "daily":
        return Daily(interval, phase, at)
    if schedule.frequency == "weekly" and schedule.days_of_week:
        return Weekly(interval, phase, at, schedule.days_of_week)
    if schedule.frequency == "monthly" and schedule.day_of_month is not None:
        return Monthly(interval, phase, at, schedule.day_of_month)
    raise ValueError(f"a {schedule.frequency} schedule needs its days")


def _phase(schedule: Schedule) -> int:
    anchor = zones.local_day(schedule.anchor, zones.zone(schedule.timezone))
    counted = {"weekly": _week, "monthly": _month}.get(schedule.frequency or "", date.toordinal)
    return counted(anchor) % schedule.interval


def _week(day: date) -> int:
    return (day.toordinal() - 1) // _DAYS  # the first day of the calendar is a Monday


def _month(day: date) -> int:
    return day.year * _MONTHS + day.month - 1
