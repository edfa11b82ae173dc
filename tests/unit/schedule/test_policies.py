"""What dst_gap, dst_fold and month_end do: planned times that do not fire, that fire twice, and those beside them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from engine.schedule.definition import Schedule
from engine.schedule.occurrences import Occurrence, may_skip, next_occurrence, next_planned
from tests.unit.schedule.making import at, cron, notes, recurring, shown, take

NEW_YORK, TROLL, APIA = "America/New_York", "Antarctica/Troll", "Pacific/Apia"


def planned(schedule: Schedule, after: str, count: int) -> list[Occurrence]:
    """Return the next planned times, whether they fire or not."""
    found = list[Occurrence]()
    while len(found) < count and (one := next_planned(schedule, found[-1].at if found else at(after))):
        found.append(one)
    return found


def told(found: list[Occurrence]) -> list[tuple[str, str | None, str | None]]:
    return [(f"{one.at:%m-%d %H:%M}", one.note, one.skipped) for one in found]


def test_a_time_in_a_gap_may_be_left_out_and_is_planned_all_the_same() -> None:
    job = cron("30 2 * * *", NEW_YORK, dst_gap="skip")
    assert told(planned(job, "2026-03-07T12:00", 2)) == [
        ("03-08 07:00", "gap_moved", "dst_skipped"),
        ("03-09 06:30", None, None),
    ]
    assert shown(take(job, "2026-03-07T12:00", 2)) == ["2026-03-09 06:30", "2026-03-10 06:30"]


def test_a_real_time_at_the_end_of_the_gap_fires_though_others_are_left_out() -> None:
    job = cron("0,30 2,3 * * *", NEW_YORK, dst_gap="skip")
    assert told(planned(job, "2026-03-08T06:00", 2)) == [("03-08 07:00", None, None), ("03-08 07:30", None, None)]


def test_several_times_left_out_by_one_gap_are_one_planned_time() -> None:
    job = cron("10,20 2 * * *", NEW_YORK, dst_gap="skip")
    assert told(planned(job, "2026-03-08T06:00", 2)) == [
        ("03-08 07:00", "gap_moved", "dst_skipped"),
        ("03-09 06:10", None, None),
    ]


def test_a_lost_day_may_be_left_out() -> None:
    noon = recurring("2011-12-01", frequency="daily", time_of_day="12:00", timezone=APIA, dst_gap="skip")
    assert told(planned(noon, "2011-12-29T20:00", 3)) == [
        ("12-29 22:00", None, None),
        ("12-30 10:00", "gap_moved", "dst_skipped"),
        ("12-30 22:00", None, None),
    ]
    midnight = replace(noon, time_of_day=datetime.min.time())
    assert told(planned(midnight, "2011-12-29T00:00", 2)) == [("12-29 10:00", None, None), ("12-30 10:00", None, None)]


def test_a_time_in_a_fold_may_fire_twice() -> None:
    job = cron("30 1 * * *", NEW_YORK, dst_fold="both")
    found = take(job, "2026-10-31T12:00", 3)
    assert shown(found) == ["2026-11-01 05:30", "2026-11-01 06:30", "2026-11-02 06:30"]
    assert notes(found) == ["fold_first", "fold_second", None]


def test_times_that_fire_twice_come_in_the_order_of_the_clock() -> None:
    job = cron("0,30 0,1,2 * * *", NEW_YORK, dst_fold="both")
    found = take(job, "2026-11-01T04:15", 6)
    assert [f"{one.at:%H:%M}" for one in found] == ["04:30", "05:00", "05:30", "06:00", "06:30", "07:00"]
    assert notes(found) == [None, "fold_first", "fold_first", "fold_second", "fold_second", None]


def test_a_fold_of_two_hours_shows_both_hours_again() -> None:
    job = cron("0 1,2 * * *", TROLL, dst_fold="both")
    found = take(job, "2026-10-24T12:00", 4)
    assert [f"{one.at:%H:%M}" for one in found] == ["23:00", "00:00", "01:00", "02:00"]
    assert notes(found) == ["fold_first", "fold_first", "fold_second", "fold_second"]


@pytest.mark.parametrize("job", [cron("*/30 * * * *", NEW_YORK), cron("30 * * * *", NEW_YORK)])
def test_the_policies_of_fixed_times_do_not_touch_a_cron_that_follows_the_clock(job: Schedule) -> None:
    other = replace(job, dst_gap="skip", dst_fold="both")
    for start in ("2026-03-08T04:00", "2026-11-01T03:00"):
        assert planned(job, start, 12) == planned(other, start, 12)


def test_a_month_without_the_day_may_be_left_out() -> None:
    job = recurring("2026-01-31", frequency="monthly", day_of_month=31, time_of_day="09:00", month_end="skip")
    assert told(planned(job, "2026-01-31T09:00", 3)) == [
        ("02-28 09:00", "month_end", "month_end_skipped"),
        ("03-31 09:00", None, None),
        ("04-30 09:00", "month_end", "month_end_skipped"),
    ]
    assert shown(take(job, "2026-01-31T09:00", 3)) == ["2026-03-31 09:00", "2026-05-31 09:00", "2026-07-31 09:00"]


def test_the_29th_of_february_fires_in_leap_years_alone_if_short_months_are_left_out() -> None:
    job = recurring("2024-02-29", frequency="monthly", interval=12, time_of_day="09:00", month_end="skip")
    assert shown(take(job, "2024-02-29T09:00", 2)) == ["2028-02-29 09:00", "2032-02-29 09:00"]
    assert shown(take(replace(job, month_end="last_day"), "2024-02-29T09:00", 2)) == [
        "2025-02-28 09:00",
        "2026-02-28 09:00",
    ]


def test_a_cron_on_the_29th_of_february_fires_in_leap_years_and_a_century_has_none() -> None:
    assert shown(take(cron("0 0 29 2 *"), "2095-01-01", 2)) == ["2096-02-29 00:00", "2104-02-29 00:00"]


def test_the_last_day_of_every_february_needs_no_policy() -> None:
    job = recurring("2027-02-01", frequency="monthly", interval=12, day_of_month="last", month_end="skip")
    assert shown(take(job, "2027-02-01", 2)) == ["2027-02-28 00:00", "2028-02-29 00:00"]


def test_a_short_month_that_is_left_out_wins_over_a_gap_and_is_planned_once_in_a_fold() -> None:
    """Clocks go forward on 30 September 2035 in Chatham, and went back on 30 September 2001 in Mexico."""
    gap = recurring(
        "2035-08-31", frequency="monthly", time_of_day="03:00", timezone="Pacific/Chatham", month_end="skip"
    )
    assert told(planned(gap, "2035-09-15", 1)) == [("09-29 14:00", "gap_moved", "month_end_skipped")]
    fold = recurring(
        "2001-08-31",
        frequency="monthly",
        time_of_day="01:30",
        timezone="America/Mexico_City",
        month_end="skip",
        dst_fold="both",
    )
    assert told(planned(fold, "2001-09-15", 2)) == [
        ("09-30 06:30", "fold_first", "month_end_skipped"),
        ("10-31 07:30", None, None),
    ]


@pytest.mark.timeout(10)
def test_a_schedule_all_of_whose_times_are_left_out_comes_to_an_end() -> None:
    job = Schedule(
        schedule_type="recurring",
        frequency="monthly",
        interval=12,
        day_of_month=31,
        time_of_day=datetime.min.time(),
        anchor=at("2026-02-01"),
        month_end="skip",
    )
    assert next_planned(job, at("2026-02-01")) == Occurrence(at("2026-02-28"), "month_end", "month_end_skipped")
    assert next_occurrence(job, at("2026-02-01")) is None


def test_start_and_end_hold_for_what_is_left_out_as_well() -> None:
    job = replace(cron("30 2 * * *", NEW_YORK, dst_gap="skip"), end_date=at("2026-03-08T07:00"))
    assert told(planned(job, "2026-03-08T00:00", 3)) == [("03-08 07:00", "gap_moved", "dst_skipped")]
    assert next_occurrence(job, at("2026-03-08T00:00")) is None
    assert planned(replace(job, end_date=at("2026-03-08T06:59:59")), "2026-03-08T00:00", 3) == []


def test_only_policies_that_skip_may_skip() -> None:
    job = cron("30 2 * * *", NEW_YORK)
    assert not may_skip(replace(job, dst_fold="both"))
    assert may_skip(replace(job, dst_gap="skip"))
    assert may_skip(replace(job, month_end="skip"))
