"""What follows a call outside, from its answer, the attempts used, and whether the receiver honours keys. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from engine.deliver.answers import Delivered, Later, Refused, Unclear
from engine.retry import backoff

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.deliver.answers import Answer

MAX_ATTEMPTS: Final = 10
"""Attempts of a delivery (RELIABILITY §2)."""
LONGEST: Final = timedelta(hours=24)
"""How long after it was made a delivery is still tried: what it says is old news then."""
_SYSTEM_RANDOM: Final = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a delivery is tried, and how long it waits in between: exponentially, with full jitter."""

    attempts: int = MAX_ATTEMPTS
    base_seconds: float = 2.0
    factor: float = 2.0
    cap_seconds: float = 900.0

    def after(self, attempt: int, rng: random.Random) -> timedelta:
        """Return how long to wait after so many attempts."""
        return backoff(attempt, base=self.base_seconds, factor=self.factor, cap=self.cap_seconds, rng=rng)

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Pace:
        """Return the pace that a task's payload gives; most give none."""
        return cls(**payload.get("pace", {}))


@dataclass(frozen=True, slots=True)
class Succeeded:
    """It was delivered."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The receiver will never take it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Again:
    """It is tried again after this long, under the same key."""

    reason: str
    after: timedelta


@dataclass(frozen=True, slots=True)
class Discarded:
    """It was tried for long enough: a dead letter, which a person may send again."""

    reason: str
    unwanted: bool = False
    """Whether nobody wants it any more; then it is no dead letter."""


@dataclass(frozen=True, slots=True)
class Doubtful:
    """Nobody knows whether it arrived, and to send it again might be to do it twice: a person decides."""

    reason: str


Outcome: TypeAlias = Succeeded | Failed | Again | Discarded | Doubtful


def decide(
    answer: Answer,
    *,
    attempt: int,
    age: timedelta,
    keyed: bool,
    pace: Pace | None = None,
    rng: random.Random = _SYSTEM_RANDOM,
) -> Outcome:
    """Decide what follows the `attempt`-th (1 or more) attempt of a delivery that was made `age` ago."""
    pace = pace or Pace()
    match answer:
        case Delivered():
            return Succeeded()
        case Refused(reason=reason):
            return Failed(reason)
        case Unclear(reason=reason) if not keyed:
            return Doubtful(reason)
        case Later(reason=reason, retry_after=retry_after):
            after = max(pace.after(attempt, rng), retry_after or timedelta(0))
        case Unclear(reason=reason):
            after = pace.after(attempt, rng)
    if attempt >= pace.attempts:
        return Discarded(f"given up after {attempt} attempts; at last: {reason}")
    if age + after > LONGEST:
        return Discarded(f"given up after {_hours(age)}; at last: {reason}")
    return Again(reason, after)


def too_old(age: timedelta, after: timedelta, waits_for: str) -> Discarded | None:
    """Discard a delivery that would still wait when it is too old."""
    if age + after <= LONGEST:
        return None
    return Discarded(f"given up after {_hours(age)}: {waits_for}")


def _hours(age: timedelta) -> str:
    return f"{age.total_seconds() / 3600:.1f} hours"
