"""The runs of one thing that is measured: their figures, or why there are none."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.peer_venv import PeerError
from benchmarks.report import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(slots=True)
class Series:
    """Figures of one kind (`ms` or `steps/s`), in the order in which they were measured."""

    name: str
    unit: str
    runs: list[float] = field(default_factory=list)
    reason: str | None = None

    def add(self, figures: Sequence[float]) -> None:
        """Note runs."""
        self.runs.extend(figures)
        say(f"  {self.name}: {', '.join(f'{figure:,.4g}' for figure in figures)} {self.unit}")

    def fail(self, reason: str) -> None:
        """Take back every figure."""
        self.runs.clear()
        self.reason = reason

    @property
    def median(self) -> float | None:
        """Return the median of the runs; None where it could not run."""
        return statistics.median(self.runs) if self.runs else None


def attempt(measure: Callable[[], None], *series: Series) -> None:
    """Measure once more what fills these series, unless it failed before; a peer that cannot run is no end."""
    if any(one.reason for one in series):
        return
    try:
        measure()
    except PeerError as error:
        for one in series:
            one.fail(f"{one.name} could not run: {error}")
