from __future__ import annotations

import calendar
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schedule import zones
from engine.schedule.definition import Schedule
from engine.schedule.occurrences import first_occurrence, next_occurrence
from engine.schedule.wall import HORIZON
from tests.effort import some
from tests.unit.schedule.making import AWKWARD_ZONES, at, cron, notes, recurring, shown, take

NEW_YORK = "America/New_York"
BEFORE_BACK, BEFORE_FORWARD = "2026-10-31T12:00", "2026-03-07T12:00"


def test_a_daily_cron_in_the_repeated_hour_fires_once() -> None:
    found = take(cron("30 1 * * *", NEW_YORK), BEFORE_BACK, 2)
    assert shown(found) == ["2026-11-01 05:30", "2026-11-02 06:30"]
    assert notes(found) == ["fold_first", None]


def test_a_daily_cron_in_the_missing_hour_fires_when_the_gap_ends() -> None:
    found = take(cron("30 2 * * *", NEW_YORK), BEFORE_FORWARD, 2)
    assert shown(found) == ["2026-03-08 07:00", "2026-03-09 06:30"]
    assert notes(found) == ["gap_moved", None]


def test_several_fixed_times_in_one_gap_are_one_planned_time() -> None:
    found = take(cron("0,20,40 2,3 * * *", NEW_YORK), "2026-03-08T06:00", 3)
    assert shown(found) == ["2026-03-08 07:00", "2026-03-08 07:20", "2026-03-08 07:40"]
    assert notes(found) == ["gap_moved", None, None]


def test_a_daily_recurrence_is_a_fixed_time() -> None:
    forward = recurring("2026-03-01", frequency="daily", time_of_day="02:30", timezone=NEW_YORK)
    back = replace(forward, time_of_day=datetime(2026, 1, 1, 1, 30, tzinfo=UTC).time())
    assert shown(take(forward, BEFORE_FORWARD, 2)) == ["2026-03-08 07:00", "2026-03-09 06:30"]
    assert shown(take(back, BEFORE_BACK, 2)) == ["2026-11-01 05:30", "2026-11-02 06:30"]


@pytest.mark.parametrize("start", [BEFORE_FORWARD, BEFORE_BACK])
def test_hourly_loses_and_repeats_no_real_hour_where_clocks_change(start: str) -> None:
    hourly = recurring(f"{start}Z", frequency="hourly", timezone=NEW_YORK)
    wildcard = cron("0 * * * *", NEW_YORK)
    expected = [at(start) + timedelta(hours=hour) for hour in range(1, 49)]
    assert [found.at for found in take(hourly, start, 48)] == expected
    assert [found.at for found in take(wildcard, start, 48)] == expected


def test_the_repeated_hour_of_a_wildcard_cron_is_marked() -> None:
    found = take(cron("*/30 * * * *", NEW_YORK), "2026-11-01T04:30", 5)
    assert notes(found) == ["fold_first", "fold_first", "fold_second", "fold_second", None]


def test_every_few_hours_counts_from_the_anchor_and_does_not_drift() -> None:
    job = recurring("2026-03-01T00:10", frequency="hourly", interval=5)
    assert shown(take(job, "2026-03-01T23:00", 3)) == ["2026-03-02 01:10", "2026-03-02 06:10", "2026-03-02 11:10"]


def test_monthly_on_the_31st_is_the_last_day_of_shorter_months() -> None:
    job = recurring("2026-01-01", frequency="monthly", day_of_month=31, time_of_day="09:00")
    found = take(job, "2026-01-31T09:00", 4)
    assert shown(found) == ["2026-02-28 09:00", "2026-03-31 09:00", "2026-04-30 09:00", "2026-05-31 09:00"]
    assert notes(found) == ["month_end", None, "month_end", None]


def test_monthly_on_the_last_day_needs_no_note() -> None:
    job = recurring("2027-12-01", frequency="monthly", day_of_month="last", time_of_day="09:00")
    found = take(job, "2028-01-01", 3)
    assert shown(found) == ["2028-01-31 09:00", "2028-02-29 09:00", "2028-03-31 09:00"]
    assert notes(found) == [None, None, None]


def test_a_cron_on_the_31st_stays_cron_and_passes_shorter_months_over() -> None:
    assert shown(take(cron("0 9 31 * *"), "2026-01-31T09:00", 2)) == ["2026-03-31 09:00", "2026-05-31 09:00"]


def test_every_three_months_counts_from_the_anchors_month() -> None:
    job = recurring("2026-11-15", frequency="monthly", interval=3, day_of_month=1, time_of_day="00:00")
    assert shown(take(job, "2026-11-15", 3)) == ["2027-02-01 00:00", "2027-05-01 00:00", "2027-08-01 00:00"]


def test_every_two_weeks_on_monday_and_thursday_stays_on_its_weeks_over_a_year_end() -> None:
    job = recurring("2026-11-30", frequency="weekly", interval=2, days_of_week=[4, 1], time_of_day="09:00")
    days = [found.at.date().isoformat() for found in take(job, "2026-12-10", 6)]
    assert days == ["2026-12-14", "2026-12-17", "2026-12-28", "2026-12-31", "2027-01-11", "2027-01-14"]


def test_a_week_runs_from_monday_to_sunday() -> None:
    job = recurring("2026-03-04", frequency="weekly", interval=2, days_of_week=[0, 1], time_of_day="09:00")
    days = [found.at.date().isoformat() for found in take(job, "2026-03-04", 3)]
    assert days == ["2026-03-08", "2026-03-16", "2026-03-22"]


def test_every_second_day_counts_local_days() -> None:
    job = recurring("2026-03-01T20:00-05:00", frequency="daily", interval=2, timezone=NEW_YORK)
    assert shown(take(job, "2026-03-02T00:59", 5)) == [
        "2026-03-02 01:00",
        "2026-03-04 01:00",
        "2026-03-06 01:00",
        "2026-03-08 01:00",
        "2026-03-10 00:00",
    ]


def test_a_day_that_a_zone_left_out_moves_to_the_next() -> None:
    job = recurring("2011-12-01", frequency="daily", time_of_day="12:00", timezone="Pacific/Apia")
    found = take(job, "2011-12-29T20:00", 3)
    assert shown(found) == ["2011-12-29 22:00", "2011-12-30 10:00", "2011-12-30 22:00"]
    assert notes(found) == [None, "gap_moved", None]


def test_start_and_end_are_both_included() -> None:
    job = recurring("2026-03-02", frequency="daily", time_of_day="00:00", end_date="2026-03-04")
    assert shown(take(job, "2020-01-01", 9)) == ["2026-03-02 00:00", "2026-03-03 00:00", "2026-03-04 00:00"]


def test_a_cron_starts_with_its_start_date_itself() -> None:
    job = replace(cron("0 9 * * *"), start_date=at("2026-03-02T09:00"), end_date=at("2026-03-03T08:59"))
    assert shown(take(job, "2026-01-01", 9)) == ["2026-03-02 09:00"]


def test_once_fires_at_its_start_and_never_again() -> None:
    job = recurring("2026-03-02T09:00", schedule_type="once")
    assert shown(take(job, "2026-01-01", 9)) == ["2026-03-02 09:00"]
    assert next_occurrence(job, at("2026-03-02T09:00")) is None


def test_a_new_once_job_keeps_a_time_just_past_and_a_recurring_one_never_fires_the_past() -> None:
    once = recurring("2026-03-02T09:00", schedule_type="once")
    hourly = recurring("2026-03-02T09:00", frequency="hourly")
    now = at("2026-03-02T09:10")
    assert shown(filter(None, [first_occurrence(once, now)])) == ["2026-03-02 09:00"]
    assert shown(filter(None, [first_occurrence(hourly, now)])) == ["2026-03-02 10:00"]


@pytest.mark.parametrize(
    "schedule",
    [
        cron("* * * * *"),
        cron("30 2 * * *", NEW_YORK),
        recurring("2026-03-01", frequency="hourly"),
        recurring("2026-03-01", frequency="daily", interval=9999),
        recurring("2026-03-01", frequency="weekly"),
        recurring("2026-03-01", frequency="monthly", interval=12, day_of_month=29),
    ],
    ids=lambda schedule: f"{schedule.schedule_type} {schedule.frequency}",
)
def test_the_end_of_all_times_is_an_end_and_not_an_error(schedule: Schedule) -> None:
    assert next_occurrence(schedule, HORIZON.replace(tzinfo=UTC)) is None


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "* * 31 4 */7"])
def test_an_expression_that_never_fires_ends(expression: str) -> None:
    assert next_occurrence(cron(expression), at("2026-01-01")) is None


starts = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2037, 1, 1)).map(  # noqa: DTZ001 - made aware next
    lambda moment: moment.replace(tzinfo=UTC, microsecond=0)
)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    anchor = draw(starts)
    return Schedule(
        schedule_type="recurring",
        frequency=draw(st.sampled_from(("hourly", "daily", "weekly", "monthly"))),
        interval=draw(st.integers(1, 5)),
        time_of_day=draw(st.times().map(lambda value: value.replace(microsecond=0))),
        days_of_week=tuple(sorted(draw(st.sets(st.integers(0, 6), min_size=1)))),
        day_of_month=draw(st.one_of(st.integers(1, 31), st.just("last"))),
        timezone=draw(st.sampled_from(AWKWARD_ZONES)),
        anchor=anchor,
        start_date=anchor,
    )


@settings(max_examples=some(150), deadline=None)
@given(schedule=schedules(), after=starts)
def test_recurrences_strictly_increase_and_never_precede_their_start(schedule: Schedule, after: datetime) -> None:
    found = [after, *(occurrence.at for occurrence in take(schedule, after, 8))]
    assert all(earlier < later for earlier, later in pairwise(found))
    assert len(found) == 9
    assert found[1] >= schedule.anchor


@settings(max_examples=some(150), deadline=None)
@given(schedule=schedules(), after=starts)
def test_what_comes_next_does_not_depend_on_where_one_asks_from(schedule: Schedule, after: datetime) -> None:
    first, second = take(schedule, after, 2)
    between = first.at + (second.at - first.at) / 2
    assert next_occurrence(schedule, first.at - timedelta(seconds=1)) == first
    assert next_occurrence(schedule, between) == second


@settings(max_examples=some(150), deadline=None)
@given(schedule=schedules(), after=starts)
def test_each_recurrence_is_one_of_the_days_that_its_definition_names(schedule: Schedule, after: datetime) -> None:
    tz = zones.zone(schedule.timezone)
    anchor = zones.local_day(schedule.anchor, tz)
    for occurrence in take(schedule, after, 6):
        wall = zones.wall_of(occurrence.at, tz)
        if schedule.frequency == "hourly":
            assert (occurrence.at - schedule.anchor) % timedelta(hours=schedule.interval) == timedelta(0)
            continue
        if occurrence.note == "gap_moved":
            continue
        assert wall.time() == schedule.time_of_day
        if schedule.frequency == "daily":
            assert (wall.date() - anchor).days % schedule.interval == 0
        elif schedule.frequency == "weekly":
            weeks = (wall.date() - anchor + timedelta(days=anchor.weekday())).days // 7
            assert weeks % schedule.interval == 0
            assert wall.isoweekday() % 7 in schedule.days_of_week
        else:
            months = (wall.year - anchor.year) * 12 + wall.month - anchor.month
            last = calendar.monthrange(wall.year, wall.month)[1]
            wanted = last if schedule.day_of_month in {None, "last"} else int(str(schedule.day_of_month))
            assert months % schedule.interval == 0
            assert wall.day == min(wanted, last)
            assert (occurrence.note == "month_end") == (wanted > last) or occurrence.note == "fold_first"
