"""Planned times around every kind of change of clocks that the zone files know from 2000 to 2037."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schedule import definition, zones
from engine.schedule.definition import Schedule
from engine.schedule.grammar import follows_wall_clock
from engine.schedule.occurrences import Occurrence, next_occurrence, next_planned, occurrences
from tests.effort import some
from tests.unit.schedule.making import at, cron
from tests.unit.schedule.walking import (
    DAY,
    HOUR,
    MINUTE,
    Change,
    changes,
    cron_names,
    planned,
    recurrence_names,
    steps,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.schedule.definition import Frequency, MonthEnd

GAPS, FOLDS, MONTH_ENDS = (get_args(policy) for policy in (definition.DstGap, definition.DstFold, definition.MonthEnd))


class Case(NamedTuple):
    """A schedule and a stretch of real time around a change of its zone's clocks."""

    schedule: Schedule
    start: datetime
    end: datetime

    @property
    def found(self) -> list[Occurrence]:
        return planned(self.schedule, self.start, self.end)

    @property
    def expected(self) -> list[Occurrence]:
        way = steps(self.schedule.timezone, self.start, self.end)
        if self.schedule.cron_expression is None:
            return walk(way, recurrence_names(self.schedule), follows_wall_clock=False, schedule=self.schedule)
        expression = self.schedule.cron_expression
        wild = follows_wall_clock(expression)
        return walk(way, cron_names(expression), follows_wall_clock=wild, schedule=self.schedule)


def around(schedule: Schedule, change: Change) -> Case:
    """Return the case of a schedule and the hours before and after a change of clocks."""
    room = 5 * HOUR + abs(change.size)
    return Case(schedule, change.at - room, change.at + room)


def wall_before(name: str, change: Change) -> datetime:
    """Return what the clock shows in the minute before it changes."""
    return zones.wall_of(change.at - MINUTE, zones.zone(name))


@st.composite
def changes_of_clocks(draw: st.DrawFn) -> tuple[str, Change]:
    name = draw(st.sampled_from(sorted(changes())))
    return name, draw(st.sampled_from(changes()[name]))


@st.composite
def wall_times(draw: st.DrawFn, name: str, change: Change) -> datetime:
    """Draw a wall time that the change leaves out or repeats, or one as near to it."""
    reach = abs(change.size) // MINUTE + 1
    return wall_before(name, change) + MINUTE * draw(st.integers(-reach, reach))


@st.composite
def crons(draw: st.DrawFn, first: datetime, second: datetime) -> str:
    minute = draw(st.sampled_from((f"{first.minute}", f"{first.minute},{second.minute}", "*/20", "7-59/13")))
    hour = draw(st.sampled_from((f"{first.hour}", f"{first.hour},{second.hour}", "*", "*/2", "0-23")))
    days = draw(st.sampled_from(("* * *", f"{first.day} * *", f"* {first.month} *", f"* * {first.isoweekday() % 7}")))
    return f"{minute} {hour} {days}"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    frequency: Frequency | Literal["cron"] = draw(st.sampled_from(("cron", "cron", "daily", "weekly", "monthly")))
    name, change = draw(changes_of_clocks())
    first, second = draw(wall_times(name, change)), draw(wall_times(name, change))
    policies: dict[str, Any] = {
        "timezone": name,
        "dst_gap": draw(st.sampled_from(GAPS)),
        "dst_fold": draw(st.sampled_from(FOLDS)),
        "month_end": draw(st.sampled_from(MONTH_ENDS)),
    }
    if frequency == "cron":
        expression = draw(crons(first, second))
        return around(
            Schedule(schedule_type="cron", cron_expression=expression, anchor=at("1999-01-01"), **policies), change
        )
    interval = draw(st.integers(1, 3))
    unit = {"daily": DAY, "weekly": 7 * DAY}.get(frequency)
    back = DAY * draw(st.integers(1, 400)) if unit is None else unit * interval * draw(st.integers(1, 60))
    schedule = Schedule(
        schedule_type="recurring",
        frequency=frequency,
        interval=interval if unit else 1,
        anchor=change.at - back,
        time_of_day=first.time(),
        days_of_week=tuple(sorted({first.isoweekday() % 7, second.isoweekday() % 7})),
        day_of_month=draw(st.sampled_from((first.day, 31, 30, "last"))),
        **policies,
    )
    return around(schedule, change)


@settings(max_examples=some(400), deadline=None)
@given(case=cases())
def test_every_minute_of_real_time_agrees(case: Case) -> None:
    """No time is lost or doubled, and each policy is kept: a walk over the minutes finds the same times and notes."""
    assert case.found == case.expected


@settings(max_examples=some(250), deadline=None)
@given(case=cases(), data=st.data())
def test_the_next_time_is_the_same_from_wherever_one_asks(case: Case, data: st.DataObject) -> None:
    found = case.found
    seconds = st.integers(0, int((case.end - case.start).total_seconds()))
    drawn = data.draw(st.lists(seconds.map(lambda count: case.start + timedelta(seconds=count)), max_size=5))
    edges = [one.at + timedelta(microseconds=shift) for one in found[:20] for shift in (-1, 0, 1)]
    for moment in (*drawn, *(edge for edge in edges if edge >= case.start)):
        following = next((one for one in found if one.at > moment), None)
        asked = next_planned(case.schedule, moment)
        assert asked == following or (following is None and (asked is None or asked.at > case.end))


@settings(max_examples=some(250), deadline=None)
@given(case=cases())
def test_times_strictly_increase_and_what_fires_is_what_is_planned_and_not_skipped(case: Case) -> None:
    found = case.found
    assert all(earlier.at < later.at for earlier, later in pairwise(found))
    fires = [one for one in found if not one.skipped]
    asked = occurrences(case.schedule, case.start)
    assert [one for one, _ in zip(asked, fires, strict=False)] == fires
    if found:
        assert next_occurrence(case.schedule, case.start) == next(iter(occurrences(case.schedule, case.start)))


def in_changes_at_month_ends() -> Iterator[tuple[str, Change, datetime]]:
    """Return each wall time that a change touches on the last day of a month without a 31st: one for each change."""
    for name, known in changes().items():
        for change in known:
            before = wall_before(name, change)
            touched = before + change.size / 2 // MINUTE * MINUTE
            if (touched + DAY).day == 1 and touched.day < 31:
                yield name, change, touched


@pytest.mark.parametrize("month_end", MONTH_ENDS)
def test_a_short_month_that_ends_with_a_change_of_clocks_keeps_both_policies(month_end: MonthEnd) -> None:
    met = set()
    for name, change, touched in in_changes_at_month_ends():
        for gap, fold in ((GAPS[0], FOLDS[0]), (GAPS[1], FOLDS[1])):
            schedule = Schedule(
                schedule_type="recurring",
                frequency="monthly",
                day_of_month=31,
                time_of_day=touched.time(),
                timezone=name,
                anchor=at("1999-01-01"),
                dst_gap=gap,
                dst_fold=fold,
                month_end=month_end,
            )
            case = around(schedule, change)
            assert case.found == case.expected, (name, change)
            met |= {(one.note, one.skipped) for one in case.found}
    by_clocks = {("gap_moved", None), ("gap_moved", "dst_skipped"), ("fold_first", None), ("fold_second", None)}
    by_month = {("gap_moved", "month_end_skipped"), ("fold_first", "month_end_skipped")}
    assert met == (by_clocks if month_end == "last_day" else by_month)


@settings(max_examples=some(150), deadline=None)
@given(drawn=changes_of_clocks(), interval=st.integers(1, 5), minutes=st.integers(0, 59))
def test_hourly_counts_real_hours_through_every_change(drawn: tuple[str, Change], interval: int, minutes: int) -> None:
    name, change = drawn
    anchor = change.at - DAY - MINUTE * minutes
    hourly = Schedule(schedule_type="recurring", frequency="hourly", interval=interval, timezone=name, anchor=anchor)
    found = planned(hourly, anchor, change.at + DAY)
    assert [one.at for one in found] == [anchor + HOUR * interval * count for count in range(1, len(found) + 1)]
    assert found[-1].at > change.at + DAY - HOUR * interval


def some_of_each_zone() -> Iterator[tuple[str, Change]]:
    """Choose a gap and a fold of each zone."""
    for name, known in changes().items():
        chosen = random.Random(name)  # noqa: S311 - the same in each run
        for forward in (True, False):
            those = [change for change in known if (change.size > timedelta(0)) == forward]
            if those:
                yield name, chosen.choice(those)


@pytest.mark.parametrize(
    ("expression", "policies"),
    [
        ("*/30 * * * *", {}),
        ("15,45 0-4,22,23 * * *", {}),
        ("0,30 0-4,22,23 * * *", {"dst_gap": "skip", "dst_fold": "both"}),
    ],
)
def test_no_zone_is_an_exception(expression: str, policies: dict[str, Any]) -> None:
    met = set()
    for name, change in some_of_each_zone():
        case = around(cron(expression, name, **policies), change)
        assert case.found == case.expected, (name, change)
        met.add(name)
    assert met == set(changes())
    assert len(met) > 300


def test_the_zones_have_gaps_and_folds_of_many_sizes() -> None:
    sizes = {change.size for known in changes().values() for change in known}
    assert {30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, DAY, -30 * MINUTE, -HOUR, -2 * HOUR, -3 * HOUR} <= sizes
