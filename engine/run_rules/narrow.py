"""The campaigns that a rule missed by least: a few of all that it looked at, so that near misses are on record."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.rules.nearest import distance

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from engine.rules.tree import Condition


@dataclass(frozen=True, slots=True)
class Miss:
    """A campaign for which the conditions are false, with all that its trace is made from."""

    entity: dict[str, Any]
    facts: Mapping[str, object]
    ages: Mapping[str, float]
    withheld: Mapping[str, str] | None


@dataclass(slots=True)
class Narrowest:
    """At most `most` misses: the first ones as they come, and from then on those nearest to holding."""

    condition: Condition
    most: int
    _kept: list[tuple[float, int, Miss]] = field(default_factory=list)
    _ranked: bool = False
    _seen: int = 0

    def add(self, miss: Miss) -> None:
        """Keep the miss if it is among the narrowest; distances are only computed once there are too many."""
        self._seen += 1
        if self._seen <= self.most:
            self._kept.append((0.0, -self._seen, miss))
            return
        if not self._ranked:
            self._kept = [(self._nearness(kept), order, kept) for _, order, kept in self._kept]
            heapq.heapify(self._kept)
            self._ranked = True
        heapq.heappushpop(self._kept, (self._nearness(miss), -self._seen, miss))

    def __iter__(self) -> Iterator[Miss]:
        """Yield the kept misses: all, in their order, if they are few; else the narrowest first."""
        yield from (miss for _, _, miss in sorted(self._kept, key=_order))

    def _nearness(self, miss: Miss) -> float:
        away = distance(self.condition, miss.facts)
        return -math.inf if away is None else -away


def _order(kept: tuple[float, int, Miss]) -> tuple[float, int]:
    nearness, order, _ = kept
    return -nearness, -order
