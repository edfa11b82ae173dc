"""What is wrong with a schedule as a whole.

Fields that are missing or do not belong, policies that would mean nothing, no time at which it fires.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from engine.schedule import crons, grammar
from engine.schedule.occurrences import first_occurrence, next_planned

if TYPE_CHECKING:
    from datetime import datetime

    from engine.schedule.definition import Frequency, Schedule, ScheduleType
    from engine.schedule.fields import Fields

_ALWAYS: Final = frozenset({"schedule_type", "timezone", "start_date", "dst_gap", "dst_fold", "month_end"})
_PERIOD: Final = frozenset({"end_date", "frequency", "interval"})
_BELONGS: Final[dict[ScheduleType | Frequency, frozenset[str]]] = {
    "once": _ALWAYS,
    "cron": _ALWAYS | {"end_date", "cron_expression"},
    "hourly": _ALWAYS | _PERIOD,
    "daily": _ALWAYS | _PERIOD | {"time_of_day"},
    "weekly": _ALWAYS | _PERIOD | {"time_of_day", "days_of_week"},
    "monthly": _ALWAYS | _PERIOD | {"time_of_day", "day_of_month"},
}
KNOWN: Final = frozenset[str]().union(*_BELONGS.values())

_NEEDED: Final = {
    "once": ("start_date", "write when it fires, as in '2026-03-01T09:00'"),
    "cron": ("cron_expression", "write five fields, as in '30 9 * * 1-5'"),
    "recurring": ("frequency", "use one of hourly, daily, weekly, monthly"),
}


def refuse_misplaced(fields: Fields, schedule_type: ScheduleType | None, frequency: Frequency | None) -> None:
    """Refuse what is missing for the type and what does not belong to it."""
    if schedule_type is not None:
        name, remedy = _NEEDED[schedule_type]
        if name not in fields.given:
            fields.refuse(name, f"is missing: a {schedule_type} schedule needs it", remedy)
    kind = frequency if schedule_type == "recurring" else schedule_type
    if kind is not None:
        for name in sorted((fields.given & KNOWN) - _BELONGS[kind]):
            fields.refuse(name, f"does not belong to {_a(kind)} schedule", "leave it out")


def refuse_meaningless(fields: Fields, schedule: Schedule) -> None:
    """Refuse a policy other than the default where it would be ignored: whoever wrote it expects something of it."""
    why = _no_fixed_time(schedule)
    for name, value, default in (("dst_gap", schedule.dst_gap, "next_valid"), ("dst_fold", schedule.dst_fold, "first")):
        if why and value != default:
            fields.refuse(name, f"{value!r} would mean nothing: {why}", f"leave it out, or use {default!r}")
    if schedule.month_end != "last_day" and schedule.frequency != "monthly":
        message = (
            f"{schedule.month_end!r} would mean nothing: only monthly recurrences have a day that a month may lack"
        )
        fields.refuse("month_end", message, "leave it out, or use 'last_day'")


def _no_fixed_time(schedule: Schedule) -> str | None:
    """Say why changes of clocks touch no time of this schedule, or None: they do."""
    if schedule.schedule_type == "once":
        return "a once schedule is one instant"
    if schedule.frequency == "hourly":
        return "hourly schedules count real hours"
    if schedule.cron_expression is not None and crons.read(schedule.cron_expression).follows_wall_clock:
        return "a cron whose minute or hour begins with '*' follows the wall clock"
    return None


def refuse_past(fields: Fields, schedule: Schedule, now: datetime, grace: timedelta) -> None:
    """Refuse a schedule that never fires after `now`; a `once` time may be late by `grace`."""
    first = first_occurrence(schedule, now)
    if first is None:
        _refuse_never(fields, schedule, now)
    elif schedule.schedule_type == "once" and first.at < now - grace:
        fields.refuse("start_date", f"{first.at.isoformat()} lies in the past", "use a time to come")


def refuse_empty(fields: Fields, schedule: Schedule) -> None:
    """Refuse a schedule that never fires, whenever one looks."""
    beginning = schedule.anchor - timedelta(seconds=1)
    if first_occurrence(schedule, beginning) is None:
        _refuse_never(fields, schedule, beginning)


def _refuse_never(fields: Fields, schedule: Schedule, after: datetime) -> None:
    """Name the field that is to blame: with another value of it the schedule would fire."""
    endless = replace(schedule, end_date=None)
    if found := first_occurrence(endless, after):
        remedy = f"use one from {found.at.isoformat()} on, the first time it fires"
        fields.refuse("end_date", "is before the first time it fires", remedy)
    elif schedule.schedule_type == "cron":
        fields.refuse(grammar.FIELD, "never fires", "use a day that its months have")
    elif next_planned(endless, after):
        message = f"'skip' leaves no time at all: none of its months has a day {schedule.day_of_month}"
        fields.refuse("month_end", message, "use 'last_day', another day_of_month or another interval")
    else:
        fields.refuse("interval", "the first planned time is out of reach", "use a smaller interval")


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "hourly" else f"a {kind}"
