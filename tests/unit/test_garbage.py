"""What time limits a message may bring: anything else Celery would meet in the middle of its event loop."""

from __future__ import annotations

from typing import Any

import pytest

from worker.garbage import fault_of_limits


@pytest.mark.parametrize("limits", [None, [None, None], (310, 300), [310, None], [1.5, 0]])
def test_time_limits_that_celery_writes_are_taken(limits: Any) -> None:
    assert fault_of_limits(limits) is None


@pytest.mark.parametrize(
    "limits",
    ["x", "ab", 5, {}, [], [1], [1, 2, 3], ["a", None], [5, "a"], [5, {}], [True, None], [-1, None], [float("nan"), 1],
     [float("inf"), 1], [1e12, None], [0.01, 0.001]],
)  # fmt: skip
def test_anything_else_is_none(limits: Any) -> None:
    assert fault_of_limits(limits) == "its time limits are none"
