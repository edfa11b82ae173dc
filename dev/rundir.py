"""Directories that live as long as the process that made them, even when that process is killed.

The owner holds a lock on a file inside. Whoever makes the next directory removes those whose lock is free: their owner
is gone, and its servers died with it (`dev.guard`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dev.launch import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX = "cmis-run-"
_LOCK = "owner.lock"
_LOCKED_WITHIN_SECONDS = 60.0
_REMOVE_SECONDS = 5.0
_LONGEST_BASE = 60  # bytes; a Unix socket's whole path may have 107
_MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp below
_ROOM_BYTES = 4 << 30
_LEFT_BYTES = 8 << 30


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


def memory() -> Path | None:
    """Return a directory whose files are in memory, if there is one with room for a server and memory to spare.

    Each test has a database of its own, which is seven hundred files: on a disk that takes longer than most tests.
    """
    try:
        free, spare = shutil.disk_usage(_MEMORY).free, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
    return _MEMORY if free >= _ROOM_BYTES and spare >= _LEFT_BYTES and os.access(_MEMORY, os.W_OK) else None


def sweep(base: Path) -> list[Path]:
    """Remove the run directories below `base` whose owner is gone; returns them."""
    swept = []
    for directory in base.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # swept by another process at this moment
            if directory.stat().st_uid == os.geteuid() and _is_abandoned(directory):
                remove(directory)
                swept.append(directory)
    return swept


def _is_abandoned(directory: Path) -> bool:
    if not (directory / _LOCK).exists():  # its owner makes the lock within a moment, or died while removing all
        return time.time() - directory.stat().st_mtime > _LOCKED_WITHIN_SECONDS
    lock = lock_file(directory / _LOCK)
    if lock is None:
        return False
    lock.close()
    return True


def remove(directory: Path) -> None:
    """Remove `directory`, again and again while a dying process still writes into it."""

    def is_gone() -> bool:
        shutil.rmtree(directory, ignore_errors=True)
        return not directory.exists()

    wait_until(is_gone, _REMOVE_SECONDS)


@contextmanager
def run_directory(base: Path | None = None) -> Iterator[Path]:
    """Make a private directory with a short path (Unix sockets go into it) and remove it at the end.

    `base`: below what; the system's directory for temporary files, if nothing is said.
    """
    below = base or _base()
    sweep(below)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=below))
    lock = lock_file(directory / "new.lock")
    (directory / "new.lock").rename(directory / _LOCK)  # nobody may find it before it is locked
    try:
        yield directory
    finally:
        remove(directory)
        if lock is not None:
            lock.close()
