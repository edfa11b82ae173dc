"""What windows of days hold, from an export alone: the csv module, Decimal, and SPEC §3 written out once more."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeAlias
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Values: TypeAlias = "dict[str, Decimal | None]"
Days: TypeAlias = "dict[str, dict[date, Values]]"
"""Campaign → day → metrics; None = no row of that day reports it."""

COLUMNS: Final = {
    "impressions": "Impressions",
    "clicks": "Clicks",
    "conversions": "Total_Conversion",
    "spend": "Spent",
    "revenue": "Revenue",
}
# Days back from today: the first of the window and the last; None = without end.
SPANS: Final[Mapping[str, tuple[int | None, int]]] = {
    "today": (0, 0),
    "yesterday": (1, 1),
    "last_3d": (3, 1),
    "last_7d": (7, 1),
    "last_14d": (14, 1),
    "last_30d": (30, 1),
    "lifetime": (None, 0),
}
PRECEDING: Final[Mapping[str, tuple[int | None, int]]] = {
    "today": (1, 1),
    "yesterday": (2, 2),
    "last_3d": (6, 4),
    "last_7d": (14, 8),
    "last_14d": (28, 15),
    "last_30d": (60, 31),
}


def read(path: Path) -> Days:
    """Sum an export's rows to campaign and day, then round as the columns do: to six decimals."""
    days: Days = defaultdict(lambda: defaultdict(lambda: dict.fromkeys(COLUMNS)))
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            day, month, year = map(int, row["Date"].split("-"))
            values = days[row["fb_campaign_id"]][date(year, month, day)]
            for metric, column in COLUMNS.items():
                if cell := row.get(column):
                    values[metric] = (values[metric] or Decimal(0)) + Decimal(cell)
    for of_campaign in days.values():
        for values in of_campaign.values():
            for metric, value in values.items():
                values[metric] = None if value is None else value.quantize(Decimal("0.000001"))
    return days


def within(days: Mapping[date, Values], span: tuple[int | None, int], today: date) -> dict[date, Values]:
    """Return the days that have rows within a span."""
    first_back, last_back = span
    return {
        day: values
        for day, values in days.items()
        if (today - day).days >= last_back and (first_back is None or (today - day).days <= first_back)
    }


def metrics(rows: Iterable[Values]) -> Values:
    """Return every metric over some days: sums of what is there, and ratios of those sums."""
    found: Values = dict.fromkeys(COLUMNS)
    for values in rows:
        for metric, value in values.items():
            if value is not None:
                found[metric] = (found[metric] or Decimal(0)) + value
    return found | {
        "ctr": _ratio(found["clicks"], found["impressions"]),
        "cpc": _ratio(found["spend"], found["clicks"]),
        "cpm": _ratio(found["spend"], found["impressions"], per=1000),
        "cpa": _ratio(found["spend"], found["conversions"]),
        "roas": _ratio(found["revenue"], found["spend"]),
        "conversion_rate": _ratio(found["conversions"], found["clicks"]),
    }


def observed_at(days: Iterable[date], timezone: str) -> datetime:
    """Return the end of the last of some days in a zone whose midnights all exist."""
    return datetime.combine(max(days) + timedelta(days=1), time(), ZoneInfo(timezone))


def _ratio(numerator: Decimal | None, denominator: Decimal | None, per: int = 1) -> Decimal | None:
    if numerator is None or denominator is None or denominator == 0:
        return None
    return numerator * per / denominator
