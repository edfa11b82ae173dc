"""Whether a step is tried again."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.workflows.definition import Retry
from engine.workflows.retrying import Again, GiveUp, plan

RETRY = Retry(
    max_retries=3, base_seconds=2, factor=3, cap_seconds=10, non_retryable=frozenset({"QUOTA", "LookupError"})
)


@pytest.mark.parametrize("kind", ["transient", "bug"])
def test_three_retries_make_four_attempts(kind: str) -> None:
    plans = [plan(RETRY, attempt, code="X", kind=kind) for attempt in (1, 2, 3, 4)]  # type: ignore[arg-type]
    assert [type(one) for one in plans] == [Again, Again, Again, GiveUp]
    assert plans[-1] == GiveUp("exhausted")


def test_without_retries_the_first_attempt_is_the_last() -> None:
    assert plan(Retry(max_retries=0), 1, code="X", kind="transient") == GiveUp("exhausted")


def test_what_no_retry_mends_is_given_up_at_once() -> None:
    assert plan(RETRY, 1, code="PERMANENT", kind="permanent") == GiveUp("permanent")


def test_a_step_names_what_is_not_retried_by_its_code_or_by_the_name_of_its_class_or_a_base() -> None:
    assert plan(RETRY, 1, code="QUOTA", kind="transient") == GiveUp("non_retryable")
    names = ("KeyError", "LookupError", "Exception")
    assert plan(RETRY, 1, code="X", kind="bug", names=names) == GiveUp("non_retryable")
    assert isinstance(plan(RETRY, 1, code="X", kind="bug", names=("OSError",)), Again)


@given(st.integers(1, 20), st.integers(0, 2**32))
def test_a_wait_is_anything_up_to_the_exponential_bound(attempt: int, seed: int) -> None:
    retry = Retry(max_retries=20, base_seconds=2, factor=3, cap_seconds=10)
    found = plan(retry, attempt, code="X", kind="transient", rng=random.Random(seed))  # noqa: S311 - repeatable
    assert isinstance(found, Again)
    assert timedelta(0) <= found.after <= timedelta(seconds=min(10.0, 2.0 * 3.0 ** (attempt - 1)))


def test_waits_spread_over_the_whole_range() -> None:
    rng = random.Random(7)  # noqa: S311 - repeatable
    plans = [plan(RETRY, 2, code="X", kind="transient", rng=rng) for _ in range(200)]
    waits = [one.after.total_seconds() for one in plans if isinstance(one, Again)]
    assert min(waits) < 0.6
    assert max(waits) > 5.4
