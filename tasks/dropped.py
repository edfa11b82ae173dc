"""How many messages this process has dropped because they made no sense, by reason: for `celery inspect dropped`."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

logger = logging.getLogger(__name__)

COUNTS: Final[Counter[str]] = Counter()


def drop(reason: str, said: object = "") -> None:
    """Count a message that is dropped, and log why; of what it says itself, which anybody may have written, little."""
    COUNTS[reason] += 1
    logger.warning("dropped a message, the %d. of this worker: %s %.200s", COUNTS.total(), reason, said)
