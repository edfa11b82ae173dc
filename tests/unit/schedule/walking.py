"""A second reading of the rules: a walk over every minute of real time. It shares the zone files with the engine."""

from __future__ import annotations

import calendar
import functools
from collections import Counter
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from cronsim import CronSim

from engine.schedule import zones
from engine.schedule.occurrences import Occurrence, next_planned

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

    from engine.schedule.definition import Schedule
    from engine.schedule.occurrences import Note, Skipped

    Names = Callable[[datetime], bool | Literal["month_end"]]
    """Whether a definition names a wall time; "month_end": for a day that the month lacks."""

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)


class Change(NamedTuple):
    """One change of clocks: the instant, and by how much the clock jumps."""

    at: datetime
    size: timedelta


class Step(NamedTuple):
    """One minute of real time, and what the clock shows."""

    instant: datetime
    wall: datetime
    left_out: tuple[datetime, ...]
    """The wall times that the clock has just jumped over."""
    reading: Note | None
    """Which of two it is, where the clock shows the same twice."""


@functools.cache
def changes() -> dict[str, tuple[Change, ...]]:
    """Return every change of clocks from 2000 to 2037 of each zone that has one, by its name."""
    files = {name: _content(name) for name in sorted(zones.names())}
    one_name = {content: name for name, content in files.items()}  # many names share a file
    found = {content: _changes(zones.zone(name)) for content, name in one_name.items()}
    return {name: found[content] for name, content in files.items() if found[content]}


def _content(name: str) -> bytes:
    return (resources.files("tzdata") / "zoneinfo").joinpath(*name.split("/")).read_bytes()


def _changes(tz: ZoneInfo) -> tuple[Change, ...]:
    """Look at every fifth day (no zone changes its clocks twice within six), then halve down to the minute."""
    days = [FIRST + 5 * DAY * count for count in range((LAST - FIRST) // (5 * DAY) + 2)]
    offsets = [_offset(tz, day) for day in days]
    around = zip(pairwise(days), pairwise(offsets), strict=True)
    found = [_change(tz, *both) for both, (before, after) in around if before != after]
    return tuple(change for change in found if change.at < LAST)


def _change(tz: ZoneInfo, low: datetime, high: datetime) -> Change:
    before, after = _offset(tz, low), _offset(tz, high)
    while high - low > MINUTE:
        middle = low + (high - low) // 2 // MINUTE * MINUTE
        low, high = (low, middle) if _offset(tz, middle) == after else (middle, high)
    return Change(high, after - before)


def _offset(tz: ZoneInfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(tz).utcoffset()
    assert offset is not None
    return offset


@functools.lru_cache(maxsize=1024)
def steps(name: str, start: datetime, end: datetime) -> tuple[Step, ...]:
    """Return every minute from `start` to `end`. Gaps and folds must lie between as a whole."""
    tz = zones.zone(name)
    instants = [start + MINUTE * count for count in range((end - start) // MINUTE + 1)]
    walls = [instant.astimezone(tz).replace(tzinfo=None, fold=0) for instant in instants]
    shown, seen, found = Counter(walls), set[datetime](), list[Step]()
    for instant, wall, before in zip(instants, walls, [walls[0], *walls], strict=False):
        left_out = tuple(before + MINUTE * count for count in range(1, (wall - before) // MINUTE))
        reading: Note | None = None if shown[wall] == 1 else "fold_second" if wall in seen else "fold_first"
        seen.add(wall)
        found.append(Step(instant, wall, left_out, reading))
    return tuple(found)


def cron_names(expression: str) -> Names:
    """Return what a cron names, as cronsim reads its fields."""
    sim = CronSim(expression, datetime(2000, 1, 1))  # noqa: DTZ001 - fields alone are read

    def names(wall: datetime) -> bool:
        at_time = wall.minute in sim.minutes and wall.hour in sim.hours
        return at_time and wall.month in sim.months and sim.match_day(wall.date())

    return names


def recurrence_names(schedule: Schedule) -> Names:
    """Return what a recurrence with a time of day names."""
    anchor = schedule.anchor.astimezone(zones.zone(schedule.timezone)).date()
    monday = anchor - DAY * anchor.weekday()

    def names(wall: datetime) -> bool | Literal["month_end"]:
        if wall.time() != schedule.time_of_day:
            return False
        match schedule.frequency:
            case "daily":
                return (wall.date() - anchor).days % schedule.interval == 0
            case "weekly":
                weeks = (wall.date() - monday).days // 7
                return weeks % schedule.interval == 0 and wall.isoweekday() % 7 in schedule.days_of_week
        last = calendar.monthrange(wall.year, wall.month)[1]
        wanted = last if schedule.day_of_month in {None, "last"} else int(str(schedule.day_of_month))
        months = (wall.year - anchor.year) * 12 + wall.month - anchor.month
        here = months % schedule.interval == 0 and wall.day == min(wanted, last)
        return "month_end" if here and wanted > last else here

    return names


def walk(way: tuple[Step, ...], names: Names, *, follows_wall_clock: bool, schedule: Schedule) -> list[Occurrence]:
    """Return the planned times of a way, but for its first minute."""
    both = follows_wall_clock or schedule.dst_fold == "both"
    found = []
    for instant, wall, left_out, reading in way[1:]:
        moved = [] if follows_wall_clock else [named for one in left_out if (named := names(one))]
        there = [_in_gap(instant, named, schedule) for named in moved]
        named = names(wall)
        if named and (reading != "fold_second" or (both and not _lacks(named, schedule))):
            note: Note | None = "month_end" if named == "month_end" else None
            there.append(Occurrence(instant, reading or note, _lacks(named, schedule)))
        found += sorted(there, key=lambda one: one.skipped is not None)[:1]  # of several the one that fires
    return found


def _in_gap(instant: datetime, named: bool | Literal["month_end"], schedule: Schedule) -> Occurrence:  # noqa: FBT001
    skipped = _lacks(named, schedule) or ("dst_skipped" if schedule.dst_gap == "skip" else None)
    return Occurrence(instant, "gap_moved", skipped)


def _lacks(named: bool | Literal["month_end"], schedule: Schedule) -> Skipped | None:  # noqa: FBT001
    return "month_end_skipped" if named == "month_end" and schedule.month_end == "skip" else None


def planned(schedule: Schedule, after: datetime, end: datetime) -> list[Occurrence]:
    """Return the planned times after `after` up to `end`, stepping from one to the next."""
    found = list[Occurrence]()
    while (following := next_planned(schedule, found[-1].at if found else after)) and following.at <= end:
        found.append(following)
    return found
