from __future__ import annotations

import random
from datetime import timedelta

import psycopg
import pytest
import redis.exceptions
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from core.errors import InputError, PermanentError, SetupError, TransientError
from engine.retry import GiveUp, Retry, backoff, classify, plan

attempts = st.integers(min_value=1, max_value=10_000)


def _seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeatable on purpose


class _Highest(random.Random):
    """Draws the highest value, so that the bound itself is seen."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 2), (2, 4), (3, 8), (8, 256), (9, 512), (10, 900), (5000, 900)])
def test_the_bound_doubles_from_two_seconds_up_to_fifteen_minutes(attempt: int, seconds: int) -> None:
    assert backoff(attempt, rng=_Highest()) == timedelta(seconds=seconds)


@given(attempt=attempts, seed=st.integers())
def test_a_wait_lies_between_zero_and_its_bound(attempt: int, seed: int) -> None:
    wait = backoff(attempt, rng=_seeded(seed))
    assert timedelta(0) <= wait <= backoff(attempt, rng=_Highest()) <= timedelta(minutes=15)


@given(attempt=attempts, seed=st.integers())
def test_a_wait_is_decided_by_its_random_source_alone(attempt: int, seed: int) -> None:
    assert backoff(attempt, rng=_seeded(seed)) == backoff(attempt, rng=_seeded(seed))


def test_the_jitter_is_full_so_that_waits_spread_over_the_whole_range() -> None:
    rng = _seeded(7)
    waits = [backoff(4, rng=rng).total_seconds() for _ in range(500)]
    assert min(waits) < 1
    assert max(waits) > 15
    assert 7 < sum(waits) / len(waits) < 9


def test_an_attempt_that_was_not_made_has_no_wait() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        backoff(0)


@pytest.mark.parametrize(
    "error",
    [
        TransientError("busy"),
        ConnectionResetError(),
        TimeoutError(),
        psycopg.errors.DeadlockDetected(),
        psycopg.errors.SerializationFailure(),
        psycopg.errors.AdminShutdown(),
        psycopg.errors.ConnectionFailure(),
        OperationalError("connect", None, psycopg.OperationalError("connection refused")),
        PoolTimeoutError(),
        redis.exceptions.ConnectionError(),
        OperationalError("select 1", None, psycopg.errors.QueryCanceled()),
        DBAPIError("select 1", None, psycopg.OperationalError("closed"), connection_invalidated=True),
    ],
    ids=lambda error: type(getattr(error, "orig", error)).__name__,
)
def test_what_is_expected_to_pass_is_retried(error: Exception) -> None:
    assert classify(error) == "transient"
    assert isinstance(plan(1, 5, error), Retry)


@pytest.mark.parametrize("error", [PermanentError("gone"), InputError.of("field", "is wrong")])
def test_what_the_tenant_must_mend_is_given_up_at_once(error: Exception) -> None:
    assert plan(1, 5, error) == GiveUp("permanent")


@pytest.mark.parametrize(
    "error",
    [
        KeyError("x"),
        SetupError("no database", "set DATABASE_URL"),
        psycopg.errors.UniqueViolation(),
        OperationalError("select 1", None, psycopg.errors.UndefinedColumn()),
    ],
    ids=lambda error: type(error).__name__,
)
def test_anything_else_is_a_bug_and_given_up_at_once(error: Exception) -> None:
    assert plan(1, 5, error) == GiveUp("bug")


def test_the_last_attempt_is_not_followed_by_another() -> None:
    assert isinstance(plan(4, 5, TransientError("busy")), Retry)
    assert plan(5, 5, TransientError("busy")) == GiveUp("exhausted")
    assert plan(5, 5, PermanentError("gone")) == GiveUp("permanent")
