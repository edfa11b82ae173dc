"""The keeper: a process beside each worker process that has the callables' modules in memory, and forks for each call.

It has one thread and no connection of the worker's, so that a fork of it is safe and knows nothing of the worker. What
it forks, a warden (engine.callables.warden), speaks with the worker over a line of its own. It ends with its worker.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

from engine.callables import frames
from engine.callables.warden import watch

TICK_SECONDS: Final = 1.0
_HELLO_SECONDS: Final = 5.0
_KEPT: Final = frozenset({signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE})


def main(control_fd: int) -> None:
    """Fork a warden for each line that comes over the control socket, until the worker is gone."""
    _forget_signals()
    worker = os.getppid()
    with socket.socket(fileno=control_fd) as control:
        while os.getppid() == worker:
            ready, _, _ = select.select([control], [], [], TICK_SECONDS)
            _reap()
            if not ready:
                continue
            said, [*fds], _, _ = socket.recv_fds(control, 1, 1)
            if not said:
                return
            for fd in fds:
                with socket.socket(fileno=fd) as line:
                    _serve(control, line)


def _serve(control: socket.socket, line: socket.socket) -> None:
    line.settimeout(_HELLO_SECONDS)
    with suppress(EOFError, OSError):  # whoever asked is gone
        _preload(frames.receive(line).decode())
        keeper = os.getpid()
        if os.fork() == 0:
            try:
                control.close()
                watch(line, keeper)
            finally:
                os._exit(1)


def _preload(module: str) -> None:
    """Import what the call needs, once for all calls; what it raises is told by the call itself, which tries again."""
    with suppress(BaseException):
        importlib.import_module(module)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # what stands in a buffer would be said by every fork


def _reap() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _forget_signals() -> None:
    """Take back what the worker ignores or blocks: both outlive an exec."""
    for number in signal.valid_signals() - _KEPT:
        with suppress(OSError, ValueError):  # some belong to the C library
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
