"""What a benchmark reports: one row per figure, its ratio to a baseline, and whether that meets the target. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `value` and `baseline` are medians, in `unit`; None where the thing could not be measured."""

    name: str
    unit: str
    better: Better
    value: float | None
    baseline: float | None = None
    target: float | None = None
    """What the ratio must reach (`higher`) or stay within (`lower`); None for a row that only informs."""
    reason: str | None = None
    """Why something is missing, or what was not as planned."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """What belongs to this row alone: sizes, each run's figure. Reported within its environment."""

    @property
    def ratio(self) -> float | None:
        """Value ÷ baseline; None where one is missing."""
        if self.value is None or not self.baseline:
            return None
        return self.value / self.baseline

    @property
    def ok(self) -> bool:
        """Whether the figure exists and, where there is a target, meets it."""
        if self.target is None:
            return self.value is not None
        if self.ratio is None:
            return False
        return self.ratio >= self.target if self.better == "higher" else self.ratio <= self.target

    def document(self, environment: Mapping[str, Any]) -> dict[str, Any]:
        """Return the row as JSON; `environment` is what all rows of a run share."""
        document = {
            "name": self.name,
            "value": _rounded(self.value),
            "baseline": _rounded(self.baseline),
            "ratio": _rounded(self.ratio),
            "unit": self.unit,
            "better": self.better,
            "target": self.target,
            "ok": self.ok,
            "environment": {**environment, **self.details},
        }
        return document if self.reason is None else document | {"reason": self.reason}


def missed(rows: Sequence[Row]) -> list[Row]:
    """Return the rows that have a target and do not meet it."""
    return [row for row in rows if row.target is not None and not row.ok]


def _rounded(figure: float | None) -> float | None:
    """Four significant digits: the runs agree in fewer."""
    return None if figure is None else float(f"{figure:.4g}")
