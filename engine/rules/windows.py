"""The windows that a metric is summed over, as whole days of the org's calendar.

Whoever calls passes `today` in the org's time zone; this module knows dates only.
Source of the definitions: SPEC §3. `last_Nd` leaves today out, as ad platforms do, because today is not over.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import date


class Window(StrEnum):
    """A span of days relative to today."""

    TODAY = "today"
    YESTERDAY = "yesterday"
    LAST_3D = "last_3d"
    LAST_7D = "last_7d"
    LAST_14D = "last_14d"
    LAST_30D = "last_30d"
    LIFETIME = "lifetime"


DEFAULT_WINDOW: Final = Window.LAST_7D

# Each bounded window as (days from today back to its last day, how many days it has).
_SPANS: Final = {
    Window.TODAY: (0, 1),
    Window.YESTERDAY: (1, 1),
    Window.LAST_3D: (1, 3),
    Window.LAST_7D: (1, 7),
    Window.LAST_14D: (1, 14),
    Window.LAST_30D: (1, 30),
}

WINDOWS_WITH_PRECEDING: Final = tuple(_SPANS)


def days(window: Window, today: date) -> tuple[date | None, date]:
    """Return the first and the last day of the window, both inclusive; `lifetime` has no first day and ends today."""
    if window is Window.LIFETIME:
        return None, today
    last_back, length = _SPANS[window]
    last = today - timedelta(days=last_back)
    return last - timedelta(days=length - 1), last


def preceding(window: Window, today: date) -> tuple[date, date] | None:
    """Return the days just before the window, as many as it has, or None for `lifetime`.

    Before `today` comes the whole of yesterday, although today is not over.
    """
    first, last = days(window, today)
    if first is None:
        return None
    length = last - first + timedelta(days=1)
    return first - length, last - length
