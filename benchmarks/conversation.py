"""A process that says a line of JSON when it is ready, and answers each line of its standard input with another."""

from __future__ import annotations

import json
import select
import subprocess
from typing import TYPE_CHECKING, Any, Final, Self

from benchmarks.peer_venv import PeerError, shown
from dev.launch import guarded, tail
from dev.signals import DIE
from dev.site import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_READY_SECONDS: Final = 60.0
_END_SECONDS: Final = 10.0


class Conversation:
    """One such process; it ends when its standard input does. What else it says goes to `log`."""

    def __init__(self, command: Sequence[str | Path], env: Mapping[str, str], log: Path) -> None:
        self._name = shown(command)
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                guarded(command, DIE),
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                bufsize=0,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def greeting(self) -> dict[str, Any]:
        """Return what it says once it is ready; to be called once. Raises PeerError."""
        return self._answer(_READY_SECONDS)

    def ask(self, line: str, seconds: float) -> dict[str, Any]:
        """Send a line and return the answer. Raises PeerError with its last words if it has none within `seconds`."""
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())
        return self._answer(seconds)

    def close(self) -> None:
        """Let it end; kill it if it does not."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _answer(self, seconds: float) -> dict[str, Any]:
        output = self._process.stdout
        readable = output is not None and select.select([output], [], [], seconds)[0]
        line = output.readline() if output is not None and readable else b""
        if not line:
            last = " / ".join(tail(self._log, 5).splitlines())
            raise PeerError(f"`{self._name}` did not answer within {seconds:.0f} s: {last}")
        answer: dict[str, Any] = json.loads(line)
        return answer
