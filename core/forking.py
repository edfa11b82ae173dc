"""Keeping threads that have connections open, and forks of the pool apart.

A child inherits what is open at the moment of its fork, and for ever the locks that other threads hold then. So who
talks to servers does so in `unforked`, and a fork waits until it is done: milliseconds, or what it takes to find
that a server is away.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK: Final = threading.Lock()


@contextmanager
def unforked() -> Iterator[None]:
    """Let no fork of this process happen during the block. Never entered twice by one thread."""
    with _LOCK:
        yield


os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)
