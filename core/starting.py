"""The start of a process that runs for long: its database is waited for, and looked at before any work."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from core.backoff import DATABASE, until_reached
from core.errors import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from core.db import Database


def check_when_reached(database: Database, *, test_clock: bool) -> None:
    """Wait until `database` answers, and check it. Raises SetupError where waiting would not help.

    Meanwhile the reason is on stderr, and SIGTERM or Ctrl-C ends the process in good order: it has nothing to finish.
    """
    with _ending_when_asked():
        until_reached(lambda: database.check(test_clock=test_clock), UnreachableError, DATABASE, say=_say)


def _say(error: Exception, pause: float) -> None:
    sys.stderr.write(f"warning: {error}; trying again in {pause:.1f} s\n")
    sys.stderr.flush()


@contextmanager
def _ending_when_asked() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, _end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)
