from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.deliver.answers import Answer, Delivered, Later, Refused, Unclear
from engine.deliver.outcome import (
    LONGEST,
    MAX_ATTEMPTS,
    Again,
    Discarded,
    Doubtful,
    Failed,
    Succeeded,
    decide,
    too_old,
)

FRESH = timedelta(minutes=1)
ATTEMPTS = st.integers(min_value=1, max_value=MAX_ATTEMPTS)
AGES = st.timedeltas(min_value=timedelta(0), max_value=2 * LONGEST)
ANSWERS: st.SearchStrategy[Answer] = st.one_of(
    st.just(Delivered()),
    st.just(Refused("no")),
    st.just(Unclear("broke off")),
    st.builds(
        Later,
        st.just("busy"),
        retry_after=st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3)),
        blames=st.booleans(),
    ),
)


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable on purpose


@pytest.mark.parametrize(
    ("answer", "keyed", "outcome"),
    [
        (Delivered(200), True, Succeeded),
        (Refused("400", 400), True, Failed),
        (Later("503", 503), False, Again),
        (Unclear("broke off"), True, Again),
        (Unclear("broke off"), False, Doubtful),
    ],
)
def test_each_answer_has_its_end(answer: Answer, keyed: bool, outcome: type) -> None:  # noqa: FBT001
    assert isinstance(decide(answer, attempt=1, age=FRESH, keyed=keyed), outcome)


@given(ANSWERS, ATTEMPTS, AGES, st.booleans(), st.integers())
def test_whatever_is_answered_it_ends(answer: Answer, attempt: int, age: timedelta, keyed: bool, seed: int) -> None:  # noqa: FBT001
    outcome = decide(answer, attempt=attempt, age=age, keyed=keyed, rng=chance(seed))
    match outcome:
        case Again(after=after):
            assert attempt < MAX_ATTEMPTS
            assert age + after <= LONGEST
            assert isinstance(answer, Later) or (isinstance(answer, Unclear) and keyed)
            if isinstance(answer, Later) and answer.retry_after is not None:
                assert after >= answer.retry_after
        case Discarded(reason=reason):
            assert "given up after" in reason
        case Doubtful():
            assert not keyed
            assert isinstance(answer, Unclear)


@given(ATTEMPTS, st.booleans())
def test_no_receiver_without_keys_gets_what_may_have_arrived_twice(attempt: int, doubtful: bool) -> None:  # noqa: FBT001
    answer = Unclear("broke off") if doubtful else Later("refused the connection")
    outcome = decide(answer, attempt=attempt, age=FRESH, keyed=False)
    assert isinstance(outcome, Doubtful) == doubtful


@pytest.mark.parametrize(("attempt", "bound"), [(1, 2), (2, 4), (5, 32), (9, 512)])
def test_waits_grow_by_twice_and_are_spread_over_all_of_it(attempt: int, bound: int) -> None:
    waits = []
    for seed in range(300):
        again = decide(Later("503"), attempt=attempt, age=FRESH, keyed=True, rng=chance(seed))
        assert isinstance(again, Again)
        waits.append(again.after.total_seconds())
    assert max(waits) <= bound
    assert min(waits) < bound / 10
    assert max(waits) > bound * 0.9


def test_the_last_attempt_is_the_tenth() -> None:
    assert isinstance(decide(Later("503"), attempt=MAX_ATTEMPTS - 1, age=FRESH, keyed=True), Again)
    assert isinstance(decide(Later("503"), attempt=MAX_ATTEMPTS, age=FRESH, keyed=True), Discarded)


def test_what_would_wait_beyond_its_day_is_given_up_with_the_reason() -> None:
    assert too_old(FRESH, timedelta(minutes=5), "it is down") is None
    given_up = too_old(LONGEST, timedelta(seconds=1), "it is down")
    assert given_up == Discarded("given up after 24.0 hours: it is down")
