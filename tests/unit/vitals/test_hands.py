"""What a worker's hands report: one that was asked to end is not blamed for what it leaves to others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from models.process_enums import ProcessState
from vitals.liveness import LOOKS, Liveness
from worker.hands import Hands

if TYPE_CHECKING:
    from celery.worker import WorkController


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    """Those of a worker whose loop stands still, while five messages wait for somebody."""
    monkeypatch.setattr(Hands, "_waiting", lambda _: 5)
    worker: Any = SimpleNamespace(max_concurrency=None, concurrency=2, pool=SimpleNamespace(_pool=None))
    made = Hands(cast("WorkController", worker))
    made.has_loop = True
    return made


@pytest.mark.parametrize(("ending", "state"), [(False, ProcessState.STUCK), (True, ProcessState.WORKING)])
def test_only_one_that_nobody_asked_to_end_is_stuck(hands: Hands, ending: bool, state: ProcessState) -> None:  # noqa: FBT001 - a parameter of the test
    hands.ending = ending
    liveness = Liveness(10)
    judgements = [liveness.judge(hands.look().seen) for _ in range(LOOKS + 1)]
    assert judgements[-1].state is state
