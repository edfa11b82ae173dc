"""Starting, watching and stopping child processes. Standard library only: `make clean` uses it without a venv."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_GUARD = Path(__file__).with_name("guard.py")
_POLL_SECONDS = 0.02


def guarded(command: Sequence[str | Path], death_signal: signal.Signals, uid: int | None = None) -> list[str]:
    """Return the argv that runs `command` so that it gets `death_signal` when this process dies."""
    who = "-" if uid is None else str(uid)
    guard = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), str(int(death_signal)), who, "--"]
    return [*guard, *map(str, command)]


def spawn(
    command: Sequence[str | Path],
    *,
    output: IO[bytes] | int | None,
    death_signal: signal.Signals = signal.SIGKILL,
    uid: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    feed: bytes | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own (a terminal's Ctrl-C must not reach it), stdout and stderr to `output`.

    `feed` is all that it reads on its standard input; it must fit into a pipe (4 KiB).
    """
    process = subprocess.Popen(
        guarded(command, death_signal, uid),
        stdin=subprocess.DEVNULL if feed is None else subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        env=None if env is None else dict(env),
        cwd=cwd,
        start_new_session=True,
    )
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(feed or b"")
    return process


def has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether `process` has ended, without reaping it: its pid, and so its group, stays reserved."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def stop(process: subprocess.Popen[bytes], ask: signal.Signals, deadline_seconds: float) -> int:
    """End `process`: `ask` it alone, then kill its whole group, at the latest after the deadline. Returns its status.

    The request goes to the process and not to its group, because Celery's pool children would die of it in mid-task.
    """
    if process.returncode is None:
        if not has_ended(process):
            os.kill(process.pid, ask)
            wait_until(lambda: has_ended(process), deadline_seconds)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # also what a dead leader left behind in its group
    return process.wait()


def wait_until(ready: Callable[[], bool], deadline_seconds: float, every_seconds: float = _POLL_SECONDS) -> bool:
    """Poll `ready` until it is true; False when the deadline passes first."""
    end = time.monotonic() + deadline_seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(every_seconds)
    return True


def exists(pid: int) -> bool:
    """Tell whether `pid` is taken, by a live process or by a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def is_zombie(pid: int) -> bool:
    """Tell whether `pid` is dead and not yet reaped by its parent (where there is a /proc to say so)."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] == "Z"
    return False


def is_running(pid: int) -> bool:
    """Tell whether `pid` is a live process; a zombie is not."""
    return exists(pid) and not is_zombie(pid)


def tail(log: Path, lines: int = 12) -> str:
    """Return the last lines of a log file, or an empty string when there is none."""
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""
