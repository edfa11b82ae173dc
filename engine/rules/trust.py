"""When a metric may be trusted: enough of a sample in its window, and data that is young enough (SPEC §3).

What may not be trusted is *unknown*, never a smaller number, and unknown does not fire. `max_data_age` does not apply
to `lifetime`: a campaign's whole past does not get stale.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from engine.rules.document import json_number
from engine.rules.fields import BASE_METRICS
from engine.rules.reading import Problems, exact_number, listed, shown
from engine.rules.windows import Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

MAX_AGE: Final = timedelta(days=3650)

_DURATION: Final = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE_REMEDY: Final = "write 26h, 2d or 90m, or a number of seconds"


@dataclass(frozen=True, slots=True)
class Trust:
    """What a rule asks of the data behind a metric; neither = it takes everything."""

    min_sample: Mapping[str, Decimal]
    """Base metric → how much of it the window must hold."""
    max_age: timedelta | None

    def __bool__(self) -> bool:
        """Say whether it asks for anything."""
        return bool(self.min_sample) or self.max_age is not None

    def doubt(
        self, window: Window, sums: Mapping[str, Decimal | None], age: timedelta, *, previous: bool = False
    ) -> str | None:
        """Say why what is read from a window may not be trusted; None if it may.

        `sums` are the base metrics' sums over the window (None = not reported), `age` is its newest observation's;
        `previous`: they are of the window before.
        """
        days = f"the days before {window}" if previous else str(window)
        for metric, least in self.min_sample.items():
            found = sums.get(metric)
            if found is None or found < least:
                shown_sum = "no" if found is None else json_number(found)
                noun = metric.removesuffix("s") if found == 1 else metric
                return f"only {shown_sum} {noun} in {days}, min_sample asks for {json_number(least)}"
        if self.max_age is not None and window is not Window.LIFETIME and age > self.max_age:
            return f"the newest data in {days} is {_spoken(age)} old, max_data_age allows {_spoken(self.max_age)}"
        return None


def read_min_sample(document: object, problems: Problems, path: str = "min_sample") -> Mapping[str, Decimal] | None:
    """Read `{metric: least}`, such as `{"impressions": 1000}`; None where nothing is asked for."""
    if document is None:
        return None
    if not isinstance(document, dict) or not document:
        problems.add(path, f"must be an object, not {shown(document)}", 'write {"impressions": 1000}')
        return None
    problems.refuse_unknown_keys(document, BASE_METRICS, path)
    found = {}
    for metric, value in document.items():
        least = exact_number(value)
        if least is None or least <= 0:
            message = f"must be a number above 0, not {shown(value)}"
            problems.add(f"{path}.{metric}", message, f"write how much is enough, such as 1000; or one of {_METRICS}")
        else:
            found[str(metric)] = least
    return found


def read_max_data_age(value: object, problems: Problems, path: str = "max_data_age") -> timedelta | None:
    """Read a duration such as `26h`, or a number of seconds; None where any age will do."""
    if value is None:
        return None
    age = _duration(value)
    if age is None:
        problems.add(path, f"must be a duration, not {shown(value)}", _AGE_REMEDY)
        return None
    if not timedelta(0) < age <= MAX_AGE:
        problems.add(path, f"cannot be {shown(value)}", f"give more than 0 and at most {MAX_AGE.days} days")
        return None
    return age


_METRICS: Final = listed(BASE_METRICS)


def _duration(value: object) -> timedelta | None:
    if isinstance(value, str) and (found := _DURATION.fullmatch(value.strip())):
        unit = timedelta(**{_UNITS[found[2]]: 1})
        return unit * int(found[1]) if int(found[1]) * unit.total_seconds() <= _SAFE else MAX_AGE * 2
    if isinstance(value, int) and not isinstance(value, bool):
        return timedelta(seconds=value) if abs(value) <= _SAFE else MAX_AGE * 2
    return None


_SAFE: Final = MAX_AGE.total_seconds() * 2  # beyond, a timedelta may overflow; it is refused anyway


def _spoken(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.3g} days" if hours >= 48 else f"{hours:.3g} hours"  # noqa: PLR2004 - from two days on, days
