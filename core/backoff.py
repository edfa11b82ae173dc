"""How a server that is out of reach is waited for: the one place that says how long, how often and in which order.

Exponential, capped, full jitter: a hundred processes that lost the same server at the same moment must not come back to
it at the same moment, and none of them may be long away once it is there again.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_exponential

from core.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LOOK_SECONDS: Final = 0.1
_RANDOM: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Pace:
    """The longest first pause and the longest of all, in seconds; each is at least a tenth of what it could be."""

    first: float
    cap: float

    def pause(self, failures: int, chance: Callable[[float, float], float] = _RANDOM.uniform) -> float:
        """Return how long to wait after so many failures in a row (1 = the first); `chance` draws between two."""
        state = RetryCallState(Retrying(), None, (), {})
        state.attempt_number = failures
        longest = wait_exponential(multiplier=self.first, max=self.cap)(state)
        return chance(longest / 10, longest)


DATABASE: Final = Pace(first=0.5, cap=4.0)
"""Postgres takes seconds to restart; ten are promised until everything is at work again."""
BROKER: Final = Pace(first=0.25, cap=2.0)
"""A broker that comes back is to be used again within three seconds."""
PROCESS: Final = Pace(first=1.0, cap=30.0)
"""A process that ends again and again."""


@dataclass(slots=True)
class Backoff:
    """The failures in a row of one thing that is tried again and again."""

    pace: Pace
    failures: int = field(default=0, init=False)

    def next(self) -> float:
        """Count a failure; returns how long to wait before the next try, in seconds."""
        self.failures += 1
        return self.pace.pause(self.failures)

    def reset(self) -> None:
        """Forget the failures: it worked."""
        self.failures = 0


def sleep(seconds: float, stopping: Callable[[], bool] = lambda: False) -> None:
    """Sleep, but not on after `stopping` says so: a signal's handler sets a flag only, and a plain sleep goes on."""
    deadline = monotonic() + seconds
    while (left := deadline - monotonic()) > 0 and not stopping():
        time.sleep(min(left, _LOOK_SECONDS))


def until_reached(
    attempt: Callable[[], T],
    away: type[Exception],
    pace: Pace,
    *,
    say: Callable[[Exception, float], None],
    for_seconds: float | None = None,
) -> T:
    """Return what `attempt` returns, tried again while it raises `away`, at most for so long; then that is raised.

    `say` is told each failure, and how long the pause is.
    """
    backoff, deadline = Backoff(pace), None if for_seconds is None else monotonic() + for_seconds
    while True:
        try:
            return attempt()
        except away as error:
            pause = backoff.next()
            if deadline is not None and monotonic() + pause > deadline:
                raise
            say(error, pause)
        sleep(pause)
