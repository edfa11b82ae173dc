"""How urgent tasks are: 0 comes first, 9 last. It orders an org's own tasks; between orgs turns do.

The broker has four steps, 0-2, 3-5, 6-8 and 9: what differs within a step is told apart where tasks are published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SIGNAL: Final = 1
"""Somebody stops what is going on."""
MANUAL: Final = 2
"""Somebody waits for it."""
NORMAL: Final = 4
"""What is not said to be anything else; the database's default."""
BULK: Final = 7
"""What nobody waits for, and much of it: backfills."""
_OF_RULES: Final = {"critical": 1, "high": 3, "medium": NORMAL, "low": 6}


def of_rule(priority: str | None) -> int:
    """Return how urgent an evaluation is of a rule of this priority; None = it is of no rule."""
    return NORMAL if priority is None else _OF_RULES[priority]


def of_several(urgencies: Iterable[int]) -> int:
    """Return how urgent a task is that carries several things: as its most urgent one."""
    return min(urgencies, default=NORMAL)
