"""Ticks of a chart's axes: round numbers, and local midnights or hours, few enough to be read."""

from __future__ import annotations

import math
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from engine.schedule.zones import gap_end, instants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import date
    from zoneinfo import ZoneInfo

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_TWO_AND_A_HALF: Final = _STEPS[2]
_NEARLY: Final = 1e-6
_HOURS: Final = (1, 2, 3, 6, 12)
_DAYS: Final = (1, 2, 3, 7, 14)
_MONTHS: Final = (1, 2, 3)
_DAYS_OF_MONTH: Final = 30.4
_SUFFIXES: Final = ((1e12, "T"), (1e9, "bn"), (1e6, "m"), (1e3, "k"))


def number_ticks(high: float, most: int) -> list[float]:
    """Return round numbers from 0 to at least `high` (above 0), at most `most` steps."""
    rough = high / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * base for base in _STEPS if power * base >= rough * (1 - 1e-9))
    return [step * position for position in range(math.ceil(high / step - 1e-9) + 1)]


def number_label(value: float, step: float) -> str:
    """Return a tick as people read it: 0.015, 2.5, 800, 25k; the ticks of one axis, `step` apart, are alike."""
    for size, suffix in _SUFFIXES:
        if step >= size and value:
            return f"{value / size:,.1f}".removesuffix(".0") + suffix
    leading = step / 10.0 ** math.floor(math.log10(step))
    digits = -math.floor(math.log10(step)) + (abs(leading - _TWO_AND_A_HALF) < _NEARLY)
    return f"{value:,.{max(0, digits)}f}"


def time_ticks(start: datetime, end: datetime, tz: ZoneInfo, most: int) -> list[tuple[datetime, str]]:
    """Return at most about `most` instants with labels: hours, midnights in the zone, or first days of months."""
    hours = (end - start) / timedelta(hours=1)
    step = next((step for step in _HOURS if hours / step <= most), None)
    if step is not None:
        return _hours(start, end, tz, step)
    local = start.astimezone(tz).date(), end.astimezone(tz).date()
    days = next((step for step in _DAYS if hours / 24 / step <= most), None)
    if days is None:
        months = next((step for step in _MONTHS if hours / 24 / _DAYS_OF_MONTH / step <= most), _MONTHS[-1])
        return _labelled(_firsts(*local, months), start, end, tz)
    every = range(0, (local[1] - local[0]).days + 1, days)
    return _labelled((local[0] + timedelta(days=step) for step in every), start, end, tz)


def _hours(start: datetime, end: datetime, tz: ZoneInfo, step: int) -> list[tuple[datetime, str]]:
    first = start.astimezone(tz).replace(minute=0, second=0, microsecond=0)
    walls = (first + timedelta(hours=hour) for hour in range(int((end - start) / timedelta(hours=1)) + 2))
    wanted = (wall for wall in walls if wall.hour % step == 0 and start <= wall <= end)
    return [(wall, f"{wall:%H:%M}" if wall.hour else _day_label(wall.date())) for wall in wanted]


def _firsts(first: date, last: date, months: int) -> Iterator[date]:
    """Yield the first days of every so many months."""
    month = first.year * 12 + first.month - (first.day == 1)
    while (day := first.replace(year=month // 12, month=month % 12 + 1, day=1)) <= last:
        yield day
        month += months


def _labelled(days: Iterable[date], start: datetime, end: datetime, tz: ZoneInfo) -> list[tuple[datetime, str]]:
    """Return the midnights at which days begin; the year is told where it is another than the one before."""
    ticks = []
    year = start.astimezone(tz).year
    for day in days:
        midnight = _midnight(day, tz)
        if start <= midnight <= end:
            ticks.append((midnight, _day_label(day) if day.year == year else f"{_day_label(day)} {day.year}"))
            year = day.year
    return ticks


def _midnight(day: date, tz: ZoneInfo) -> datetime:
    wall = datetime.combine(day, time())
    return next(iter(instants(wall, tz)), None) or gap_end(wall, tz)


def _day_label(day: date) -> str:
    return f"{day:%b} {day.day}"
