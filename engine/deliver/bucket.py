"""Token buckets: how many deliveries an org, or one of its accounts, may make. Pure.

A bucket holds at most `burst` tokens and gains `rate_per_minute` of them a minute; a delivery takes one. What was never
used is full.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

_MINUTE: Final = 60.0
_SECONDS_OF_BURST: Final = 10


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens a minute, and how many may be saved up."""

    per_minute: int
    burst: int

    @classmethod
    def of(cls, per_minute: int, burst: int | None = None) -> Rate:
        """Return a rate; without a burst of its own it saves up what ten seconds bring, at least one."""
        return cls(per_minute, burst or max(1, per_minute * _SECONDS_OF_BURST // 60))


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was in a bucket at one time; None = it was never used."""

    tokens: float | None = None
    refilled_at: datetime | None = None

    def at(self, rate: Rate, now: datetime) -> float:
        """Return how many tokens are in it now. A clock that went back brings none."""
        if self.tokens is None or self.refilled_at is None:
            return float(rate.burst)
        gained = max(0.0, (now - self.refilled_at).total_seconds()) * rate.per_minute / _MINUTE
        return min(float(rate.burst), self.tokens + gained)

    def ready_after(self, rate: Rate, now: datetime) -> timedelta:
        """Return in how long a token will be there; zero where one is."""
        missing = 1.0 - self.at(rate, now)
        return timedelta(seconds=max(0.0, missing) * _MINUTE / rate.per_minute)

    def take(self, rate: Rate, now: datetime) -> Bucket:
        """Return the bucket with one token less. Below zero it is one to come, and reserved."""
        return Bucket(self.at(rate, now) - 1.0, now)
