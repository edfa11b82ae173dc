"""Next times are remembered by what they depend on: jobs of one rhythm share the work, whoever's they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from engine.schedule import crons, occurrences
from engine.schedule.occurrences import Occurrence, next_planned
from tests.unit.schedule.making import at, cron, recurring

if TYPE_CHECKING:
    from engine.schedule.definition import Schedule

DAILY = replace(recurring("2026-01-05T09:00", frequency="daily"), start_date=None)


def misses(*schedules: Schedule) -> int:
    """Return how many of the schedules' next times were computed and not remembered."""
    occurrences._remembered.cache_clear()
    for schedule in schedules:
        next_planned(schedule, at("2026-07-01"))
    return occurrences._remembered.cache_info().misses


def later(schedule: Schedule, days: int) -> Schedule:
    return replace(schedule, anchor=schedule.anchor + timedelta(days=days))


@pytest.mark.parametrize(
    ("columns", "days", "computed"),
    [
        ({"frequency": "daily"}, 1, 1),
        ({"frequency": "daily", "interval": 3}, 3, 1),
        ({"frequency": "daily", "interval": 3}, 4, 2),
        ({"frequency": "weekly", "days_of_week": [1]}, 7, 1),
        ({"frequency": "weekly", "days_of_week": [1], "interval": 2}, 14, 1),
        ({"frequency": "weekly", "days_of_week": [1], "interval": 2}, 7, 2),
        ({"frequency": "monthly", "day_of_month": 5}, 31, 1),
        ({"frequency": "monthly", "day_of_month": 5, "interval": 2}, 62, 1),
        ({"frequency": "monthly", "day_of_month": 5, "interval": 2}, 31, 2),
    ],
)
def test_an_anchor_matters_only_as_far_as_it_says_where_in_the_interval_it_stands(
    columns: dict[str, Any], days: int, computed: int
) -> None:
    job = replace(recurring("2026-01-05T09:00", **columns), start_date=None)
    other = later(job, days)
    assert misses(job, other) == computed
    same = next_planned(job, at("2026-07-01")) == next_planned(other, at("2026-07-01"))
    assert same == (computed == 1)


def test_crons_share_their_times_however_they_are_spelled_and_whenever_they_were_made() -> None:
    assert misses(cron("0 9 * * MON"), later(cron("0  9 * * mon"), 40)) == 1


@pytest.mark.parametrize(
    "other",
    [
        replace(DAILY, timezone="Europe/Berlin"),
        replace(DAILY, dst_gap="skip"),
        replace(DAILY, dst_fold="both"),
        replace(DAILY, time_of_day=DAILY.time_of_day.replace(hour=10) if DAILY.time_of_day else None),
    ],
)
def test_what_changes_the_times_is_not_shared(other: Schedule) -> None:
    assert misses(DAILY, other) == 2


def test_a_start_and_an_end_hold_for_their_job_alone() -> None:
    bounded = replace(DAILY, start_date=at("2026-08-01"), end_date=at("2026-08-02"))
    assert next_planned(DAILY, at("2026-07-01")) == Occurrence(at("2026-07-01T09:00"))
    assert next_planned(bounded, at("2026-07-01")) == Occurrence(at("2026-08-01T09:00"))
    assert next_planned(bounded, at("2026-08-01T09:00")) is None


def test_what_is_remembered_is_bounded() -> None:
    for memory in (occurrences._remembered, crons.read, crons._times):
        assert (memory.cache_info().maxsize or 0) in range(1, 10_000)
