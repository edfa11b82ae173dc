"""The warden: the process that watches one call, and ends with it whatever the call has started.

It forks the runner, waits for what comes first (a result, the runner's death, the end of its time, the word of the
worker or the worker's own end), kills what is left, and reports. The time is the kernel's timer, here and not in the
worker, so that it holds where the worker is stopped, too.
"""

from __future__ import annotations

import json
import os
import select
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from engine.callables import frames
from engine.callables.descendants import adopt, end_all
from engine.callables.runner import run
from engine.callables.said import Said

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

BEGUN: Final = b"begun"
LONGEST_RESULT: Final = 2 * 1024 * 1024
"""Bytes; what is checked is far shorter, unless something else writes into the pipe."""
_TICK_SECONDS: Final = 1.0
_REQUEST_SECONDS: Final = 30.0
_LEAST_SECONDS: Final = 0.001
_CHUNK: Final = 65_536

End: TypeAlias = Literal["result", "died", "timeout", "stopped"]


@dataclass
class _Watch:
    """One call that is under way."""

    line: socket.socket
    keeper: int
    runner: int
    result_fd: int
    said_fd: int
    wake_fd: int
    received: bytearray = field(default_factory=bytearray)
    said: Said = field(default_factory=Said)

    def until_it_ends(self) -> End:
        """Wait for what ends the call."""
        waited_for = {self.line.fileno(), self.result_fd, self.said_fd, self.wake_fd}
        while True:
            ready, _, _ = select.select(waited_for, [], [], _TICK_SECONDS)
            waited_for -= {fd for fd in ready if fd in {self.result_fd, self.said_fd} and not self.take(fd)}
            if frames.first(self.received) is not None or len(self.received) > LONGEST_RESULT:
                return "result"
            if self.line.fileno() in ready or os.getppid() != self.keeper:
                return "stopped"  # nothing is sent over the line after the request: it was closed
            if self.wake_fd in ready and (end := self._woken()):
                return end

    def take(self, fd: int) -> bool:
        """Read what has come from the runner; False when nothing more will."""
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return True
        if fd == self.said_fd:
            self.said.add(chunk)
        else:
            self.received += chunk
        return bool(chunk)

    def _woken(self) -> End | None:
        numbers = os.read(self.wake_fd, _CHUNK)
        if signal.SIGCHLD in numbers and self.status() is not None:
            while self.take(self.result_fd) and frames.first(self.received) is None and _readable(self.result_fd):
                pass
            return "died" if frames.first(self.received) is None else "result"
        return "timeout" if signal.SIGALRM in numbers else None

    def status(self) -> dict[str, int] | None:
        """Return how the runner ended, None while it runs; its pid stays taken."""
        ended = os.waitid(os.P_PID, self.runner, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return {"exit" if ended.si_code == os.CLD_EXITED else "signal": ended.si_status}

    def report(self, end: End) -> Mapping[str, Any]:
        """End everything and say what became of the call."""
        status = self.status() if end == "died" else None
        end_all(self.runner, self.wake_fd)
        while _readable(self.said_fd) and self.take(self.said_fd):
            pass
        result = frames.first(self.received) if end == "result" else None
        return {
            "end": end if end != "result" or result is not None else "died",
            "status": status or {},
            "result": None if result is None else result.decode(errors="replace"),
            "said": self.said.text(),
        }


def watch(line: socket.socket, keeper: int) -> None:
    """Run the call that comes over the line, and report over it."""
    line.settimeout(_REQUEST_SECONDS)
    request = json.loads(frames.receive(line))
    os.setsid()
    adopt()
    wake_fd = _wake_up()
    (result_fd, result_to), (said_fd, said_to) = os.pipe(), os.pipe()
    frames.send(line, BEGUN)
    if request["timeout"] is not None:
        signal.setitimer(signal.ITIMER_REAL, max(request["timeout"], _LEAST_SECONDS))
    warden = os.getpid()
    runner = os.fork()
    if runner == 0:
        line.close()
        run(request, warden, result_to, said_to, [result_fd, said_fd, wake_fd])
    os.close(result_to)
    os.close(said_to)
    for fd in (result_fd, said_fd):
        os.set_blocking(fd, False)
    watched = _Watch(line, keeper, runner, result_fd, said_fd, wake_fd)
    report = watched.report(watched.until_it_ends())
    with suppress(OSError):  # the worker is gone
        frames.send(line, json.dumps(report).encode())


def _wake_up() -> int:
    """Let signals that matter be read from a pipe; returns its end."""
    wake_fd, to = os.pipe()
    for fd in (wake_fd, to):
        os.set_blocking(fd, False)
    for number in (signal.SIGCHLD, signal.SIGALRM):
        signal.signal(number, lambda *_: None)  # without a handler nothing is written
    signal.set_wakeup_fd(to, warn_on_full_buffer=False)
    return wake_fd


def _readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])
