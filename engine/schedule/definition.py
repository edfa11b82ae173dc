"""A schedule's definition: the typed form of the schedule columns of `scheduled_jobs`, and its reading from input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Final, Literal

from core.errors import InputError
from engine.schedule import grammar, zones
from engine.schedule.due import MISFIRE_GRACE
from engine.schedule.fields import Fields
from engine.schedule.occurrences import first_occurrence

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

ScheduleType = Literal["once", "recurring", "cron"]
Frequency = Literal["hourly", "daily", "weekly", "monthly"]
DayOfMonth = int | Literal["last"]
DstGap = Literal["next_valid", "skip"]
DstFold = Literal["first", "both"]
MonthEnd = Literal["last_day", "skip"]

_TYPES: Final[tuple[ScheduleType, ...]] = ("once", "recurring", "cron")
_FREQUENCIES: Final[tuple[Frequency, ...]] = ("hourly", "daily", "weekly", "monthly")

_ALWAYS: Final = frozenset({"schedule_type", "timezone", "start_date"})
_PERIOD: Final = frozenset({"end_date", "frequency", "interval"})
_BELONGS: Final[dict[ScheduleType | Frequency, frozenset[str]]] = {
    "once": _ALWAYS,
    "cron": _ALWAYS | {"end_date", "cron_expression"},
    "hourly": _ALWAYS | _PERIOD,
    "daily": _ALWAYS | _PERIOD | {"time_of_day"},
    "weekly": _ALWAYS | _PERIOD | {"time_of_day", "days_of_week"},
    "monthly": _ALWAYS | _PERIOD | {"time_of_day", "day_of_month"},
}
_KNOWN: Final = frozenset[str]().union(*_BELONGS.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a job is due. Instants are aware UTC of whole seconds; only the fields of its type have a value.

    `anchor` is the planned time that recurrences count from: the start, or for a job without one its creation.
    """

    schedule_type: ScheduleType
    anchor: datetime
    timezone: str = "UTC"
    frequency: Frequency | None = None
    interval: int = 1
    time_of_day: time | None = None
    days_of_week: tuple[int, ...] = ()
    """0 = Sunday; weeks start on Monday."""
    day_of_month: DayOfMonth | None = None
    cron_expression: str | None = None
    start_date: datetime | None = None
    """No planned time before it; a `once` schedule's only one."""
    end_date: datetime | None = None
    """No planned time after it."""
    dst_gap: DstGap = "next_valid"
    """What becomes of a fixed time that a change of clocks leaves out."""
    dst_fold: DstFold = "first"
    """What becomes of a fixed time that a change of clocks shows twice."""
    month_end: MonthEnd = "last_day"
    """What a monthly recurrence does in a month that lacks its day."""


def parse(document: Mapping[str, object], *, now: datetime) -> Schedule:
    """Read SPEC §2's schedule columns from JSON or the command line; raise InputError with every problem found.

    `now` (aware) is the time of creation. Null is the same as absent. A date without an offset is local to `timezone`.
    Without `schedule_type` the fields tell it; `time_of_day`, `days_of_week`, `day_of_month` default to the anchor's.
    """
    fields = Fields(document)
    for name in sorted(fields.given - _KNOWN):
        fields.refuse(name, "is no field of a schedule", f"use {', '.join(sorted(_KNOWN))}")
    schedule = _read(fields, now.astimezone(UTC).replace(microsecond=0))
    if schedule is not None and not fields.problems:
        _check_future(fields, schedule, now)
    if schedule is None or fields.problems:
        raise InputError(fields.problems)
    return schedule


def _read(fields: Fields, now: datetime) -> Schedule | None:
    schedule_type, tz = _schedule_type(fields), fields.zone()
    frequency = fields.word("frequency", _FREQUENCIES)
    start, end = fields.instant("start_date", tz), fields.instant("end_date", tz)
    interval, at, expression = fields.interval(), fields.time_of_day(), fields.cron_expression()
    days, day = fields.days_of_week(), fields.day_of_month()
    _check_fields(fields, schedule_type, frequency)
    if start and end and end < start:
        fields.refuse("end_date", "is before start_date", "use a later end_date or an earlier start_date")
    if schedule_type is None or tz is None:
        return None
    return _with_defaults(
        Schedule(
            schedule_type=schedule_type,
            anchor=start or now,
            timezone=str(tz),
            frequency=frequency,
            interval=interval,
            time_of_day=at,
            days_of_week=days,
            day_of_month=day,
            cron_expression=expression,
            start_date=start,
            end_date=end,
        ),
        tz,
    )


def _schedule_type(fields: Fields) -> ScheduleType | None:
    if "schedule_type" in fields.given:
        return fields.word("schedule_type", _TYPES)
    if "cron_expression" in fields.given:
        return "cron"
    if "frequency" in fields.given:
        return "recurring"
    fields.refuse("schedule_type", "is missing", f"use one of {', '.join(_TYPES)}")
    return None


def _check_fields(fields: Fields, schedule_type: ScheduleType | None, frequency: Frequency | None) -> None:
    """Refuse what is missing for the type and what does not belong to it."""
    kind = frequency if schedule_type == "recurring" else schedule_type
    for needing, name in (("once", "start_date"), ("cron", "cron_expression"), ("recurring", "frequency")):
        if schedule_type == needing and name not in fields.given:
            fields.refuse(name, f"is missing: a {needing} schedule needs it", _NEEDED[name])
    if kind is not None:
        for name in sorted((fields.given & _KNOWN) - _BELONGS[kind]):
            fields.refuse(name, f"does not belong to a {kind} schedule", "leave it out")


_NEEDED: Final = {
    "start_date": "write when it fires, as in '2026-03-01T09:00'",
    "cron_expression": "write five fields, as in '30 9 * * 1-5'",
    "frequency": f"use one of {', '.join(_FREQUENCIES)}",
}


def _with_defaults(schedule: Schedule, tz: ZoneInfo) -> Schedule:
    """Take what a recurrence leaves open from its anchor's local time, so that a start date alone is enough."""
    local = zones.wall_of(schedule.anchor, tz)
    if schedule.frequency in {"daily", "weekly", "monthly"} and schedule.time_of_day is None:
        schedule = replace(schedule, time_of_day=local.time())
    if schedule.frequency == "weekly" and not schedule.days_of_week:
        schedule = replace(schedule, days_of_week=(local.isoweekday() % 7,))
    if schedule.frequency == "monthly" and schedule.day_of_month is None:
        schedule = replace(schedule, day_of_month=local.day)
    return schedule


def _check_future(fields: Fields, schedule: Schedule, now: datetime) -> None:
    """Refuse what would never fire."""
    first = first_occurrence(schedule, now)
    if schedule.schedule_type == "once" and first is not None and first.at < now - MISFIRE_GRACE:
        fields.refuse("start_date", f"{first.at.isoformat()} lies in the past", "use a time to come")
    if first is not None:
        return
    endless = first_occurrence(replace(schedule, end_date=None), now)
    if endless is not None:
        remedy = f"use one from {endless.at.isoformat()} on, the first planned time"
        fields.refuse("end_date", "is before the first planned time", remedy)
    elif schedule.schedule_type == "cron":
        fields.refuse(grammar.FIELD, "never fires", "use a day that its months have")
    else:
        fields.refuse("interval", "the first planned time is out of reach", "use a smaller interval")
