"""Durations as people write them on a command line."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from core.errors import InputError

_UNITS: Final = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_DURATION: Final = re.compile(r"(?:\d{1,6}[dhms])+")


def parse_duration(text: str) -> timedelta:
    """Read `3d`, `6h`, `90m`, `45s` or a sum such as `1d12h`. Raises InputError unless it is one and more than zero."""
    if not _DURATION.fullmatch(text):
        raise InputError.of("DURATION", f"{text!r} is not a duration", "for example 3d, 6h, 90m, 45s or 1d12h")
    parts = re.findall(r"(\d+)([dhms])", text)
    duration = sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())
    if not duration:
        raise InputError.of("DURATION", "must be more than zero", "the clock only moves forward")
    return duration
