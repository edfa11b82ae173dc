"""Planned times: from a definition to UTC instants, strictly increasing, through every change of clocks.

Expand the calendar on naive wall time, then map to instants. A *fixed time* happens once: in a gap at the instant the
gap ends, in a fold the first time, or as the schedule's policies say. A cron whose minute or hour field begins with `*`
*follows the wall clock*: what a gap leaves out is dropped, what a fold repeats happens twice.

Next times are remembered by calendar and moment, so that jobs of one definition share the work.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from engine.schedule import calendars, crons, zones
from engine.schedule.wall import HORIZON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from engine.schedule.calendars import Calendar
    from engine.schedule.definition import DstFold, DstGap, MonthEnd, Schedule
    from engine.schedule.wall import Wall

Note = Literal["gap_moved", "fold_first", "fold_second", "month_end"]
Skipped = Literal["dst_skipped", "month_end_skipped"]

_HORIZON: Final = HORIZON.replace(tzinfo=UTC)
_EVER: Final = datetime.min.replace(tzinfo=UTC)
_INSTANT: Final = timedelta(microseconds=1)
_SECOND: Final = timedelta(seconds=1)
_REMEMBERED: Final = 8192


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
    if schedule.start_date is not None and after < schedule.start_date:
        after = schedule.start_date - _INSTANT
    found = _following(schedule, after)
    if found is None or (schedule.end_date is not None and found.at > schedule.end_date):
        return None
    return found


def occurrences(schedule: Schedule, after: datetime) -> Iterator[Occurrence]:
    """Yield the times strictly after `after` (aware) at which the schedule fires, in order, until it is completed."""
    found = next_occurrence(schedule, after)
    while found is not None:
        yield found
        found = next_occurrence(schedule, found.at)


def first_occurrence(schedule: Schedule, now: datetime) -> Occurrence | None:
    """Return what a new job waits for: the first time it fires after `now`, or a `once` job's even if it is past.

    A `once` time that has just gone by is for the misfire rule to judge; recurrences never fire the past.
    """
    return next_occurrence(schedule, _EVER if schedule.schedule_type == "once" else now)


def _following(schedule: Schedule, after: datetime) -> Occurrence | None:
    if after >= _HORIZON:
        return None
    if schedule.schedule_type == "once":
        return _once(schedule, after)
    if schedule.frequency == "hourly":
        return _hourly(schedule, after)
    policies = schedule.dst_gap, schedule.dst_fold, schedule.month_end
    return _remembered(calendars.of(schedule), schedule.timezone, *policies, after)


def _once(schedule: Schedule, after: datetime) -> Occurrence | None:
    if schedule.start_date is None:
        raise ValueError("a once schedule needs start_date")
    return Occurrence(schedule.start_date) if schedule.start_date > after else None


def _hourly(schedule: Schedule, after: datetime) -> Occurrence:
    """Count real hours: no change of clocks loses or repeats one."""
    step = timedelta(hours=schedule.interval)
    return Occurrence(schedule.anchor + ((after - schedule.anchor) // step + 1) * step)


@functools.lru_cache(maxsize=_REMEMBERED, typed=True)
def _remembered(
    calendar: Calendar, timezone: str, dst_gap: DstGap, dst_fold: DstFold, month_end: MonthEnd, after: datetime
) -> Occurrence | None:
    """Return the next planned time by all that it depends on: whose job it is does not matter."""
    follows = isinstance(calendar, crons.Cron) and calendar.follows_wall_clock
    mapping = _WALL_CLOCK if follows else _Mapping(dst_gap, dst_fold, month_end)
    return _first_after(after, calendar, zones.zone(timezone), mapping)


class _Mapping(NamedTuple):
    """What becomes of a wall time that does not exist, that exists twice, or whose day its month lacks."""

    gap: DstGap | Literal["drop"]
    fold: DstFold
    month_end: MonthEnd


_WALL_CLOCK: Final = _Mapping("drop", "both", "last_day")


def _first_after(after: datetime, calendar: Calendar, tz: ZoneInfo, mapping: _Mapping) -> Occurrence | None:
    # The clock has shown, or jumped over, every wall time up to the present one: an earlier one can still come only
    # in the first pass of a fold, and only where both readings count. Then what the first pass still shows comes first.
    found = _first(after, calendar.after(zones.wall_of(after, tz)), tz, mapping)
    turn = zones.fold_turn(after, tz) if mapping.fold == "both" else None
    if turn is None or (found is not None and found.at < turn):
        return found
    return _first(turn - _SECOND, calendar.after(zones.wall_of(turn, tz) - _SECOND), tz, mapping)


def _first(after: datetime, walls: Iterator[Wall], tz: ZoneInfo, mapping: _Mapping) -> Occurrence | None:
    """Return the first planned time; of several at one instant, one that fires before one that is skipped."""
    held: Occurrence | None = None
    for wall in walls:
        for found in _instants(wall, tz, mapping):
            if found.at <= after:
                continue
            if held is not None and found.at > held.at:
                return held
            if not found.skipped:
                return found
            held = held or found
    return held


def _instants(wall: Wall, tz: ZoneInfo, mapping: _Mapping) -> tuple[Occurrence, ...]:
    """Return the planned times of one wall time; a month that lacks the day plans it once."""
    lacks: Skipped | None = "month_end_skipped" if wall.month_end and mapping.month_end == "skip" else None
    match zones.instants(wall.at, tz):
        case (only,):
            return (Occurrence(only, "month_end" if wall.month_end else None, lacks),)
        case (first, second):
            once = Occurrence(first, "fold_first", lacks)
            return (once, Occurrence(second, "fold_second")) if mapping.fold == "both" and not lacks else (once,)
        case _ if mapping.gap == "drop":
            return ()
        case _:
            skipped: Skipped | None = lacks or ("dst_skipped" if mapping.gap == "skip" else None)
            return (Occurrence(zones.gap_end(wall.at, tz), "gap_moved", skipped),)
