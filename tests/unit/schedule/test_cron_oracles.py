"""Cron against two independent oracles: cronsim on plain calendars, and a walk over every minute of real time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schedule import grammar, zones
from engine.schedule.occurrences import next_occurrence
from tests.effort import some
from tests.unit.schedule.making import AWKWARD_ZONES, at, cron, take

EXPRESSIONS = (
    "* * * * *",
    "*/7 * * * *",
    "0 * * * *",
    "5/20 * * * *",
    "0,30 */2 * * *",
    "15 3 * * *",
    "30 9-17 * * 1-5",
    "10-50/20 8-18/5 * * mon,wed,fri",
    "0 0 1 * *",
    "0 0 L * *",
    "0 12 L 2 *",
    "59 23 31 12 *",
    "0 0 31 * *",
    "0 0 30 * *",
    "0 0 29 2 *",
    "0 6 13 * 5",  # either day is enough
    "0 6 */2 * 1",  # both must hold: the field begins with a star
    "0 6 1-7 * */2",
    "0 6 1-31 * 1",  # not a star, so either
    "0 0 * * 7",
    "0 0 * * 0",
    "0 0 * * 5-7",
    "0 0 * * 1-7/3",
    "0 0 * * sun",
    "0 4 1 jan,jul *",
    "0 4 1 1-12/5 *",
    "1,2,3,57 0,23 15,L 6 *",
    "*/90 * * * *",
    "0 8 * 11 thu",
    "45 23 28-31 * *",
)
STARTS = ("2023-12-31T23:59", "2024-02-28T23:30", "2026-07-15T12:34:56", "2099-12-30T00:00")


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_cron_in_utc_fires_when_cronsim_says(expression: str) -> None:
    assert grammar.problems(expression) == []
    for start in STARTS:
        oracle = CronSim(expression, at(start))
        for found in take(cron(expression), start, 12):
            assert found.at == next(oracle)
            assert found.note is None


fields = st.tuples(
    *(
        st.one_of(
            st.just("*"),
            st.integers(1, high).map("*/{}".format),
            st.lists(st.integers(low, high), min_size=1, max_size=3).map(lambda values: ",".join(map(str, values))),
            st.tuples(st.integers(low, high), st.integers(low, high), st.integers(1, 5))
            .filter(lambda drawn: drawn[0] < drawn[1])
            .map(lambda drawn: f"{drawn[0]}-{drawn[1]}/{drawn[2]}"),
        )
        for low, high in ((0, 59), (0, 23), (1, 28), (1, 12), (0, 6))
    )
)
moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2037, 1, 1)).map(  # noqa: DTZ001 - made aware next
    lambda moment: moment.replace(tzinfo=UTC)
)


@settings(max_examples=some(60), deadline=None)
@given(parts=fields, after=moments)
def test_any_generated_cron_fires_when_cronsim_says(parts: tuple[str, ...], after: datetime) -> None:
    expression = " ".join(parts)
    oracle = CronSim(expression, after)
    for found in take(cron(expression), after, 5):
        assert found.at == next(oracle)


WINDOWS = (
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("Antarctica/Troll", "2026-03-29"),
    ("Antarctica/Troll", "2026-10-25"),
    ("Pacific/Apia", "2011-12-30"),
    ("Pacific/Chatham", "2026-04-05"),
    ("America/St_Johns", "2010-11-07"),  # the clocks turned at 00:01
    ("America/Sao_Paulo", "2018-11-04"),
    ("America/Havana", "2026-11-01"),
    ("Africa/Casablanca", "2026-02-15"),
    ("Asia/Pyongyang", "2018-05-05"),
    ("America/Caracas", "2016-05-01"),
)
WALL_CLOCK = ("*/30 * * * *", "0 * * * *", "* 1-2 * * *", "7,37 */2 * * *", "*/20 0-3 * * *", "15 * * * 0,1")


def minutes(day: str) -> list[datetime]:
    """Return every minute of three days of real time around a change of clocks."""
    start = at(day) - timedelta(days=1)
    return [start + timedelta(minutes=minute) for minute in range(3 * 24 * 60)]


def matching(expression: str, first: datetime, last: datetime) -> set[datetime]:
    """Return the wall times from `first` to `last` (naive) that the expression names."""
    oracle = CronSim(expression, first - timedelta(minutes=1))
    return set(takewhile(lambda wall: wall <= last, oracle))


@pytest.mark.parametrize(("name", "day"), WINDOWS)
def test_a_wildcard_cron_fires_at_every_minute_whose_wall_time_matches(name: str, day: str) -> None:
    tz, walk = zones.zone(name), minutes(day)
    walls = [zones.wall_of(minute, tz) for minute in walk]
    for expression in WALL_CLOCK:
        named = matching(expression, min(walls), max(walls))
        expected = [minute for minute, wall in zip(walk, walls, strict=True) if wall in named]
        found = take(cron(expression, name), walk[0] - timedelta(seconds=1), len(expected))
        assert [occurrence.at for occurrence in found] == expected, expression


@pytest.mark.parametrize(("name", "day"), WINDOWS)
def test_the_next_time_is_the_same_from_every_moment_before_it(name: str, day: str) -> None:
    for expression in ("*/30 * * * *", "30 1,2 * * *"):
        schedule = cron(expression, name)
        walk = minutes(day)[::11]
        planned = take(schedule, walk[0], 200)
        for moment in walk:
            assert next_occurrence(schedule, moment) == next(one for one in planned if one.at > moment)


FIXED = ("30 1 * * *", "30 2 * * *", "0,15,30,45 0,1,2,3 * * *", "5 0-23 * * *")


@pytest.mark.parametrize(("name", "day"), WINDOWS)
def test_a_fixed_cron_fires_once_for_each_wall_time_it_names(name: str, day: str) -> None:
    tz, start = zones.zone(name), at(day) - timedelta(days=2)
    for expression in FIXED:
        expected: set[datetime] = set()
        oracle = CronSim(expression, zones.wall_of(start, tz))
        while (wall := next(oracle)) < zones.wall_of(start, tz) + timedelta(days=4):
            first = wall.replace(tzinfo=tz)
            while zones.wall_of(first.astimezone(UTC), tz) != wall.replace(tzinfo=None):
                wall = (wall + timedelta(seconds=30)).replace(tzinfo=None)  # out of the gap
                first = wall.replace(tzinfo=tz)
            expected.add(first.astimezone(UTC))
        found = take(cron(expression, name), start, len(expected))
        assert [occurrence.at for occurrence in found] == sorted(expected), expression


@settings(max_examples=some(150), deadline=None)
@given(
    expression=st.sampled_from((*EXPRESSIONS, *WALL_CLOCK, *FIXED)), name=st.sampled_from(AWKWARD_ZONES), after=moments
)
def test_planned_times_strictly_increase(expression: str, name: str, after: datetime) -> None:
    found = [after, *(occurrence.at for occurrence in take(cron(expression, name), after, 8))]
    assert all(earlier < later for earlier, later in pairwise(found))
    assert len(found) == 9
