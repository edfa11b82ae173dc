"""Planned times: from a definition to UTC instants, strictly increasing, through every change of clocks.

Expand the calendar on naive wall time, then map to instants. Two ways of mapping: a *fixed time* happens exactly once
(in a gap at the instant the gap ends, in a fold the first time); a cron whose minute or hour field begins with `*`
*follows the wall clock* (what a gap leaves out is dropped, what a fold repeats happens twice).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal

from engine.schedule import calendars, grammar, zones

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from zoneinfo import ZoneInfo

    from engine.schedule.calendars import Wall
    from engine.schedule.definition import Schedule

    # The wall times of one definition, strictly after a naive one.
    Calendar = Callable[[datetime], Iterator[Wall]]

Note = Literal["gap_moved", "fold_first", "fold_second", "month_end"]
Skipped = Literal["dst_skipped", "month_end_skipped"]

_HORIZON: Final = calendars.HORIZON.replace(tzinfo=UTC)
_EVER: Final = datetime.min.replace(tzinfo=UTC)
_INSTANT: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One planned time: the UTC instant, and what a change of clocks or a short month did to it."""

    at: datetime
    note: Note | None = None
    skipped: Skipped | None = None
    """Why it does not fire, by the schedule's own policies; such a time is planned and recorded all the same."""


def next_occurrence(schedule: Schedule, after: datetime) -> Occurrence | None:
    """Return the first time strictly after `after` (aware) at which the schedule fires, or None: it is completed."""
    found = next_planned(schedule, after)
    while found is not None and found.skipped:
        found = next_planned(schedule, found.at)
    return found


def may_skip(schedule: Schedule) -> bool:
    """Say whether some planned time may not fire, so that `next_planned` and `next_occurrence` may differ."""
    return schedule.dst_gap == "skip" or schedule.month_end == "skip"


def next_planned(schedule: Schedule, after: datetime) -> Occurrence | None:
    """Return the first planned time strictly after `after` (aware), whether it fires or is skipped, or None.

    `start_date` and `end_date` are inclusive. Raises ValueError for a definition without the fields of its type.
    """
    after = after.astimezone(UTC)
    if schedule.start_date is not None:
        after = max(after, schedule.start_date - _INSTANT)
    found = _following(schedule, after)
    if found is None or (schedule.end_date is not None and found.at > schedule.end_date):
        return None
    return found


def occurrences(schedule: Schedule, after: datetime) -> Iterator[Occurrence]:
    """Yield the planned times strictly after `after` (aware), in order, until the schedule is completed."""
    found = next_occurrence(schedule, after)
    while found is not None:
        yield found
        found = next_occurrence(schedule, found.at)


def first_occurrence(schedule: Schedule, now: datetime) -> Occurrence | None:
    """Return what a new job waits for: the first planned time after `now`, or a `once` job's time even if it is past.

    A `once` time that has just gone by is for the misfire rule to judge; recurrences never fire the past.
    """
    return next_occurrence(schedule, _EVER if schedule.schedule_type == "once" else now)


def _following(schedule: Schedule, after: datetime) -> Occurrence | None:
    if after >= _HORIZON:
        return None
    match schedule.schedule_type:
        case "once":
            return _once(schedule, after)
        case "recurring" if schedule.frequency == "hourly":
            return _hourly(schedule, after)
        case "recurring":
            return _fixed(_recurrence(schedule), zones.zone(schedule.timezone), after)
        case "cron":
            return _cron(schedule, after)


def _once(schedule: Schedule, after: datetime) -> Occurrence | None:
    if schedule.start_date is None:
        raise ValueError("a once schedule needs start_date")
    return Occurrence(schedule.start_date) if schedule.start_date > after else None


def _hourly(schedule: Schedule, after: datetime) -> Occurrence:
    """Count real hours: no change of clocks loses or repeats one."""
    step = timedelta(hours=schedule.interval)
    return Occurrence(schedule.anchor + ((after - schedule.anchor) // step + 1) * step)


def _cron(schedule: Schedule, after: datetime) -> Occurrence | None:
    if schedule.cron_expression is None:
        raise ValueError("a cron schedule needs cron_expression")
    expression = grammar.normalise(schedule.cron_expression)
    mapping = _wall_clock if grammar.follows_wall_clock(expression) else _fixed
    return mapping(lambda wall: calendars.cron(expression, wall), zones.zone(schedule.timezone), after)


def _recurrence(schedule: Schedule) -> Calendar:
    interval, at = schedule.interval, schedule.time_of_day
    anchor = zones.local_day(schedule.anchor, zones.zone(schedule.timezone))
    match schedule:
        case _ if at is None:
            raise ValueError(f"a {schedule.frequency} schedule needs time_of_day")
        case _ if schedule.frequency == "daily":
            return lambda wall: calendars.daily(anchor, interval, at, wall)
        case _ if schedule.frequency == "weekly" and schedule.days_of_week:
            return lambda wall: calendars.weekly(anchor, interval, schedule.days_of_week, at, wall)
        case _ if schedule.frequency == "monthly" and (day := schedule.day_of_month) is not None:
            return lambda wall: calendars.monthly(anchor, interval, day, at, wall)
        case _:
            raise ValueError(f"a {schedule.frequency} schedule needs its days")


def _fixed(calendar: Calendar, tz: ZoneInfo, after: datetime) -> Occurrence | None:
    # Mapping a wall time to its first instant never goes back, and the clock has shown, or jumped over, every wall time
    # up to the present one: nothing before it can still come. What follows may lie in the past only inside a fold.
    for wall in calendar(zones.wall_of(after, tz)):
        planned = _fixed_time(wall, tz)
        if planned.at > after:
            return planned
    return None


def _fixed_time(wall: Wall, tz: ZoneInfo) -> Occurrence:
    readings = zones.instants(wall.at, tz)
    if not readings:
        return Occurrence(zones.gap_end(wall.at, tz), "gap_moved")
    if len(readings) > 1:
        return Occurrence(readings[0], "fold_first")
    return Occurrence(readings[0], "month_end" if wall.month_end else None)


def _wall_clock(calendar: Calendar, tz: ZoneInfo, after: datetime) -> Occurrence | None:
    turn = zones.fold_turn(after, tz)
    if turn is not None:
        # The first pass of a fold: what is left of it comes before what the clock then shows again.
        first = _shown(calendar, tz, after, zones.wall_of(after, tz))
        if first is not None and first.at < turn:
            return first
        return _shown(calendar, tz, turn - _SECOND, zones.wall_of(turn, tz) - _SECOND)
    return _shown(calendar, tz, after, zones.wall_of(after, tz))


def _shown(calendar: Calendar, tz: ZoneInfo, after: datetime, wall: datetime) -> Occurrence | None:
    """Return the first instant strictly after `after` at which the clock shows a time of the calendar after `wall`."""
    for candidate in calendar(wall):
        readings = zones.instants(candidate.at, tz)
        for index, reading in enumerate(readings):
            if reading > after:
                return Occurrence(reading, None if len(readings) == 1 else ("fold_first", "fold_second")[index])
    return None
