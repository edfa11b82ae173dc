from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.deliver.bucket import Bucket, Rate

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RATES = st.builds(Rate, st.integers(min_value=1, max_value=6_000), st.integers(min_value=1, max_value=1_000))
STEPS = st.lists(st.floats(min_value=0, max_value=120), max_size=100)


@pytest.mark.parametrize(("per_minute", "burst"), [(1, 1), (5, 1), (60, 10), (600, 100)])
def test_without_a_burst_of_its_own_ten_seconds_are_saved_up(per_minute: int, burst: int) -> None:
    assert Rate.of(per_minute) == Rate(per_minute, burst)
    assert Rate.of(per_minute, 7) == Rate(per_minute, 7)


def test_what_was_never_used_is_full() -> None:
    assert Bucket().at(Rate(60, 5), NOW) == 5
    assert Bucket().ready_after(Rate(60, 5), NOW) == timedelta(0)


def test_a_token_is_there_when_it_is_said_to_be() -> None:
    rate, bucket = Rate(60, 1), Bucket().take(Rate(60, 1), NOW)
    wait = bucket.ready_after(rate, NOW)
    assert wait == timedelta(seconds=1)
    assert bucket.ready_after(rate, NOW + wait) == timedelta(0)


def test_turns_that_are_reserved_lie_behind_each_other() -> None:
    rate, bucket, waits = Rate(60, 1), Bucket(), []
    for _ in range(4):
        waits.append(bucket.ready_after(rate, NOW))
        bucket = bucket.take(rate, NOW)
    assert waits == [timedelta(seconds=second) for second in range(4)]


def test_a_clock_that_goes_back_brings_none_and_takes_none() -> None:
    rate, bucket = Rate(60, 5), Bucket().take(Rate(60, 5), NOW)
    assert bucket.at(rate, NOW - timedelta(hours=1)) == 4


@given(RATES, STEPS)
def test_no_more_go_out_than_the_rate_and_one_burst_whoever_asks_when(rate: Rate, steps: list[float]) -> None:
    bucket, now = Bucket(), NOW
    starts = []
    for step in steps:
        now += timedelta(seconds=step)
        starts.append(now + bucket.ready_after(rate, now))
        bucket = bucket.take(rate, now)
    for first, start in enumerate(starts):
        for last in range(first, len(starts)):
            minutes = (starts[last] - start) / timedelta(minutes=1)
            assert last - first + 1 <= rate.burst + minutes * rate.per_minute + 1e-3


@given(RATES, STEPS)
def test_it_never_holds_more_than_its_burst(rate: Rate, steps: list[float]) -> None:
    bucket, now = Bucket(), NOW
    for step in steps:
        now += timedelta(seconds=step)
        assert bucket.at(rate, now) <= rate.burst
        bucket = bucket.take(rate, now)
