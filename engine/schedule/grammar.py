"""The cron grammar: five fields of `*`, lists, ranges, steps, names and `L`, or one of the `@daily`-style names.

What the calendar library would accept but read otherwise than cron does is refused, with the reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from core.errors import Problem

FIELD: Final = "cron_expression"
_MAX_LENGTH: Final = 256

_NAMED: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

# `value`, `low-high`, `*`, each with an optional step; digits are ASCII only.
_ITEM: Final = re.compile(r"(?:(?P<star>\*)|(?P<low>[a-z0-9]+)(?:-(?P<high>[a-z0-9]+))?)(?:/(?P<step>[0-9]{1,3}))?")


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five fields: its name for people and what its values may be."""

    name: str
    low: int
    high: int
    names: dict[str, int] = field(default_factory=dict)

    def value(self, text: str) -> int | None:
        """Return the number a value stands for, or None if it is out of range or no value at all."""
        if text in self.names:
            return self.names[text]
        if not text.isdecimal():
            return None
        number = int(text)
        return number if self.low <= number <= self.high else None


_DAY_OF_MONTH: Final = _Field("day of month", 1, 31)
_WEEKDAY: Final = _Field("day of week", 0, 7, {name: day for day, name in enumerate(_DAYS)})
_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _DAY_OF_MONTH,
    _Field("month", 1, 12, {name: month for month, name in enumerate(_MONTHS, start=1)}),
    _WEEKDAY,
)


def normalise(expression: str) -> str:
    """Return the expression in lower case, single-spaced, with an `@` name written out. It must have been checked."""
    text = " ".join(expression.lower().split())
    return _NAMED.get(text, text)


def follows_wall_clock(expression: str) -> bool:
    """Tell whether a normalised expression is a wildcard one: its minute or hour field begins with `*`."""
    minute, hour = expression.split()[:2]
    return minute.startswith("*") or hour.startswith("*")


def problems(expression: str) -> list[Problem]:
    """Return everything wrong with the grammar of an expression; whether it ever fires is another question."""
    if len(expression) > _MAX_LENGTH:
        return [Problem(FIELD, f"is longer than {_MAX_LENGTH} characters", "split it into several jobs")]
    text = normalise(expression)
    if text.startswith("@"):
        return [Problem(FIELD, f"unknown name {text!r}", "use one of " + ", ".join(sorted(_NAMED)))]
    parts = text.split(" ")
    if len(parts) != len(_FIELDS):
        given = len(text.split())
        return [Problem(FIELD, f"has {given} fields instead of 5", _COUNT_REMEDY)]
    return [
        problem
        for cron_field, part in zip(_FIELDS, parts, strict=True)
        for item in part.split(",")
        if (problem := _item_problem(cron_field, item)) is not None
    ]


_COUNT_REMEDY: Final = "write minute, hour, day of month, month, day of week; seconds and years are not supported"


def _item_problem(cron_field: _Field, item: str) -> Problem | None:
    match = _ITEM.fullmatch(item)
    if cron_field is _DAY_OF_MONTH and item == "l":
        return None
    if match is None or (not match["star"] and _is_foreign(cron_field, match)):
        return _problem(cron_field, item, "is not understood", _unknown_remedy(cron_field, item))
    if match["step"] is not None and int(match["step"]) == 0:
        return _problem(cron_field, item, "has a step of 0", "use a step of at least 1")
    if match["star"]:
        return None
    return _range_problem(cron_field, item, match)


def _is_foreign(cron_field: _Field, match: re.Match[str]) -> bool:
    """Tell whether a bound is a word that this field does not know."""
    bounds = (match["low"], match["high"])
    return any(bound and not bound.isdecimal() and bound not in cron_field.names for bound in bounds)


def _range_problem(cron_field: _Field, item: str, match: re.Match[str]) -> Problem | None:
    low, high, step = cron_field.value(match["low"]), cron_field.value(match["high"] or match["low"]), match["step"]
    if low is None or high is None:
        return _problem(cron_field, item, "is out of range", f"use {cron_field.low}-{cron_field.high}")
    if match["high"] is None:
        if step and cron_field is _WEEKDAY:
            # Whether the end is Saturday (6) or Sunday (7) differs between cron implementations.
            return _problem(cron_field, item, "is a start with a step, which crons read differently", "list the days")
        return None
    if low == high or (cron_field is _WEEKDAY and (low, high) == (_WEEKDAY.high, 0)):
        # The calendar library takes such a range for the whole field.
        return _problem(cron_field, item, "is a range from a value to itself", f"write {match['low']!r} alone")
    if low > high and step:
        # The library loses the step's count where the range wraps.
        return _problem(cron_field, item, "is a backwards range with a step", "list the values")
    return None


def _problem(cron_field: _Field, item: str, message: str, remedy: str) -> Problem:
    return Problem(FIELD, f"{cron_field.name} {item!r} {message}", remedy)


def _unknown_remedy(cron_field: _Field, item: str) -> str:
    if "?" in item:
        return "write '*' instead of '?'"
    if re.match(r"[hr](\(|/|$)", item):
        return "hashed and random values are not supported; write the number"
    if "#" in item or re.search(r"\dl|\dw|l\d|w\d|lw", item):
        return "nth, last and nearest weekdays are not supported; only 'L' as day of month is"
    known = f" or {', '.join(cron_field.names)}" if cron_field.names else ""
    last = ", 'L' for the last day" if cron_field is _DAY_OF_MONTH else ""
    return (
        f"use {cron_field.low}-{cron_field.high}{known}{last}, with '*', lists, ranges and steps as in '*/5' or '1-5/2'"
    )
