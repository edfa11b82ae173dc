"""How long a workflow is, how many run at once, and how often each thing is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scale:
    """The sizes of a run of this part."""

    steps: int
    """Steps of a workflow, one after another."""
    instances: int
    """Workflows at once."""
    warm: int
    """Workflows at once before the clock counts."""
    rounds: int
    """How often everything is measured in turn."""
    singles: int
    """Workflows that run alone in a round, one after another."""

    @property
    def total(self) -> int:
        """Steps of all workflows that run at once."""
        return self.steps * self.instances


FULL: Final = Scale(steps=40, instances=200, warm=20, rounds=3, singles=7)
QUICK: Final = Scale(steps=40, instances=50, warm=10, rounds=1, singles=3)
MANY_SECONDS: Final = 120.0
"""What all workflows at once may take, at most."""
SINGLE_SECONDS: Final = 20.0
"""What one may take."""
