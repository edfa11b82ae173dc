"""The campaigns that a rule missed by least: a few of all that it looked at, so that near misses are on record."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row

    from engine.actions.base import Campaign
    from engine.rules.closures import Distance
    from engine.run_rules.facts import Page


class Miss(NamedTuple):
    """A campaign for which the conditions are false, with all that its trace is made from."""

    page: Page
    campaign: Campaign | Row[Any]
    facts: Mapping[str, object]
    withheld: Mapping[str, str] | None


@dataclass(slots=True)
class Narrowest:
    """At most `most` misses: the first ones as they come, and from then on those nearest to holding."""

    distance: Distance
    most: int
    _kept: list[tuple[float, int, Miss]] = field(default_factory=list)
    _ranked: bool = False
    _seen: int = 0

    def nearness(self, facts: Mapping[str, object]) -> float | None:
        """Count a miss; returns the nearness to keep it with, None if it is none of the narrowest.

        Distances are only computed once there are too many.
        """
        self._seen += 1
        if self._seen <= self.most:
            return 0.0
        if not self._ranked:
            self._kept = [(-self.distance(kept.facts, math.inf), order, kept) for _, order, kept in self._kept]
            heapq.heapify(self._kept)
            self._ranked = True
        farthest = self._kept[0][0]
        nearness = -self.distance(facts, -farthest)
        return nearness if nearness > farthest else None

    def keep(self, nearness: float, miss: Miss) -> None:
        """Keep the miss that was counted last."""
        if self._seen <= self.most:
            self._kept.append((nearness, -self._seen, miss))
        else:
            heapq.heapreplace(self._kept, (nearness, -self._seen, miss))

    def kept(self) -> list[Miss]:
        """Return the kept misses: all, in their order, if they are few; else the narrowest first."""
        ordered = sorted(self._kept, key=_order) if self._ranked else self._kept
        return [miss for _, _, miss in ordered]


def _order(kept: tuple[float, int, Miss]) -> tuple[float, int]:
    nearness, order, _ = kept
    return -nearness, -order
