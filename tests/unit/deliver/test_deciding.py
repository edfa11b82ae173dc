"""What is decided about deliveries without a database: breaker, buckets, whose turn it is, what follows a call."""

from __future__ import annotations

import random
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.deliver import outcome
from engine.deliver.admission import Admitted, Limit, Waits, admit
from engine.deliver.answers import Delivered, Later, Refused, Unclear
from engine.deliver.breaker import FAILURES, HEALTHY_CALLS, LONGEST, SUSPECT_CALLS, Destination
from engine.deliver.bucket import Bucket, Rate
from models.enums import BreakerState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS = st.floats(0, 100, allow_nan=False).map(lambda s: timedelta(seconds=s))
RATES = st.builds(Rate, st.integers(1, 6_000), st.integers(1, 100))


def busy(calls: int, **state: object) -> Destination:
    in_flight = {uuid4(): NOW + timedelta(seconds=30) for _ in range(calls)}
    return Destination(in_flight=in_flight, **state)  # type: ignore[arg-type]


def asked(destination: Destination, *limits: Limit, task_id: UUID | None = None) -> Admitted | Waits:
    return admit("https://x:443", destination, limits, task_id or uuid4(), now=NOW, rng=random.Random(1))  # noqa: S311


@given(RATES, st.lists(SECONDS, max_size=60))
def test_a_bucket_gives_no_more_than_its_rate_and_its_burst(rate: Rate, pauses: list[timedelta]) -> None:
    bucket, now, taken = Bucket(), NOW, 0
    for pause in pauses:
        now += pause
        if not bucket.ready_after(rate, now):
            bucket, taken = bucket.take(rate, now), taken + 1
    passed = (now - NOW).total_seconds()
    assert taken <= rate.burst + passed * rate.per_minute / 60 + 1e-6


@given(RATES, st.integers(1, 200))
def test_reserved_turns_come_one_after_another_at_the_rate(rate: Rate, number: int) -> None:
    bucket, turns = Bucket(), []
    for _ in range(number):
        turns.append(bucket.ready_after(rate, NOW))
        bucket = bucket.take(rate, NOW)
    expected = [max(0.0, place + 1 - rate.burst) * 60 / rate.per_minute for place in range(number)]
    assert [turn.total_seconds() for turn in turns] == pytest.approx(expected, abs=1e-3)


def test_a_breaker_opens_after_failures_in_a_row_and_longer_each_time() -> None:
    rng = random.Random(7)  # noqa: S311 - a test's
    destination = Destination(answers=True)
    for _ in range(FAILURES - 1):
        destination = destination.failed(NOW, rng=rng)
        assert destination.state is BreakerState.CLOSED
    lengths = []
    for _ in range(8):
        destination = destination.failed(NOW, rng=rng)
        assert destination.state is BreakerState.OPEN
        assert destination.not_before is not None
        lengths.append(destination.not_before - NOW)
        destination = destination.begin(uuid4(), now=NOW, until=NOW)
    assert timedelta(seconds=24) <= lengths[0] <= timedelta(seconds=30)
    assert all(length <= LONGEST for length in lengths)
    assert lengths[-1] >= LONGEST * 0.8
    assert destination.answered() == Destination(answers=True, in_flight=destination.in_flight)


def test_an_answer_in_between_forgets_the_failures() -> None:
    destination = Destination()
    for _ in range(3 * FAILURES):
        destination = destination.failed(NOW).failed(NOW).answered()
    assert destination.state is BreakerState.CLOSED


def test_calls_side_by_side_are_few_where_nothing_is_known_and_none_where_it_is_down() -> None:
    assert isinstance(asked(busy(SUSPECT_CALLS - 1)), Admitted)
    assert isinstance(asked(busy(SUSPECT_CALLS)), Waits)
    assert isinstance(asked(busy(HEALTHY_CALLS - 1, answers=True)), Admitted)
    assert isinstance(asked(busy(HEALTHY_CALLS, answers=True)), Waits)
    assert isinstance(asked(busy(SUSPECT_CALLS, answers=True, failures=1)), Waits)
    assert isinstance(asked(busy(0, state=BreakerState.OPEN, not_before=NOW)), Admitted)
    assert isinstance(asked(busy(1, state=BreakerState.HALF_OPEN, not_before=NOW)), Waits)
    assert isinstance(asked(busy(0, state=BreakerState.OPEN, not_before=NOW + timedelta(seconds=1))), Waits)


def test_what_a_dead_worker_left_under_way_keeps_nobody_waiting() -> None:
    task_id = uuid4()
    dead = Destination(in_flight={task_id: NOW + timedelta(seconds=9), uuid4(): NOW + timedelta(seconds=9)})
    assert isinstance(asked(dead), Waits)
    assert isinstance(asked(dead, task_id=task_id), Admitted)
    assert isinstance(asked(Destination(in_flight={uuid4(): NOW, uuid4(): NOW})), Admitted)


def test_the_slowest_bucket_decides_and_is_named() -> None:
    empty = Limit("the account x", Rate(60, 1), Bucket(0.0, NOW))
    waits = asked(Destination(), Limit("the org", Rate(600, 100), Bucket()), empty)
    assert waits == Waits("the account x has used up its 60 deliveries a minute", timedelta(seconds=1), reserved=True)


ANSWERS = st.sampled_from([Delivered(), Refused("no"), Later("busy"), Unclear("lost")])


@given(ANSWERS, st.integers(1, 20), SECONDS, st.booleans())
def test_what_follows_a_call_is_one_of_five(answer: object, attempt: int, age: timedelta, keyed: bool) -> None:  # noqa: FBT001
    decided = outcome.decide(answer, attempt=attempt, age=age, keyed=keyed)  # type: ignore[arg-type]
    match answer:
        case Delivered():
            assert decided == outcome.Succeeded()
        case Refused():
            assert decided == outcome.Failed("no")
        case Unclear() if not keyed:
            assert decided == outcome.Doubtful("lost")
        case _ if attempt >= outcome.MAX_ATTEMPTS:
            assert isinstance(decided, outcome.Discarded)
        case _:
            assert isinstance(decided, outcome.Again)
            assert decided.after <= timedelta(seconds=2 * 2 ** (attempt - 1))


def test_a_receivers_wish_is_honoured_unless_it_comes_too_late() -> None:
    wish = Later("busy", retry_after=timedelta(hours=2))
    again = outcome.decide(wish, attempt=1, age=timedelta(0), keyed=True)
    assert isinstance(again, outcome.Again)
    assert again.after == timedelta(hours=2)
    late = outcome.decide(wish, attempt=1, age=timedelta(hours=23), keyed=True)
    assert late == outcome.Discarded("given up after 23.0 hours; at last: busy")


@given(st.lists(st.sampled_from(["answered", "failed", "lost"]), max_size=60))
def test_whatever_happens_what_is_down_has_its_time_and_what_answers_few_failures(ends: list[str]) -> None:
    destination, now = Destination(), NOW
    for end in ends:
        now += timedelta(seconds=1)
        task_id = uuid4()
        if isinstance(admit("https://x:443", destination, (), task_id, now=now), Admitted):
            destination = destination.begin(task_id, now=now, until=now + timedelta(seconds=30))
        if end != "lost":  # its worker died: the claim ends by itself
            destination = destination.end(task_id)
            destination = destination.answered() if end == "answered" else destination.failed(now)
        assert destination.calls(now, uuid4()) <= HEALTHY_CALLS + 1
        if destination.state is BreakerState.OPEN:
            assert destination.not_before is not None
        if destination.state is BreakerState.CLOSED:
            assert (destination.openings, destination.failures < FAILURES) == (0, True)


@given(
    st.builds(Later, st.just("busy"), retry_after=st.none() | st.timedeltas(timedelta(0), timedelta(days=3))),
    st.integers(1, outcome.MAX_ATTEMPTS),
    st.timedeltas(timedelta(0), timedelta(days=2)),
)
def test_nothing_is_tried_beyond_its_attempts_and_its_day(busy_: Later, attempt: int, age: timedelta) -> None:
    decided = outcome.decide(busy_, attempt=attempt, age=age, keyed=True)
    if isinstance(decided, outcome.Again):
        assert attempt < outcome.MAX_ATTEMPTS
        assert age + decided.after <= outcome.LONGEST
        assert decided.after >= (busy_.retry_after or timedelta(0))
    else:
        assert isinstance(decided, outcome.Discarded)


@pytest.mark.parametrize(("attempt", "bound"), [(1, 2), (2, 4), (5, 32), (9, 512)])
def test_attempts_are_spread_over_a_time_that_doubles(attempt: int, bound: int) -> None:
    rng, waits = random.Random(3), []  # noqa: S311 - a test's
    for _ in range(300):
        again = outcome.decide(Later("503"), attempt=attempt, age=timedelta(0), keyed=True, rng=rng)
        assert isinstance(again, outcome.Again)
        waits.append(again.after.total_seconds())
    assert bound * 0.9 < max(waits) <= bound
    assert min(waits) < bound * 0.1


def test_a_delivery_with_a_pace_of_its_own_is_tried_so_often_and_no_more() -> None:
    pace = outcome.Pace(2, base_seconds=3600, factor=1, cap_seconds=3600)
    told = {"age": timedelta(0), "keyed": True, "pace": pace}
    first = outcome.decide(Later("down"), attempt=1, **told)  # type: ignore[arg-type]
    assert isinstance(first, outcome.Again)
    assert first.after <= timedelta(hours=1)
    assert isinstance(outcome.decide(Later("down"), attempt=2, **told), outcome.Discarded)  # type: ignore[arg-type]
    assert outcome.Pace.of({"pace": asdict(pace)}) == pace
    assert outcome.Pace.of({}).attempts == outcome.MAX_ATTEMPTS
