"""Reading what stands on the command line: JSON files, times, ids. What is wrong names its option and the remedy."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal, DecimalException
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias
from uuid import UUID

import click

from core.errors import InputError
from engine.rules.reading import shown
from engine.schedule.zones import gap_end, instants, zone

if TYPE_CHECKING:
    from collections.abc import Callable

Moment: TypeAlias = datetime | timedelta
"""A point in time, or how long before now."""

MAX_FILE: Final = 256 * 1024  # RELIABILITY §7
STDIN: Final = "-"
MAX_LIMIT: Final = 100_000
DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

_AGO: Final = re.compile(r"([0-9]{1,5})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_YEAR: Final = 2199
_MOMENT_REMEDY: Final = "write 7d, 12h or 30m for so long ago, or a date and time such as 2026-03-01T09:00"


def limit_option(default: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option --limit of a list."""
    bounds = click.IntRange(1, MAX_LIMIT)
    return click.option("--limit", type=bounds, default=default, show_default=True, help="Show at most so many.")


def read_json(option: str, path: str, *, exact: bool = False, most: int = MAX_FILE) -> Any:
    """Return the JSON value of a file, or of stdin for `-`; at most `most` bytes (256 KiB), no key twice, no NaN.

    With `exact`, fractions come as Decimal as they are written; otherwise as the floats that the database gives back.
    Raises InputError on `option`.
    """
    return parse_json(option, _decode(option, _read(option, path, most)), exact=exact)


def parse_json(option: str, text: str, *, exact: bool = False) -> Any:
    """Return the JSON value of a text, as `read_json` does of a file's."""
    if not text.strip():
        raise InputError.of(option, "is empty", "give a JSON value")
    try:
        return json.loads(
            text,
            parse_float=Decimal if exact else float,
            parse_constant=lambda name: _refuse(option, f"{name} is no JSON number", "write a number, or null"),
            object_pairs_hook=lambda pairs: _object(option, pairs),
        )
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError.of(option, f"is no JSON: {error.msg} at {where}", "mend it there") from error
    except RecursionError as error:
        raise InputError.of(option, "is nested too deep", "nest at most 16 levels") from error
    except (ValueError, DecimalException) as error:  # an int of more than 4,300 digits, an exponent out of range
        raise InputError.of(option, "holds a number that is too large", "give numbers below 10^30") from error


def parse_id(option: str, text: str | None) -> UUID | None:
    """Return the UUID that an option gives, None where it is absent."""
    if text is None:
        return None
    try:
        return UUID(text)
    except ValueError as error:
        raise InputError.of(option, f"{shown(text)} is no id", "give the id as the lists show it") from error


def parse_moment(option: str, text: str, timezone: str) -> Moment:
    """Read `7d` as so long ago, or an ISO date and time; without an offset it is local to `timezone`, the org's."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError.of(option, f"{shown(text)} is no time", _MOMENT_REMEDY) from error
    if not _EARLIEST.year < moment.year <= _LAST_YEAR:
        raise InputError.of(option, f"{shown(text)} is out of range", f"use a year from 1971 to {_LAST_YEAR}")
    return moment if moment.tzinfo is not None else _local(moment, timezone)


def moment_at(moment: Moment, now: datetime) -> datetime:
    """Return the instant (aware) that a moment is, seen from `now`."""
    return moment if isinstance(moment, datetime) else max(now - moment, _EARLIEST)


def parse_days(text: str | None) -> list[int] | None:
    """Read `mon,thu` as SPEC §5's numbers of days (0 = Sunday); numbers and full names work, too."""
    if text is None:
        return None
    days = []
    for word in text.split(","):
        name = word.strip().lower()
        index = next((i for i, day in enumerate(DAYS) if name == str(i) or _names(name, day)), None)
        if index is None:
            raise InputError.of("--on", f"{shown(word)} is no day of the week", f"use some of {', '.join(DAYS)}")
        days.append(index)
    return days


def _names(name: str, day: str) -> bool:
    full = {"tue": "tuesday", "wed": "wednesday", "thu": "thursday", "sat": "saturday"}.get(day, f"{day}day")
    return name in {day, full}


def _local(moment: datetime, timezone: str) -> datetime:
    tz = zone(timezone)
    found = instants(moment, tz)
    return found[0] if found else gap_end(moment, tz)


def _read(option: str, path: str, most: int) -> bytes:
    try:
        if path == STDIN:
            content = sys.stdin.buffer.read(most + 1)
        else:
            with open(path, "rb") as file:  # noqa: PTH123 - the text as it was given, for the message
                content = file.read(most + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError.of(option, f"{path} cannot be read: {reason}", "name a file, or - for stdin") from error
    if len(content) > most:
        raise InputError.of(option, f"has more than {most // 1024:,} KiB", "give a smaller file")
    return content


def _decode(option: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError.of(option, f"is not UTF-8 (byte {error.start + 1})", "save the file as UTF-8") from error


def _object(option: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        _refuse(option, f"the key {shown(twice)} stands twice in one object", "leave one of them out")
    return made


def _refuse(option: str, message: str, remedy: str) -> NoReturn:
    raise InputError.of(option, message, remedy)
