"""A schedule as the columns of `scheduled_jobs`, and back: trusted values, already checked when the job was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    """Return the schedule of a row; other columns are ignored."""
    day = columns["day_of_month"]
    return Schedule(
        schedule_type=columns["schedule_type"],
        frequency=columns["frequency"],
        interval=columns["interval"],
        time_of_day=columns["time_of_day"],
        days_of_week=tuple(columns["days_of_week"] or ()),
        day_of_month=int(day) if day is not None and day != "last" else day,
        cron_expression=columns["cron_expression"],
        timezone=columns["timezone"],
        start_date=columns["start_date"],
        end_date=columns["end_date"],
        anchor=columns["anchor_at"],
        dst_gap=columns["dst_gap"],
        dst_fold=columns["dst_fold"],
        month_end=columns["month_end"],
    )
