"""Days as exports write them: ISO, or day-first with `-`, `/` or `.`; month-first only where the file shows it.

The order is decided once per file. A first part above 12 shows day-first, a second part above 12 month-first. Where
no date of the file decides, the documented day-first order holds, unless the month-first reading packs the days closer
together (a week of US dates read day-first would lie months apart): then the file is refused until told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final

from core.errors import InputError
from engine.imports.cells import CellError, quoted

FIRST_YEAR: Final = 2000
_MONTHS: Final = 12
_ISO: Final = re.compile(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})(?:[T ]00:00(?::00(?:\.0+)?)?)?")
_PARTS: Final = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4})(?: 0?0:00(?::00)?)?")


class DateOrder(StrEnum):
    """Which part of a numeric date comes first."""

    DAY_FIRST = "day-first"
    MONTH_FIRST = "month-first"


def parse(text: str, order: DateOrder, latest: date) -> date:
    """Read one stripped cell in the file's order.

    Raises CellError where it is no date of the calendar, before 2000, or after `latest` (no metric is of the future).
    """
    if match := _ISO.fullmatch(text):
        year, month, day = map(int, match.groups())
    elif match := _PARTS.fullmatch(text):
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        day, month = (first, second) if order is DateOrder.DAY_FIRST else (second, first)
    else:
        raise CellError(f"{quoted(text)} is not a date such as 2023-08-31 or 31-08-2023")
    found = _calendar(year, month, day)
    if found is None:
        raise CellError(f"{quoted(text)} is no day of the calendar, read {'as ISO' if year == _lead(text) else order}")
    if found.year < FIRST_YEAR or found > latest:
        raise CellError(f"{quoted(text)} is outside {FIRST_YEAR}-01-01 to {latest}")
    return found


@dataclass(slots=True)
class DateSurvey:
    """Evidence for the file's date order, and the span of its undecided dates under each reading."""

    evidence: dict[DateOrder, str] = field(default_factory=dict)
    spans: dict[DateOrder, tuple[date, date]] = field(default_factory=dict)
    undecided: str | None = None
    _seen: set[str] = field(default_factory=set)

    def add(self, line: int, text: str) -> None:
        """Look at one cell."""
        if text in self._seen:
            return
        match = _PARTS.fullmatch(text)
        if match is None:
            return
        self._seen.add(text)  # bounded: there are few calendar days
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        if first > _MONTHS >= second:
            self.evidence.setdefault(DateOrder.DAY_FIRST, f"line {line}: {quoted(text)}")
        elif second > _MONTHS >= first:
            self.evidence.setdefault(DateOrder.MONTH_FIRST, f"line {line}: {quoted(text)}")
        elif first != second:
            self.undecided = self.undecided or f"line {line}: {quoted(text)}"
            self._widen(DateOrder.DAY_FIRST, _calendar(year, second, first))
            self._widen(DateOrder.MONTH_FIRST, _calendar(year, first, second))

    def decide(self, forced: DateOrder | None) -> DateOrder:
        """Return the file's date order; `forced` wins. InputError where the file contradicts itself or day-first."""
        if forced is not None:
            return forced
        remedy = "say which with --date-order day-first or --date-order month-first"
        if len(self.evidence) > 1:
            seen = " but ".join(f"{order} ({cell})" for order, cell in sorted(self.evidence.items()))
            raise InputError.of("file", f"dates contradict each other: {seen}", remedy)
        if not self.evidence and self._closer_month_first():
            message = f"dates may be day-first or month-first ({self.undecided}), and month-first days lie closer"
            raise InputError.of("file", message, remedy)
        return next(iter(self.evidence), DateOrder.DAY_FIRST)

    @property
    def assumed(self) -> str | None:
        """The first date that only the default decides, or None where the file itself showed its order."""
        return None if self.evidence else self.undecided

    def _widen(self, order: DateOrder, day: date | None) -> None:
        if day is not None:
            low, high = self.spans.get(order, (day, day))
            self.spans[order] = (min(low, day), max(high, day))

    def _closer_month_first(self) -> bool:
        if len(self.spans) < len(DateOrder):
            return False
        lengths = {order: high - low for order, (low, high) in self.spans.items()}
        return lengths[DateOrder.MONTH_FIRST] < lengths[DateOrder.DAY_FIRST]


def _calendar(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _lead(text: str) -> int:
    return int(text[:4]) if text[:4].isdecimal() else 0
