"""Where work will come due, counted by the minute: what jitter does to it, what is left out, what piles up."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.schedule.definition import Schedule
from engine.schedule.load import Alike, Load, by_day, expand, explain, peaks, usual

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = 60
ORG = UUID(int=1)


def cron(expression: str, timezone: str = "UTC") -> Schedule:
    return Schedule(schedule_type="cron", anchor=START, cron_expression=expression, timezone=timezone)


def counted(*groups: Alike, hours: int = 24, limit: int = 10_000) -> tuple[Load, list[float]]:
    load = Load(START, hours * HOUR)
    expand(load, groups, limit)
    return load, load.closed()


def test_jobs_of_one_definition_are_counted_at_each_of_its_minutes() -> None:
    _, minutes = counted(Alike(cron("30 * * * *"), 7))
    assert [i for i, jobs in enumerate(minutes) if jobs] == [hour * HOUR + 30 for hour in range(24)]
    assert sum(minutes) == 24 * 7


def test_jitter_spreads_a_time_evenly_over_its_seconds() -> None:
    _, minutes = counted(Alike(cron("0 9 * * *"), 600, jitter_seconds=150))
    assert minutes[9 * HOUR : 9 * HOUR + 4] == pytest.approx([240, 240, 120, 0])


@given(st.floats(-4000, 90_000), st.integers(0, 3600))
def test_jitter_loses_no_job_but_those_outside_of_the_period(seconds: float, jitter: int) -> None:
    load = Load(START, 24 * HOUR)
    seconds = timedelta(seconds=seconds).total_seconds()  # times have no more than microseconds
    load.add(START + timedelta(seconds=seconds), 10, jitter)
    low, high = max(seconds, 0.0), min(seconds + jitter, 86_400.0)
    inside = max(0.0, high - low) / jitter if jitter else float(0 <= seconds < 86_400)
    minutes = load.closed()
    assert sum(minutes) == pytest.approx(10 * inside, abs=1e-3)
    assert min(minutes) >= -1e-6


def test_what_was_planned_before_the_period_may_start_within_it() -> None:
    _, minutes = counted(Alike(cron("45 23 * * *"), 100, jitter_seconds=3600), hours=1)
    assert sum(minutes) == pytest.approx(75)


def test_the_bound_leaves_out_the_smallest_groups_and_counts_their_jobs() -> None:
    groups = Alike(cron("0 * * * *"), 9), Alike(cron("5 * * * *"), 5), Alike(cron("6 * * * *"), 3)
    load, minutes = counted(*groups, limit=30)
    assert load.left_out == 5 + 3
    assert sum(minutes) == 24 * 9 + 6 * 5
    assert counted(*groups, limit=72)[0].left_out == 0


def test_a_minute_of_many_more_jobs_than_usual_piles_up() -> None:
    _, minutes = counted(Alike(cron("*/5 * * * *"), 20), Alike(cron("0 9 * * *"), 500), Alike(cron("0 10 * * *"), 900))
    assert peaks(minutes) == [10 * HOUR, 9 * HOUR]
    assert usual(minutes) < 10


def test_an_even_load_and_a_small_one_have_no_pile_up() -> None:
    assert peaks(counted(Alike(cron("* * * * *"), 5000))[1]) == []
    assert peaks(counted(Alike(cron("0 9 * * *"), 99))[1]) == []
    assert peaks([]) == []


def test_jitter_takes_a_pile_up_away() -> None:
    _, minutes = counted(Alike(cron("*/5 * * * *"), 200), Alike(cron("0 9 * * *"), 3000, jitter_seconds=1800))
    assert peaks(minutes) == []


def test_a_pile_up_names_the_definitions_and_orgs_of_most_jobs() -> None:
    many = Alike(cron("0 9 * * *"), 500, orgs=((ORG, 300), (UUID(int=2), 200)))
    few = Alike(cron("0 * * * *"), 50, orgs=((UUID(int=2), 50),))
    other = Alike(cron("30 * * * *"), 900)
    load, minutes = counted(few, many, other)
    found = explain(load, 9 * HOUR, minutes[9 * HOUR], [few, many, other])
    assert (found.minute, found.jobs) == (START + timedelta(hours=9), 550)
    assert found.orgs == ((ORG, 300), (UUID(int=2), 250))
    assert found.alike == (many, few)


def test_hours_are_those_of_the_zone_and_a_repeated_hour_holds_both() -> None:
    load = Load(datetime(2026, 10, 24, 22, tzinfo=UTC), 25 * HOUR)
    expand(load, [Alike(cron("0 * * * *"), 1)])
    days = by_day(load, load.closed(), "Europe/Berlin")
    assert list(days) == [date(2026, 10, 25)]
    assert days[date(2026, 10, 25)] == [1, 1, 2, *[1] * 21]
