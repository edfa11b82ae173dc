"""Is a quantity flat? The slope of its samples by Theil and Sen, which a fifth of them being anything does not change.

(H. Theil, 1950; P. K. Sen, 1968: the median of the slopes between all pairs of points.)
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SETTLED: Final = 0.4
"""The part of a run that is not judged: caches fill, connections open, the first children come and go."""
_ENOUGH: Final = 6


@dataclass(frozen=True, slots=True)
class Point:
    """What was read, and how many seconds after the beginning."""

    at: float
    value: float


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a quantity may grow during the part of a run that is judged: the larger of two; or how large it may be.

    None in all of them: it is shown, and not judged.
    """

    growth: float | None = None
    """In its own unit."""
    share: float = 0.0
    """As a share of its median."""
    ceiling: float | None = None
    """What nine of ten samples must not exceed."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Medians at the beginning and at the end of what is judged, the growth in between, and in an hour."""

    first: float
    last: float
    growth: float
    hourly: float
    allowed: float | None
    """Growth that is allowed, or the ceiling."""
    flat: bool


def slope(points: Sequence[Point]) -> float:
    """Return the change per second, 0 for fewer than two moments."""
    pairs = combinations(points, 2)
    slopes = [(b.value - a.value) / (b.at - a.at) for a, b in pairs if b.at != a.at]
    return statistics.median(slopes) if slopes else 0.0


def settled(points: Sequence[Point]) -> Sequence[Point]:
    """Return the points of the part that is judged."""
    if not points:
        return points
    begins = points[0].at + SETTLED * (points[-1].at - points[0].at)
    return [point for point in points if point.at >= begins]


def judge(points: Sequence[Point], limit: Limit) -> Judged:
    """Judge a quantity by its later points. Too few prove nothing: they are not flat, if they are to be judged."""
    later = settled(points)
    if len(later) < _ENOUGH:
        value = points[-1].value if points else 0.0
        judged = limit.growth is not None or limit.ceiling is not None
        return Judged(value, value, 0.0, 0.0, limit.growth or limit.ceiling, not judged)
    third = len(later) // 3
    first, last = (statistics.median(point.value for point in part) for part in (later[:third], later[-third:]))
    a_second = slope(later)
    growth = a_second * (later[-1].at - later[0].at)
    values = [point.value for point in later]
    if limit.ceiling is not None:
        high = statistics.quantiles(values, n=10, method="inclusive")[-1]
        return Judged(first, last, growth, a_second * 3600, limit.ceiling, high <= limit.ceiling)
    if limit.growth is None:
        return Judged(first, last, growth, a_second * 3600, None, flat=True)
    allowed = max(limit.growth, limit.share * abs(statistics.median(values)))
    return Judged(first, last, growth, a_second * 3600, allowed, growth <= allowed)
