"""Ending this process in time, whatever its code still waits for. What is cut off is done again: its lease ends."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

STUCK_SECONDS: Final = 10.0
"""What a stuck process has to end as if it had been asked to."""


_LAST_SECONDS: Final = 5.0


def _nothing() -> None:
    """Have nothing to do at last."""


def end_within(seconds: float, code: int, busy_with: Callable[[], str], at_last: Callable[[], None] = _nothing) -> None:
    """End the process with `code` once so many seconds have passed, if it still lives then; returns at once.

    `busy_with` says what it is still at, for the log. `at_last` is done before the end, and has five seconds for it.
    """
    threading.Thread(target=_end, args=(seconds, code, busy_with, at_last), name="ending", daemon=True).start()


def _end(seconds: float, code: int, busy_with: Callable[[], str], at_last: Callable[[], None]) -> None:
    threading.Event().wait(seconds)

    def last() -> None:
        try:
            logger.warning(
                "ending after %.0f s although at work, which is done again by others: %s", seconds, busy_with()
            )
            at_last()
        finally:
            logging.shutdown()

    # nothing of this is waited for without a bound: what the process hangs in may be its log, that nobody reads
    ending = threading.Thread(target=last, name="at-last", daemon=True)
    ending.start()
    ending.join(_LAST_SECONDS)
    os._exit(code)
