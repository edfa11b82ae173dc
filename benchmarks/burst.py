"""A burst: work that is due at one instant, and when each piece of it reached the broker's queue. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Sample(NamedTuple):
    """The lengths of a queue's lists at one moment (seconds since the epoch, taken after the broker's answer)."""

    at: float
    lengths: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Burst:
    """How many pieces were due, and the lateness (seconds after the due instant) of each that came, ascending."""

    expected: int
    lateness: tuple[float, ...]

    @property
    def reached(self) -> int:
        """How many pieces came before the time was up."""
        return len(self.lateness)

    @property
    def rate(self) -> float:
        """Pieces per second: their number ÷ (last published - due instant). 0 where none came."""
        return self.reached / self.lateness[-1] if self.lateness else 0.0

    @property
    def p99(self) -> float:
        """Lateness that 99 of 100 pieces do not exceed, by nearest rank."""
        return self.lateness[math.ceil(0.99 * self.reached) - 1]


def arrivals(samples: Sequence[Sample]) -> list[list[float]]:
    """Return for each list the moment at which its first, second … message was first seen."""
    times: list[list[float]] = [[] for _ in samples[0].lengths] if samples else []
    for at, lengths in samples:
        for seen, length in zip(times, lengths, strict=True):
            seen.extend([at] * (length - len(seen)))
    return times


def burst(
    expected: int, due: float, published: Sequence[tuple[str, float]], weights: Mapping[str, int] | None = None
) -> Burst:
    """Build a burst of messages (id, moment). `weights`: how many pieces each carries, 1 where it is None.

    A message that came twice counts when it came first; one without a weight counts nothing.
    """
    first: dict[str, float] = {}
    for key, at in published:
        first[key] = min(at, first.get(key, at))
    pieces = [at - due for key, at in first.items() for _ in range(1 if weights is None else weights.get(key, 0))]
    return Burst(expected, tuple(sorted(pieces)))
