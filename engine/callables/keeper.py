"""The worker's side of its keeper (engine.callables.forking): one for each process, started with its first call.

A keeper costs once what Python and the callables' modules cost to start, 0.1 s at least; a call costs two forks of it,
6 ms.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Final

from core.errors import TransientError
from engine.callables import frames

_PROGRAM: Final = (
    "import json, sys\n"
    "sys.path[:] = json.loads(sys.argv[1])\n"
    "from engine.callables.forking import main\n"
    "main(int(sys.argv[2]))\n"
)
_LEND_SECONDS: Final = 30.0
_END_SECONDS: Final = 5.0
_GONE: Final = (BrokenPipeError, ConnectionResetError, TimeoutError)


class Keeper:
    """The keeper of this process, and the lines to what it forks. Safe among threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def open(self, module: str) -> socket.socket:
        """Have a warden forked for a callable of `module`; returns the line to it, the caller's to close.

        Raises TransientError where no process can be started.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                frames.send(ours, module.encode())
                self._lend(theirs)
        except OSError as error:
            ours.close()
            message = f"no process can be started for the call: {error}"
            raise TransientError(message) from error
        return ours

    def close(self) -> None:
        """End the keeper, and with it what it watches; the next call starts another."""
        with self._lock:
            self._drop()

    def forget(self) -> None:
        """Leave the keeper to the process that we were forked from; the next call here starts one of our own."""
        self._lock = threading.Lock()  # another thread may have held it at the fork
        control, self._control = self._control, None
        if control is not None:
            control.close()  # or it would live as long as we do
        if self._process is not None:
            self._process.returncode = 0  # it is no child of ours: nothing may be waited for
            self._process = None

    def _lend(self, line: socket.socket) -> None:
        with self._lock:
            try:
                socket.send_fds(self._running(), [b"\0"], [line.fileno()])
            except _GONE:  # it died, or hangs: once more with another one
                self._drop()
                socket.send_fds(self._running(), [b"\0"], [line.fileno()])

    def _running(self) -> socket.socket:
        if self._control is None or self._process is None or self._process.poll() is not None:
            self._drop()
            self._control = self._start()
        return self._control

    def _start(self) -> socket.socket:
        control, theirs = socket.socketpair()
        control.settimeout(_LEND_SECONDS)
        arguments = [json.dumps(sys.path), str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _PROGRAM, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a terminal's Ctrl-C, or a signal to the worker's group, is not for it
            )
        return control

    def _drop(self) -> None:
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            control.close()
        if process is not None:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)


KEEPER: Final = Keeper()
atexit.register(KEEPER.close)
os.register_at_fork(after_in_child=KEEPER.forget)
