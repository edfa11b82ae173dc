"""How many runs of a job failed in a row: what pauses it, and what people ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_FAILED: Final = frozenset({"failure", "lost"})
_NEUTRAL: Final = frozenset({"cancelled"})


def failures_in_a_row(before: int, outcomes: Iterable[str | None]) -> int:
    """Count on from `before` through the outcomes of further runs, in order, up to the first that is open (None)."""
    for outcome in outcomes:
        if outcome is None:
            break
        if outcome in _FAILED:
            before += 1
        elif outcome not in _NEUTRAL:
            before = 0
    return before
