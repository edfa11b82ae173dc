"""How many messages wait in a queue: enough that no worker is without, and not many more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.window import FIRST, LEAST, LOOK_SECONDS, Window, resized

MOST = 2_000
SIZES = st.integers(1, MOST)


@given(
    SIZES,
    st.integers(-5_000, 5_000),
    st.floats(0, 100, allow_nan=False),
    st.booleans(),
    st.integers(1, MOST),
)
def test_a_window_changes_by_a_factor_of_two_at_most_and_stays_between_its_bounds(
    size: int,
    taken: int,
    seconds: float,
    dry: bool,  # noqa: FBT001 - given by Hypothesis
    most: int,
) -> None:
    after = resized(size, taken, seconds, dry=dry, most=most)
    assert min(LEAST, most) <= after <= most
    assert after <= max(2 * size, LEAST)
    assert after >= min(size // 2, most)


@given(SIZES, st.floats(0, 10, allow_nan=False))
def test_a_queue_that_ran_dry_gets_twice_as_many(size: int, seconds: float) -> None:
    assert resized(size, size, seconds, dry=True, most=MOST) == min(MOST, max(LEAST, 2 * size))


@given(SIZES, st.integers(0, MOST), st.floats(0, LOOK_SECONDS / 2, exclude_max=True))
def test_a_look_that_came_too_soon_shrinks_nothing(size: int, taken: int, seconds: float) -> None:
    assert resized(size, taken, seconds, dry=False, most=MOST) >= size


def simulated(processes: int, task_seconds: float, *, looks: int) -> tuple[Window, float, list[int]]:
    """Drain an endless backlog by workers that take so long; returns the window, how busy they were, what waited."""
    window, waiting, taken, free, depths = Window(MOST), 0, 0, 0.0, []
    for look in range(1, looks + 1):
        free += processes * LOOK_SECONDS / task_seconds
        took = min(waiting, int(free))
        free -= int(free)  # what nobody took in time is lost
        taken, waiting = taken + took, waiting - took
        waiting += window.room(waiting, look * LOOK_SECONDS)
        window.looked(waiting, look * LOOK_SECONDS, short=True)
        depths.append(waiting)
    return window, taken / int(looks * processes * LOOK_SECONDS / task_seconds), depths


@pytest.mark.parametrize(
    ("processes", "task_seconds"), [(2, 0.05), (2, 0.001), (64, 0.05), (2, 1.0), (300, 0.01), (1, 0.2)]
)
def test_workers_are_kept_busy_and_little_waits_whatever_they_do(processes: int, task_seconds: float) -> None:
    window, busy, depths = simulated(processes, task_seconds, looks=800)
    per_look = processes * LOOK_SECONDS / task_seconds
    assert busy > 0.93
    assert window.size <= max(LEAST, min(MOST, 4 * per_look + 1))
    assert max(depths[400:]) <= max(LEAST, 4 * per_look + 1)


def test_after_a_flood_a_window_is_small_again_for_the_next_one_may_be_of_longer_tasks() -> None:
    window = Window(MOST)
    window.size = MOST
    for look in range(10):
        window.room(0, look * 0.1)
        window.looked(0, look * 0.1, short=False)
    assert window.size == FIRST


def test_no_window_is_larger_than_its_queue_may_be() -> None:
    assert Window(3).room(0, 0.0) == 3
    assert Window(3).room(5, 0.0) == 0
    assert Window(MOST, first=100).room(30, 0.0) == 70
