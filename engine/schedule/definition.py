"""A schedule's definition: the typed form of the schedule columns of `scheduled_jobs`, and its reading from input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Final, Literal

from core.errors import InputError
from engine.schedule import checks, policies, zones
from engine.schedule.fields import Fields
from engine.schedule.policies import Policies

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from zoneinfo import ZoneInfo

ScheduleType = Literal["once", "recurring", "cron"]
Frequency = Literal["hourly", "daily", "weekly", "monthly"]
DayOfMonth = int | Literal["last"]
DstGap = Literal["next_valid", "skip"]
DstFold = Literal["first", "both"]
MonthEnd = Literal["last_day", "skip"]

_TYPES: Final[tuple[ScheduleType, ...]] = ("once", "recurring", "cron")
_FREQUENCIES: Final[tuple[Frequency, ...]] = ("hourly", "daily", "weekly", "monthly")
_GAPS: Final[tuple[DstGap, ...]] = ("next_valid", "skip")
_FOLDS: Final[tuple[DstFold, ...]] = ("first", "both")
_MONTH_ENDS: Final[tuple[MonthEnd, ...]] = ("last_day", "skip")


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
    fields.refuse_unknown(checks.KNOWN)
    return _whole(fields, now, Policies().grace, ahead=True)


def parse_job(document: Mapping[str, object], *, now: datetime, ahead: bool = True) -> tuple[Schedule, Policies]:
    """Read a job's schedule and policies from one document; raise InputError with every problem of both.

    Like `parse`, but a `once` time may be late by the job's own grace. With `ahead=False` a schedule need not fire
    after `now`, if only it ever fires.
    """
    fields = Fields(document)
    fields.refuse_unknown(checks.KNOWN | policies.NAMES)
    found = policies.read(fields)
    return _whole(fields, now, found.grace, ahead=ahead), found


def _whole(fields: Fields, now: datetime, grace: timedelta, *, ahead: bool) -> Schedule:
    others = len(fields.problems)
    schedule = _read(fields, now)
    if schedule is not None and len(fields.problems) == others:
        if ahead:
            checks.refuse_past(fields, schedule, now, grace)
        else:
            checks.refuse_empty(fields, schedule)
    if schedule is None or fields.problems:
        raise InputError(fields.problems)
    return schedule


def _read(fields: Fields, now: datetime) -> Schedule | None:
    schedule_type, tz = _schedule_type(fields), fields.zone()
    frequency = fields.word("frequency", _FREQUENCIES)
    start, end = fields.instant("start_date", tz), fields.instant("end_date", tz)
    interval, at, expression = fields.interval(), fields.time_of_day(), fields.cron_expression()
    days, day = fields.days_of_week(), fields.day_of_month()
    gap, fold = fields.word("dst_gap", _GAPS), fields.word("dst_fold", _FOLDS)
    month_end = fields.word("month_end", _MONTH_ENDS)
    checks.refuse_misplaced(fields, schedule_type, frequency)
    if start and end and end < start:
        fields.refuse("end_date", "is before start_date", "use a later end_date or an earlier start_date")
    if schedule_type is None or tz is None:
        return None
    schedule = Schedule(
        schedule_type=schedule_type,
        anchor=start or now.astimezone(UTC).replace(microsecond=0),
        timezone=str(tz),
        frequency=frequency,
        interval=interval,
        time_of_day=at,
        days_of_week=days,
        day_of_month=day,
        cron_expression=expression,
        start_date=start,
        end_date=end,
        dst_gap=gap or "next_valid",
        dst_fold=fold or "first",
        month_end=month_end or "last_day",
    )
    checks.refuse_meaningless(fields, schedule)
    return _with_defaults(schedule, tz)


def _schedule_type(fields: Fields) -> ScheduleType | None:
    if "schedule_type" in fields.given:
        return fields.word("schedule_type", _TYPES)
    if "cron_expression" in fields.given:
        return "cron"
    if "frequency" in fields.given:
        return "recurring"
    fields.refuse("schedule_type", "is missing", f"use one of {', '.join(_TYPES)}")
    return None


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
