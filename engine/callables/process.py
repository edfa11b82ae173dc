"""Running a callable in a process of its own, which is killed when its time is up or nobody wants its result.

Neither a busy loop nor a sleep in C nor an ignored signal keeps it: its end is SIGKILL, for everything it has started.
Its crash, exit, memory and signal handlers are its own.
"""

from __future__ import annotations

import json
import logging
import socket
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from core import clock
from engine.callables import frames
from engine.callables.keeper import KEEPER
from engine.callables.outcome import Died, Raised, Stopped, TimedOut, returned
from engine.callables.warden import BEGUN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from engine.callables.base import Call, Registered
    from engine.callables.outcome import Outcome

logger = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.1
BEGIN_SECONDS: Final = 30.0
"""How long it may take until the call begins: the keeper imports the callable's module before its first."""
_CHUNK: Final = 65_536
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
        warden = _Warden(line)
        try:
            report = _conversation(warden, request.encode(), timeout, stopped)
        except _StoppedError:
            report = _last_word(warden)
        except TimeoutError:
            return Died() if timeout is None else TimedOut(timeout)
        except (EOFError, OSError):
            return Died()
    _log(registered, call, report["said"])
    return _outcome(report, timeout)


@dataclass(slots=True)
class _Warden:
    """The line to a call's warden, with what has come over it of the frame that is not whole yet."""

    line: socket.socket
    received: bytearray = field(default_factory=bytearray)

    def frame(self, seconds: float | None, stopped: Callable[[], bool]) -> bytes:
        """Wait for the next frame. Raises _StoppedError, TimeoutError, EOFError where it is gone, OSError.

        Nothing is read beyond it: what was said quickly stands right behind what was said before.
        """
        end = None if seconds is None else clock.monotonic() + seconds
        self.line.settimeout(POLL_SECONDS)
        while (payload := frames.first(self.received)) is None:
            try:
                chunk = self.line.recv(min(frames.missing(self.received), _CHUNK))
            except TimeoutError:
                chunk = None
            if chunk == b"":
                raise EOFError
            self.received += chunk or b""
            if stopped():
                raise _StoppedError
            if end is not None and clock.monotonic() > end:
                raise TimeoutError
        self.received.clear()
        return payload


def _conversation(
    warden: _Warden, request: bytes, timeout: float | None, stopped: Callable[[], bool]
) -> Mapping[str, Any]:
    warden.line.settimeout(BEGIN_SECONDS)
    try:
        frames.send(warden.line, request)
        warden.frame(BEGIN_SECONDS, stopped)
    except TimeoutError:
        KEEPER.close()
        logger.warning("a call did not begin within %g s, is its module slow to import? Starting anew", BEGIN_SECONDS)
        raise EOFError from None
    seconds = None if timeout is None else timeout + _GRACE_SECONDS
    report: dict[str, Any] = json.loads(warden.frame(seconds, stopped))
    return report


def _last_word(warden: _Warden) -> Mapping[str, Any]:
    """Let the warden kill the call, and wait until it has: nothing of it may go on after we say so."""
    said = ""
    try:
        warden.line.shutdown(socket.SHUT_WR)
        last = warden.frame(_GRACE_SECONDS, lambda: False)
        if last == BEGUN:  # stopped just as it began
            last = warden.frame(_GRACE_SECONDS, lambda: False)
        said = json.loads(last)["said"]
    except (EOFError, OSError, ValueError):  # it had not begun
        pass
    return {"end": "stopped", "said": said}


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
