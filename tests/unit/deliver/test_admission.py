from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.deliver.admission import Admitted, Limit, Waits, admit
from engine.deliver.breaker import FAILURES, HEALTHY_CALLS, SUSPECT_CALLS, Destination
from engine.deliver.bucket import Bucket, Rate
from models.enums import BreakerState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=30)
NAME = "https://hooks.test:443"


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable on purpose


def busy(calls: int, destination: Destination) -> Destination:
    for number in range(calls):
        destination = destination.begin(UUID(int=number), now=NOW, until=LATER)
    return destination


def down() -> Destination:
    found = Destination()
    for _ in range(FAILURES):
        found = found.failed(NOW)
    return found


def limit(tokens: float, per_minute: int = 60) -> Limit:
    return Limit("the org", Rate(per_minute, 5), Bucket(tokens, NOW))


def test_what_is_free_is_called() -> None:
    assert admit(NAME, Destination(), [limit(1)], now=NOW) == Admitted()
    assert admit(NAME, Destination(), [], now=NOW) == Admitted()


def test_what_is_down_is_asked_for_when_it_may_be_up_and_not_by_all_at_once() -> None:
    waits = [admit(NAME, down(), [limit(0)], now=NOW, rng=chance(seed)) for seed in range(20)]
    opened = down()
    assert opened.not_before is not None
    for one in waits:
        assert isinstance(one, Waits)
        assert "is down until" in one.reason
        assert one.after > timedelta(seconds=24)
        assert not one.reserved
    assert len({one.after for one in waits if isinstance(one, Waits)}) == 20


@pytest.mark.parametrize(
    ("destination", "room"), [(Destination(), SUSPECT_CALLS), (Destination().answered(), HEALTHY_CALLS)]
)
def test_so_many_are_under_way_and_no_more(destination: Destination, room: int) -> None:
    assert admit(NAME, busy(room - 1, destination), [], now=NOW) == Admitted()
    waits = admit(NAME, busy(room, destination), [limit(5)], now=NOW)
    assert isinstance(waits, Waits)
    assert waits.reason == f"{room} deliveries to {NAME} are under way"
    assert not waits.reserved
    assert admit(NAME, busy(room, destination), [], now=LATER) == Admitted()


def test_what_was_down_is_tried_by_one() -> None:
    opened = down()
    assert opened.not_before is not None
    assert admit(NAME, opened, [], now=opened.not_before) == Admitted()
    tried = opened.begin(UUID(int=1), now=opened.not_before, until=opened.not_before + timedelta(seconds=30))
    waits = admit(NAME, tried, [], now=opened.not_before)
    assert isinstance(waits, Waits)
    assert "tries whether it is back" in waits.reason
    assert tried.state is BreakerState.HALF_OPEN


def test_who_waits_for_a_token_is_told_whose_and_has_its_turn_reserved() -> None:
    account = Limit("the account slack:1", Rate(6, 1), Bucket(0, NOW))
    waits = admit(NAME, Destination(), [limit(0), account], now=NOW)
    assert waits == Waits(
        "the account slack:1 has used up its 6 deliveries a minute", timedelta(seconds=10), reserved=True
    )


@given(st.integers(min_value=0, max_value=12), st.floats(min_value=-50, max_value=5), st.booleans(), st.integers())
def test_whoever_waits_is_told_why_and_asks_again_later(calls: int, tokens: float, healthy: bool, seed: int) -> None:  # noqa: FBT001
    destination = busy(calls, Destination().answered() if healthy else Destination())
    match admit(NAME, destination, [limit(tokens)], now=NOW, rng=chance(seed)):
        case Admitted():
            assert calls < destination.room
            assert tokens >= 1 - 1e-6
        case Waits(reason=reason, after=after):
            assert reason
            assert after > timedelta(0)
