"""Running a callable in a process of its own, which is killed when its time is up or nobody wants its result.

Neither a busy loop nor a sleep in C nor an ignored signal keeps it: its end is SIGKILL, for everything it has started.
Its crash, exit, memory and signal handlers are its own.
"""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from core import clock
from engine.callables import frames
from engine.callables.keeper import KEEPER
from engine.callables.outcome import Died, Raised, Stopped, TimedOut, returned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.callables.base import Call, Registered
    from engine.callables.outcome import Outcome

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1
BEGIN_SECONDS: Final = 30.0
"""How long it may take until the call begins: the keeper imports the callable's module before its first."""
_GRACE_SECONDS: Final = 30.0
"""How much later than the call's time the word of its warden may come: it kills, and the machine may be busy."""


class _StoppedError(Exception):
    """Nobody wants the result any more."""


def run_apart(registered: Registered, call: Call, *, timeout: float | None, stopped: Callable[[], bool]) -> Outcome:
    """Run a callable in a process of its own, and wait for what becomes of it.

    `timeout`: seconds that it may take, None = for ever. `stopped` is asked ten times a second, in this thread. What
    the call writes to stdout and stderr goes to the log. Raises TransientError where no process can be started.
    """
    if stopped():
        return Stopped()
    request = json.dumps(
        {
            "module": registered.module,
            "qualname": registered.qualname,
            "name": registered.name,
            "call": replace(call, deadline=timeout).document(),
            "timeout": timeout,
        }
    )
    with KEEPER.open(registered.module) as line:
        try:
            report = _conversation(line, request.encode(), timeout, stopped)
        except _StoppedError:
            report = _last_word(line)
        except TimeoutError:
            return Died() if timeout is None else TimedOut(timeout)
        except (EOFError, OSError):
            return Died()
    _log(registered, call, report["said"])
    return _outcome(report, timeout)


def _conversation(
    line: socket.socket, request: bytes, timeout: float | None, stopped: Callable[[], bool]
) -> Mapping[str, Any]:
    line.settimeout(BEGIN_SECONDS)
    try:
        frames.send(line, request)
        _frame(line, BEGIN_SECONDS, stopped)
    except TimeoutError:
        KEEPER.close()
        logger.warning("a call did not begin within %g s, is its module slow to import? Starting anew", BEGIN_SECONDS)
        raise EOFError from None
    report: dict[str, Any] = json.loads(_frame(line, None if timeout is None else timeout + _GRACE_SECONDS, stopped))
    return report


def _last_word(line: socket.socket) -> Mapping[str, Any]:
    """Let the warden kill the call, and wait until it has: nothing of it may go on after we say so."""
    said = ""
    try:
        line.shutdown(socket.SHUT_WR)
        said = json.loads(_frame(line, _GRACE_SECONDS, lambda: False))["said"]
    except (EOFError, OSError, ValueError):  # it had not begun
        pass
    return {"end": "stopped", "said": said}


def _frame(line: socket.socket, seconds: float | None, stopped: Callable[[], bool]) -> bytes:
    """Wait for a frame. Raises _StoppedError, TimeoutError, EOFError where the other side is gone, OSError."""
    end = None if seconds is None else clock.monotonic() + seconds
    line.settimeout(POLL_SECONDS)
    received = bytearray()
    while (payload := frames.first(received)) is None:
        try:
            chunk = line.recv(65_536)
        except TimeoutError:
            chunk = None
        if chunk == b"":
            raise EOFError
        received += chunk or b""
        if stopped():
            raise _StoppedError
        if end is not None and clock.monotonic() > end:
            raise TimeoutError
    return payload


def _outcome(report: Mapping[str, Any], timeout: float | None) -> Outcome:
    match report:
        case {"end": "result", "result": str(result)}:
            return _result(result)
        case {"end": "timeout"} if timeout is not None:
            return TimedOut(timeout)
        case {"end": "stopped"}:
            return Stopped()
        case _:
            return Died(**report["status"])


def _result(written: str) -> Outcome:
    """Read what the call's process wrote: a process that is out of its mind may write anything."""
    try:
        result = json.loads(written)
        if "output" in result:
            return returned(result["output"])
        fields = result["raised"]
        return Raised(**{**fields, "names": tuple(fields["names"])})
    except (ValueError, TypeError, LookupError):
        return Died()


def _log(registered: Registered, call: Call, said: str) -> None:
    for text in said.splitlines():
        readable = "".join(mark if mark.isprintable() or mark == "\t" else " " for mark in text)
        logger.info(
            "%s, step %s of instance %s, attempt %d: %s",
            registered.name,
            call.step_id,
            call.instance_id,
            call.attempt,
            readable,
        )
