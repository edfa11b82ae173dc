from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.deliver.breaker import (
    FAILURES,
    HEALTHY_CALLS,
    LONGEST,
    OPEN_FOR,
    SUSPECT_CALLS,
    Destination,
)
from models.enums import BreakerState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable on purpose


def failing(times: int, destination: Destination | None = None) -> Destination:
    found = destination or Destination()
    for _ in range(times):
        found = found.failed(NOW)
    return found


def tried_again(destination: Destination) -> Destination:
    """Let one delivery try an open destination, and fail."""
    assert destination.not_before is not None
    begun = destination.begin(UUID(int=1), now=destination.not_before, until=destination.not_before + SECOND)
    return begun.end(UUID(int=1)).failed(destination.not_before)


def test_it_opens_at_the_fifth_failure_in_a_row_and_no_sooner() -> None:
    assert failing(FAILURES - 1).state is BreakerState.CLOSED
    opened = failing(FAILURES)
    assert (opened.state, opened.openings) == (BreakerState.OPEN, 1)
    assert opened.not_before is not None
    assert 0.8 * OPEN_FOR <= opened.not_before - NOW <= OPEN_FOR


def test_an_answer_in_between_begins_the_count_anew() -> None:
    assert failing(FAILURES - 1, failing(FAILURES - 1).answered()).state is BreakerState.CLOSED


@given(st.integers(min_value=1, max_value=40), st.integers())
def test_each_opening_in_a_row_is_twice_as_long_up_to_ten_minutes(openings: int, seed: int) -> None:
    before = Destination(BreakerState.HALF_OPEN, failures=FAILURES + openings, openings=openings)
    opened = before.failed(NOW, rng=chance(seed))
    assert opened.not_before is not None
    bound = min(LONGEST, OPEN_FOR * 2**openings)
    assert 0.8 * bound <= opened.not_before - NOW <= bound
    assert (opened.state, opened.openings) == (BreakerState.OPEN, openings + 1)


def test_half_open_one_call_decides() -> None:
    again = tried_again(failing(FAILURES))
    assert (again.state, again.openings) == (BreakerState.OPEN, 2)
    assert again.not_before is not None
    back = again.begin(UUID(int=2), now=again.not_before, until=again.not_before + SECOND)
    assert (back.state, back.room) == (BreakerState.HALF_OPEN, 1)
    closed = back.end(UUID(int=2)).answered()
    assert (closed.state, closed.failures, closed.openings, closed.not_before) == (BreakerState.CLOSED, 0, 0, None)


def test_calls_that_began_before_it_opened_say_nothing_new() -> None:
    opened = failing(FAILURES)
    later = failing(3, opened)
    assert (later.openings, later.not_before) == (opened.openings, opened.not_before)


def test_what_a_claim_has_outlived_is_under_way_no_more() -> None:
    begun = Destination().begin(UUID(int=1), now=NOW, until=NOW + SECOND)
    assert (begun.calls(NOW), begun.calls(NOW + SECOND)) == (1, 0)
    assert list(begun.begin(UUID(int=2), now=NOW + SECOND, until=NOW + 2 * SECOND).in_flight) == [UUID(int=2)]


@pytest.mark.parametrize(
    ("destination", "room"),
    [
        (Destination(), SUSPECT_CALLS),
        (Destination().answered(), HEALTHY_CALLS),
        (failing(1, Destination().answered()), SUSPECT_CALLS),
        (failing(FAILURES), 1),
    ],
)
def test_what_does_not_answer_keeps_few_workers(destination: Destination, room: int) -> None:
    assert destination.room == room


def test_a_longer_rest_is_not_shortened() -> None:
    rested = Destination().asked_for_rest(NOW + 70 * SECOND)
    assert rested.asked_for_rest(NOW + 10 * SECOND).not_before == NOW + 70 * SECOND
    assert rested.asked_for_rest(NOW + 90 * SECOND).not_before == NOW + 90 * SECOND


@given(st.lists(st.sampled_from(["begin", "answered", "failed", "lost"]), max_size=60))
def test_whatever_happens_an_open_one_has_a_time_and_a_closed_one_few_failures(events: list[str]) -> None:
    destination, now = Destination(), NOW
    for number, event in enumerate(events):
        now += SECOND
        task_id = UUID(int=number)
        free = destination.not_before is None or destination.not_before <= now
        if free and destination.calls(now) < destination.room:
            destination = destination.begin(task_id, now=now, until=now + 30 * SECOND)
        if event == "lost":
            continue  # its worker died: the claim ends by itself
        destination = destination.end(task_id)
        destination = destination.answered() if event == "answered" else destination
        destination = destination.failed(now) if event == "failed" else destination
        assert destination.calls(now) <= HEALTHY_CALLS + 1
        if destination.state is BreakerState.OPEN:
            assert destination.not_before is not None
        if destination.state is BreakerState.CLOSED:
            assert destination.failures < FAILURES
            assert destination.openings == 0
