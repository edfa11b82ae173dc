"""Counts what this worker drops, over all of its processes: in memory that its forked children share with it.

No lock is held in it, since a child may die at any moment. Each child alone writes to its slot, and a
child that replaces another goes on with it. `worker.dropping` tells the sums to the database.
"""

from __future__ import annotations

import logging
import mmap
from threading import Lock
from typing import Final

from billiard.process import current_process

from models.queue_enums import Dropped

logger = logging.getLogger(__name__)

_SLOTS: Final = 257
"""The worker's main process, whose threads take turns, and its children; were there more, they would share."""
_PLACES: Final = {reason: place for place, reason in enumerate(Dropped)}

_memory: Final = memoryview(mmap.mmap(-1, _SLOTS * len(_PLACES) * 8)).cast("Q")
_threads: Final = Lock()
"""Of the main process only: a child has one thread that drops messages."""


def count(reason: Dropped) -> None:
    """Count one message that is dropped for this reason."""
    child = getattr(current_process(), "index", None)
    if child is None:
        with _threads:
            _memory[_PLACES[reason]] += 1
    else:
        _memory[(1 + child % (_SLOTS - 1)) * len(_PLACES) + _PLACES[reason]] += 1


def drop(reason: Dropped, said: object) -> None:
    """Count a message that is dropped, and log why; of what it says itself, which anybody may have written, little."""
    count(reason)
    logger.warning("dropped a message (%s): %.200s", reason, said)


def totals() -> dict[str, int]:
    """Return how many messages this worker and its children have dropped since it started, by reason."""
    return {reason.value: sum(_memory[place :: len(_PLACES)]) for reason, place in _PLACES.items()}
