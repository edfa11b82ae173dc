"""Wall times: what calendars yield, naive and free of zones."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

HORIZON: Final = datetime(2200, 1, 1)  # noqa: DTZ001 - a wall time has no zone
"""No planned time lies beyond it, so that every search ends."""


class Wall(NamedTuple):
    """One wall time; `month_end`: it stands for a day that its month does not have."""

    at: datetime
    month_end: bool = False
