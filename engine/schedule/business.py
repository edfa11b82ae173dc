"""Business hours: on which days of the week, and from when to when by the clock of its zone, an org works.

A day has one stretch of time, from its opening to its closing, the closing not included; a day without one is closed.
Nights are not spanned: 22:00 to 06:00 is written as two days' hours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, Self

from core.errors import InputError
from engine.schedule import zones

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

FIELD: Final = "business_hours"
DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
EXAMPLE: Final = "mon-fri 09:00-17:00, sat 10:00-14:00"
_DAY_MINUTES: Final = 24 * 60
_LONGEST: Final = 500
_SHOWN: Final = 60
_PART: Final = re.compile(r"([a-z]{3})(?:\s*-\s*([a-z]{3}))?\s+([0-9:]{4,5})\s*-\s*([0-9:]{4,5})")
_TIME: Final = re.compile(r"([01]?[0-9]|2[0-4]):([0-5][0-9])")


class Span(NamedTuple):
    """When a day is worked on: minutes after midnight, `closes` (1,440 at most) not included."""

    opens: int
    closes: int

    def __str__(self) -> str:
        return f"{_clock(self.opens)}-{_clock(self.closes)}"


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """The hours of each day of the week, 0 = Sunday; None = closed. At least one day is open."""

    days: tuple[Span | None, ...]

    DEFAULT: ClassVar[BusinessHours]
    """Monday to Friday, 09:00 to 17:00."""

    @classmethod
    def stored(cls, document: Mapping[str, str] | None) -> Self:
        """Return the hours of a column; None = DEFAULT."""
        if document is None:
            return cls(cls.DEFAULT.days)
        return cls(tuple(_span(document[day]) if day in document else None for day in DAYS))

    def document(self) -> dict[str, str]:
        """Return what is stored: `{"mon": "09:00-17:00", …}`, without the days that are closed."""
        return {day: str(span) for day, span in zip(DAYS, self.days, strict=True) if span is not None}

    def __str__(self) -> str:
        """Write them as `parse` reads them, the week from Monday on."""
        week = [*range(1, 7), 0]
        runs: list[list[int]] = []
        for day in week:
            if runs and self.days[runs[-1][-1]] == self.days[day]:
                runs[-1].append(day)
            else:
                runs.append([day])
        return ", ".join(f"{_named(run)} {self.days[run[0]]}" for run in runs if self.days[run[0]] is not None)

    def first_open(self, wall: datetime) -> datetime:
        """Return the first naive wall time from `wall` on that is open, `wall` itself if it is."""
        for ahead in range(len(DAYS) + 1):
            midnight = datetime.combine(wall.date() + timedelta(days=ahead), time())
            span = self.days[midnight.isoweekday() % len(DAYS)]
            if span is None:
                continue
            opens, closes = (midnight + timedelta(minutes=minutes) for minutes in span)
            if wall < closes:
                return max(wall, opens)
        raise ValueError("business hours without an open day")


BusinessHours.DEFAULT = BusinessHours((None, *[Span(9 * 60, 17 * 60)] * 5, None))


def parse(text: str, field: str = FIELD) -> BusinessHours:
    """Read hours as people write them: `mon-fri 09:00-17:00, sat 10:00-14:00`. Days that are not named are closed.

    Raises InputError with every part that is wrong.
    """
    if len(text) > _LONGEST:
        raise InputError.of(field, f"has {len(text)} characters", f"write it shorter, like {EXAMPLE!r}")
    problems: list[InputError] = []
    days: list[Span | None] = [None] * len(DAYS)
    for part in text.casefold().split(","):
        try:
            named, span = _part(part.strip(), field)
            if taken := [DAYS[day] for day in named if days[day] is not None]:
                raise InputError.of(
                    field, f"{', '.join(taken)} is given twice", "give a day once: it has one stretch of time"
                )
        except InputError as error:
            problems.append(error)
            continue
        for day in named:
            days[day] = span
    if problems:
        raise InputError([problem for error in problems for problem in error.problems])
    return BusinessHours(tuple(days))


def next_open(instant: datetime, tz: ZoneInfo, hours: BusinessHours) -> datetime:
    """Return the first UTC instant from an aware one on at which the zone's clock shows an open time."""
    at = instant.astimezone(UTC)
    while True:
        wall = zones.wall_of(at, tz)
        found = at + (hours.first_open(wall) - wall)
        # Where the clock changes on the way there, what it shows then is looked at anew.
        change = zones.next_change(at, found, tz)
        if change is None:
            return found
        at = change


def _part(part: str, field: str) -> tuple[list[int], Span]:
    """Read `mon-fri 09:00-17:00`."""
    read = _PART.fullmatch(part)
    if read is None or not {read[1], read[2] or read[1]} <= {*DAYS}:
        shown = repr(part[:_SHOWN])
        raise InputError.of(field, f"{shown} is no day, or days, with hours", f"write them like {EXAMPLE!r}")
    if not all(_TIME.fullmatch(clock) and _minutes(clock) <= _DAY_MINUTES for clock in (read[3], read[4])):
        raise InputError.of(field, f"{read[3]}-{read[4]} are no times of day", "write HH:MM, 00:00 to 24:00")
    span = Span(_minutes(read[3]), _minutes(read[4]))
    if span.opens >= span.closes:
        remedy = "give a closing time after the opening; split what spans midnight: 'mon 22:00-24:00, tue 00:00-06:00'"
        raise InputError.of(field, f"{span} ends before it begins", remedy)
    first, last = DAYS.index(read[1]), DAYS.index(read[2] or read[1])
    return [(first + ahead) % len(DAYS) for ahead in range((last - first) % len(DAYS) + 1)], span


def _span(text: str) -> Span:
    opens, closes = text.split("-")
    return Span(_minutes(opens), _minutes(closes))


def _minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _named(run: list[int]) -> str:
    return DAYS[run[0]] if len(run) == 1 else f"{DAYS[run[0]]}-{DAYS[run[-1]]}"
