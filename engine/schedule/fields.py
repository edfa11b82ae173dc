"""Readers of a schedule's single fields: each returns the typed value, or None and one more problem in the list."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Final, Literal, TypeGuard, TypeVar

from core.errors import InputError, Problem
from engine.schedule import grammar, zones
from engine.schedule.wall import HORIZON

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from engine.schedule.definition import DayOfMonth

Word = TypeVar("Word", bound=str)

MAX_INTERVAL: Final = 10_000
_LAST_WEEKDAY: Final = 6
_LONGEST_MONTH: Final = 31
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = HORIZON.replace(tzinfo=UTC)
_TIME_WIDTH: Final = {1: len("HH:MM"), 2: len("HH:MM:SS")}
_MAX_SHOWN: Final = 60
_MAX_BITS: Final = 100
_MAX_ITEMS: Final = 10
_TIME: Final = re.compile(r"(?:[01]?[0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?")


class Fields:
    """A document being read; `problems` gathers what is wrong, each with its field and remedy."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self._document = {name: value for name, value in document.items() if value is not None}
        self.problems: list[Problem] = []

    @property
    def given(self) -> frozenset[str]:
        """The names that have a value; null is none."""
        return frozenset(self._document)

    def refuse(self, name: str, message: str, remedy: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(name, message, remedy))

    def refuse_unknown(self, known: frozenset[str], offered: frozenset[str] | None = None) -> None:
        """Refuse every name that is not known; `offered`: what the remedy names, if others may be given elsewhere."""
        for name in sorted(self.given - known, key=str):
            field = name if isinstance(name, str) and name.isprintable() else repr(name)
            self.refuse(field[:_MAX_SHOWN], "is no field of a schedule", f"use {', '.join(sorted(offered or known))}")

    def word(self, name: str, words: tuple[Word, ...]) -> Word | None:
        """Read one of a closed set of words."""
        value = self._document.get(name)
        found = next((word for word in words if word == value), None)
        if found is None and value is not None:
            self.refuse(name, f"{_shown(value)} is not known", f"use one of {', '.join(words)}")
        return found

    def zone(self) -> ZoneInfo | None:
        """Read `timezone`; UTC where there is none."""
        name = self._document.get("timezone", "UTC")
        try:
            return zones.zone(name if isinstance(name, str) else _shown(name))
        except InputError as error:
            self.problems.extend(error.problems)
            return None

    def number(self, name: str, low: int, high: int) -> int | None:
        """Read a whole number from `low` to `high`."""
        value = self._document.get(name)
        if value is None or (_is_int(value) and low <= value <= high):
            return value
        self.refuse(name, f"{_shown(value)} is no whole number from {low} to {high}", "use one of these")
        return None

    def interval(self) -> int:
        """Read `interval`, every how many hours, days, weeks or months; 1 where there is none."""
        value = self._document.get("interval", 1)
        if _is_int(value) and 1 <= value <= MAX_INTERVAL:
            return value
        self.refuse("interval", f"{_shown(value)} is no whole number from 1 to {MAX_INTERVAL}", "use 1 for every time")
        return 1

    def time_of_day(self) -> time | None:
        """Read `time_of_day`: `HH:MM` or `HH:MM:SS`, or a naive time of whole seconds."""
        value = self._document.get("time_of_day")
        if isinstance(value, time) and value.tzinfo is None and value.microsecond == 0:
            return value
        if isinstance(value, str) and _TIME.fullmatch(value):
            return time.fromisoformat(value.zfill(_TIME_WIDTH[value.count(":")]))
        if value is not None:
            remedy = "write HH:MM or HH:MM:SS, 00:00 to 23:59:59"
            self.refuse("time_of_day", f"{_shown(value)} is no time of day", remedy)
        return None

    def days_of_week(self) -> tuple[int, ...]:
        """Read `days_of_week`, a list of 0 (Sunday) to 6; sorted, each once."""
        value = self._document.get("days_of_week")
        if value is None:
            return ()
        days = [day for day in value if _is_int(day)] if isinstance(value, list | tuple) else []
        if not days or not isinstance(value, list | tuple) or len(days) != len(value):
            self.refuse("days_of_week", f"{_shown(value)} is no list of days", "list at least one of 0 (Sunday) to 6")
            return ()
        for day in days:
            if not 0 <= day <= _LAST_WEEKDAY:
                self.refuse("days_of_week", f"{_shown(day)} is out of range", "use 0 (Sunday) to 6 (Saturday)")
        return tuple(sorted(set(days)))

    def day_of_month(self) -> DayOfMonth | None:
        """Read `day_of_month`: 1 to 31, as a number or as text, or `last`."""
        value = self._document.get("day_of_month")
        if value is None:
            return None
        if value == "last":
            return "last"
        day = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,2}", value) else value
        if _is_int(day) and 1 <= day <= _LONGEST_MONTH:
            return day
        self.refuse("day_of_month", f"{_shown(value)} is no day of a month", "use 1 to 31, or 'last'")
        return None

    def cron_expression(self) -> str | None:
        """Read `cron_expression`; what the grammar refuses is a problem with its reason."""
        value = self._document.get("cron_expression")
        if value is None:
            return None
        if not isinstance(value, str):
            self.refuse(grammar.FIELD, f"{_shown(value)} is no text", "write five fields, as in '30 9 * * 1-5'")
            return None
        found = grammar.problems(value)
        self.problems.extend(found)
        return None if found else value.strip()

    def instant(self, name: Literal["start_date", "end_date"], tz: ZoneInfo | None) -> datetime | None:
        """Read a date and time (ISO 8601 or a datetime) to whole seconds; one without an offset is local to `tz`."""
        value = self._document.get(name)
        moment = _moment(value)
        if moment is None:
            if value is not None:
                self.refuse(
                    name, f"{_shown(value)} is no date and time", "write ISO 8601, as in '2026-03-01T09:00+01:00'"
                )
            return None
        if not _EARLIEST.year <= moment.year < _LATEST.year:
            self.refuse(
                name, f"{_shown(value)} is out of range", f"use a year from {_EARLIEST.year} to {_LATEST.year - 1}"
            )
            return None
        return None if tz is None else _in_utc(moment.replace(microsecond=0), tz)


def _shown(value: object) -> str:
    """Name a value for a message: short, and safe for numbers of any length and lists of any depth."""
    match value:
        case str() if len(value) > _MAX_SHOWN:
            return f"{value[:_MAX_SHOWN]!r}…"
        case bool() | datetime() | time():
            return str(value).lower()
        case int() if value.bit_length() > _MAX_BITS:
            return "a number of many digits"
        case str() | int() | float():
            return repr(value)
        case list() | tuple() if len(value) <= _MAX_ITEMS and all(isinstance(one, str | int) for one in value):
            return f"[{', '.join(map(_shown, value))}]"
        case _:
            return f"a {type(value).__name__}"


def _is_int(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _in_utc(moment: datetime, tz: ZoneInfo) -> datetime:
    if moment.tzinfo is not None:
        return moment.astimezone(UTC)
    readings = zones.instants(moment, tz)
    return readings[0] if readings else zones.gap_end(moment, tz)
