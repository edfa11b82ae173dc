"""The times of a backtest."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.errors import InputError
from engine.backtest.planned import MAX_TIMES, Source, check_span, planned, tried
from engine.schedule.definition import parse
from tests.unit.backtest.making import START

END = START + timedelta(days=7)


def test_all_sources_are_taken_in_the_order_of_their_times() -> None:
    daily, weekly = tried("0 9 * * *", "Europe/Berlin", START), tried("0 9 * * 1", "Europe/Berlin", START)
    times = planned([daily, weekly], START, END)
    assert [(time.at.day, time.at.hour, time.source) for time in times] == [
        (1, 8, 0), (2, 8, 0), (2, 8, 1), (3, 8, 0), (4, 8, 0), (5, 8, 0), (6, 8, 0), (7, 8, 0)
    ]  # fmt: skip


def test_both_ends_of_the_span_are_in_it() -> None:
    assert [time.at for time in planned([tried("0 0 * * 0", "UTC", START)], START, END)] == [START, END]


def test_a_job_that_begins_later_is_taken_as_if_it_had_always_been_there() -> None:
    later = parse({"frequency": "daily", "interval": 2, "time_of_day": "09:00", "start_date": "2026-06-02"}, now=START)
    times = planned([Source(later)], START, END)
    assert [time.at.day for time in times] == [2, 4, 6]  # counted back from its start
    ended = replace(later, end_date=START)
    assert planned([Source(ended)], START, END) == times


def test_a_job_that_fires_once_does_so_at_its_time_only() -> None:
    once = parse({"schedule_type": "once", "start_date": "2026-03-03T10:00"}, now=START)
    assert [time.at for time in planned([Source(once)], START, END)] == [datetime(2026, 3, 3, 10, tzinfo=UTC)]
    assert planned([Source(once)], START, START + timedelta(days=1)) == []


def test_more_times_than_can_be_replayed_are_refused() -> None:
    minutely = tried("* * * * *", "UTC", START)
    enough = START + timedelta(minutes=MAX_TIMES - 1)
    assert len(planned([minutely], START, enough)) == MAX_TIMES
    with pytest.raises(InputError, match="more than 20,000 planned times"):
        planned([minutely], START, enough + timedelta(minutes=1))


@pytest.mark.parametrize(
    ("days", "ago", "message"),
    [
        (0, 1, "is not after the start"),
        (401, 500, "the span has 401 days"),
        (10, 5, "is still to come"),
    ],
)
def test_a_span_that_cannot_be_tried_is_refused(days: int, ago: int, message: str) -> None:
    now = START + timedelta(days=ago)
    with pytest.raises(InputError, match=message):
        check_span(START, START + timedelta(days=days), now)
    check_span(START, START + timedelta(days=400), START + timedelta(days=500))


def test_a_schedule_that_is_none_is_refused_with_its_reason() -> None:
    with pytest.raises(InputError, match="cron_expression"):
        tried("every day", "UTC", START)
