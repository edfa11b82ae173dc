"""Waiting for a row that somebody else will write: looking again and again, through outages, until a deadline."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy.exc import DBAPIError

from core.backoff import DATABASE, Backoff
from core.clock import monotonic
from core.db import first_line, is_outage

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

logger = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


def until_found(look: Callable[[], T | None], *, seconds: float) -> T | None:
    """Return what `look`, one whole transaction, finds; None if that is nothing for so long.

    A database that is away is waited for as long. Raises its DBAPIError if it is away at the end.
    """
    deadline, pause, outage = monotonic() + seconds, _FIRST_PAUSE, Backoff(DATABASE)
    while True:
        try:
            found = look()
        except DBAPIError as error:
            if not is_outage(error) or monotonic() >= deadline:
                raise
            found, wait = None, outage.next()
            logger.warning("the database failed, trying again in %.1f s: %s", wait, first_line(error))
        else:
            outage.reset()
            wait, pause = pause, min(pause * 2, _LONGEST_PAUSE)
        left = deadline - monotonic()
        if found is not None or (left <= 0 and not outage.failures):
            return found
        time.sleep(max(0.0, min(wait, left)))
