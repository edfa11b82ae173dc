"""The program that stands between us and each child: it ties the child's life to ours, then becomes the child.

Run as a script (`python -I -S guard.py PARENT SIGNAL UID -- PROGRAM ARG…`), so that nothing runs between fork and exec
in our own, possibly threaded, process. PARENT is the pid that must stay alive, SIGNAL the number the kernel sends to
the child when it dies, UID `-` or the number to become first (needs root).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_NOT_FOUND = 127


def become(uid: int) -> None:
    """Give up root for `uid`, with its namesake group and no other."""
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def die_with(parent: int, death_signal: int) -> None:
    """Ask the kernel for `death_signal` when `parent` dies. Linux only; elsewhere the next start finds a leftover."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str]) -> None:
    """Become the program named after `--`."""
    parent, death_signal, uid, _, *command = arguments
    if uid != "-":
        become(int(uid))  # before the request: the kernel forgets it when the uid changes
    die_with(int(parent), int(death_signal))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores these, and the program would inherit that
    try:
        os.execvp(command[0], command)  # noqa: S606 - becoming the given program is the purpose
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(_NOT_FOUND)


if __name__ == "__main__":
    main(sys.argv[1:])
