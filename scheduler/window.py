"""How many messages of one queue may wait in the broker: what its workers take until the scheduler looks again, twice.

What waits in the broker is first in, first out, and whoever comes later stands behind all of it, of whatever org. So as
little as possible waits there, and yet no worker is ever without. How much that is depends on how long tasks take, and
on how many workers there are, which nobody has to say: it is measured, as kernels do for the queues of network cards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

LEAST: Final = 4
FIRST: Final = 16
"""How many a queue may hold of which nothing was measured, if nobody says: a small burst is published at once."""
LOOK_SECONDS: Final = 0.05
"""How often a scheduler looks that had to leave tasks behind."""


@dataclass(slots=True)
class Window:
    """One queue as one scheduler sees it."""

    most: int
    """How many messages may wait in it whatever is measured."""
    first: int = FIRST
    """How many may wait while nothing is measured."""
    size: int = field(init=False)
    left: int = 0
    """How many waited when the scheduler had looked last."""
    looked_at: float = 0.0
    short: bool = False
    """Whether tasks had to be left behind then, so that the queue could only run dry."""

    def __post_init__(self) -> None:
        self.size = min(self.first, self.most)

    def room(self, waiting: int, now: float) -> int:
        """Learn from how many messages wait at a time in seconds; returns for how many more there is room."""
        if self.short:
            self.size = resized(self.size, self.left - waiting, now - self.looked_at, dry=waiting == 0, most=self.most)
        elif now - self.looked_at >= LOOK_SECONDS:  # the next flood may be of longer tasks
            self.size = min(self.most, max(self.first, self.size // 2))
        return max(0, self.size - waiting)

    def looked(self, waiting: int, now: float, *, short: bool) -> None:
        """Note how many messages wait after a look, and whether tasks were left behind."""
        self.left, self.looked_at, self.short = waiting, now, short


def resized(size: int, taken: int, seconds: float, *, dry: bool, most: int) -> int:
    """Return a window's next size: twice what is taken between two looks, at least twice as often as is looked.

    `taken` messages in so many seconds; `dry`: nothing is left, so that workers may have been without, and twice the
    window is tried. It changes by a factor of two at most, and shrinks upon no look that came too soon to tell.
    """
    if dry:
        wanted = 2 * size
    else:
        wanted = math.ceil(2 * max(0, taken) * max(1.0, LOOK_SECONDS / max(seconds, 0.001)))
        wanted = min(2 * size, wanted)
        if seconds < LOOK_SECONDS / 2:
            wanted = max(size, wanted)
    return min(most, max(LEAST, size // 2, wanted))
