"""Whatever a call has started, and its end: SIGKILL for the runner, for its group, and for what left the group.

A process that makes itself a session of its own (`setsid`, a browser, a daemon) escapes from its group, but not from
whoever adopts orphans: on Linux that is the warden.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_ROUNDS: Final = 100
_ROUND_SECONDS: Final = 0.02
_FIRST_TO_DIE: Final = "1000"


def adopt() -> None:
    """Become the parent of descendants whose parent has died. Linux only; elsewhere the group must do."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """Ask the kernel for SIGKILL when `parent` dies. Linux only."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def be_first_to_die() -> None:
    """Let the kernel choose this process and its children, where memory runs out, before any worker."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_DIE, encoding="ascii")


def end_all(runner: int, wake_fd: int) -> None:
    """Kill the runner (a child that is not reaped yet), its group, and all orphans; wait until they are gone.

    `wake_fd` is readable when a child has died. What cannot be killed within two seconds is left to the kernel.
    """
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(runner, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(runner, signal.SIGKILL)  # before it had a group of its own
    for again in range(_ROUNDS):
        if not _reap():
            return
        for orphan in _children() if again else ():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(orphan, signal.SIGKILL)
        if select.select([wake_fd], [], [], _ROUND_SECONDS)[0]:
            os.read(wake_fd, 4096)


def _reap() -> bool:
    """Reap who is dead; returns whether anybody is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> Iterator[int]:
    """Return our children. Their list under /proc/self is missing from some kernels; every process has its parent."""
    us = str(os.getpid())
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, _, rest = stat.read_text(errors="replace").partition(" (")
            if rest.rpartition(")")[2].split()[1] == us:
                yield int(pid)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        _LIBRARY.prctl(option, value)


_LIBRARY: Final = ctypes.CDLL(None)
