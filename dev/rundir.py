"""Directories that live as long as the process that made them, even when that process is killed.

The owner holds a lock on a file inside. Whoever makes the next directory removes those whose lock is free: their owner
is gone, and its servers died with it (`dev.guard`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "cmis-run-"
_LOCK = "owner.lock"
_LONGEST_BASE = 60  # bytes; a Unix socket's whole path may have 107


def lock_file(path: Path) -> IO[str] | None:
    """Lock `path` for this process and write our pid into it; None when another process holds it. Close to release."""
    stream = path.open("a+", encoding="ascii")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        return None
    stream.truncate(0)
    stream.write(str(os.getpid()))
    stream.flush()
    return stream


def _base() -> Path:
    temporary = Path(tempfile.gettempdir())
    return temporary if len(os.fsencode(temporary)) <= _LONGEST_BASE else Path("/tmp")  # noqa: S108 - mkdtemp below


def sweep(base: Path) -> list[Path]:
    """Remove the run directories below `base` whose owner is gone; returns them."""
    swept = []
    for directory in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # somebody else's, or swept by another process at this moment
            if not (directory / _LOCK).exists() or directory.stat().st_uid != os.geteuid():
                continue
            lock = lock_file(directory / _LOCK)
            if lock is None:
                continue
            with lock:
                shutil.rmtree(directory, ignore_errors=True)
            swept.append(directory)
    return swept


@contextmanager
def run_directory() -> Iterator[Path]:
    """Make a private directory with a short path (Unix sockets go into it) and remove it at the end."""
    sweep(_base())
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_base()))
    lock = lock_file(directory / "new.lock")
    (directory / "new.lock").rename(directory / _LOCK)  # nobody may find it before it is locked
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        if lock is not None:
            lock.close()
