"""A schedule as the columns of `scheduled_jobs`, and back: trusted values, already checked when the job was made."""

from __future__ import annotations

from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final

from engine.schedule.definition import Schedule

if TYPE_CHECKING:
    from collections.abc import Mapping


def to_columns(schedule: Schedule) -> dict[str, Any]:
    """Return the column values of a schedule; what a field leaves open is null, `day_of_month` is text."""
    return {
        "schedule_type": schedule.schedule_type,
        "frequency": schedule.frequency,
        "interval": schedule.interval,
        "time_of_day": schedule.time_of_day,
        "days_of_week": list(schedule.days_of_week) or None,
        "day_of_month": None if schedule.day_of_month is None else str(schedule.day_of_month),
        "cron_expression": schedule.cron_expression,
        "timezone": schedule.timezone,
        "start_date": schedule.start_date,
        "end_date": schedule.end_date,
        "anchor_at": schedule.anchor,
        "dst_gap": schedule.dst_gap,
        "dst_fold": schedule.dst_fold,
        "month_end": schedule.month_end,
    }


def from_columns(columns: Mapping[str, Any]) -> Schedule:
    """Return the schedule of a row as a mapping; other columns are ignored."""
    return _made(*_of_mapping(columns))


def of_row(row: Any) -> Schedule:
    """Return the schedule of a row that has its columns as attributes; others are ignored."""
    return _made(*_of_attributes(row))


_COLUMNS: Final = (
    "schedule_type",
    "frequency",
    "interval",
    "time_of_day",
    "days_of_week",
    "day_of_month",
    "cron_expression",
    "timezone",
    "start_date",
    "end_date",
    "anchor_at",
    "dst_gap",
    "dst_fold",
    "month_end",
)
_of_mapping: Final = itemgetter(*_COLUMNS)
_of_attributes: Final = attrgetter(*_COLUMNS)


def _made(*values: Any) -> Schedule:
    kind, frequency, interval, at, days, day, cron, timezone, start, end, anchor, gap, fold, month_end = values
    return Schedule(
        schedule_type=kind,
        frequency=frequency,
        interval=interval,
        time_of_day=at,
        days_of_week=tuple(days or ()),
        day_of_month=int(day) if day is not None and day != "last" else day,
        cron_expression=cron,
        timezone=timezone,
        start_date=start,
        end_date=end,
        anchor=anchor,
        dst_gap=gap,
        dst_fold=fold,
        month_end=month_end,
    )
