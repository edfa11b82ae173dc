"""Runs shell commands side by side, their output interleaved line by line behind coloured names, until asked to end.

Ours and not honcho's: honcho ends a process by signalling its whole group, which kills the children of Celery's pool in
mid-task, and it does not tie the processes' lives to its own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

from dev.launch import has_ended, spawn, stop, wait_until
from dev.signals import exit_code, undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

STOP_SECONDS: Final = 20.0
"""What a process has for a warm shutdown before it is killed."""

READY: Final = {
    "worker": re.compile(r"@\S+ ready\b|\bworker ready\b"),
    "deliveries": re.compile(r"@\S+ ready\b"),
    "scheduler": re.compile(r"\bscheduler ready\b"),
}
"""What a process's log says once it is ready, by its name in the Procfile."""
_AFTER: Final = {"flower": "worker"}
"""Who waits for whom: Flower's API lists the workers that answered when it started, and no later ones."""
_AFTER_SECONDS: Final = 20.0

_COLOURS: Final = (36, 33, 35, 32, 34, 96, 93, 95)
_FOREVER: Final = float("inf")
_LOOK_SECONDS: Final = 0.1


def shell(command: str) -> list[str]:
    """Return the argv of a Procfile command."""
    return ["/bin/sh", "-c", command]


def stop_all(
    processes: Mapping[str, subprocess.Popen[bytes]], deadline_seconds: float = STOP_SECONDS
) -> dict[str, int]:
    """Ask all to end with SIGTERM at once, kill the slow after the deadline; their exit statuses by name."""
    for process in processes.values():
        if not has_ended(process):
            os.kill(process.pid, signal.SIGTERM)
    wait_until(lambda: all(map(has_ended, processes.values())), deadline_seconds)
    return {name: stop(process, signal.SIGKILL, deadline_seconds) for name, process in processes.items()}


@dataclass
class Console:
    """Where lines go: each behind its source's name, whole even when several come at once."""

    width: int
    stream: TextIO
    coloured: bool

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: list[str] = []
        self._ready: set[str] = set()

    @classmethod
    def on_stdout(cls, width: int) -> Console:
        """Write to stdout; colours when that is a terminal or FORCE_COLOR says so, and NO_COLOR does not object."""
        wanted = sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))
        return cls(width, sys.stdout, wanted and not os.environ.get("NO_COLOR"))

    def say(self, name: str, line: str) -> None:
        """Write one line."""
        prefix = f"{name:<{self.width}} |"
        with self._lock:
            if self.coloured:
                prefix = f"\x1b[{self._colour(name)}m{prefix}\x1b[0m"
            self.stream.write(f"{prefix} {line}\n")
            self.stream.flush()

    def _colour(self, name: str) -> int:
        if name not in self._seen:
            self._seen.append(name)
        return _COLOURS[self._seen.index(name) % len(_COLOURS)]

    def copy(self, name: str, source: IO[bytes]) -> None:
        """Write what comes from `source` until it ends."""
        with source:
            for raw in source:
                line = raw.decode(errors="replace").rstrip("\r\n")
                self.say(name, line)
                if name in READY and READY[name].search(line):
                    self._ready.add(name)

    def is_ready(self, name: str) -> bool:
        """Tell whether a process's output said that it is ready."""
        return name in self._ready


@contextmanager
def _started(
    commands: Mapping[str, str], env: Mapping[str, str], cwd: Path, console: Console
) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    processes: dict[str, subprocess.Popen[bytes]] = {}
    pumps = []
    try:
        for name, command in commands.items():
            _await_predecessor(name, processes, console)
            process = processes[name] = spawn(shell(command), output=subprocess.PIPE, env=env, cwd=cwd)
            pumps.append(threading.Thread(target=console.copy, args=(name, process.stdout), daemon=True))
            pumps[-1].start()
        yield processes
    finally:
        with undisturbed():
            for name, status in stop_all(processes).items():
                console.say("dev", f"{name} ended: {_described(status)}")
            for pump in pumps:
                pump.join(timeout=1)


def _await_predecessor(name: str, processes: Mapping[str, subprocess.Popen[bytes]], console: Console) -> None:
    before = _AFTER.get(name, "")
    if before in processes:
        wait_until(lambda: console.is_ready(before) or has_ended(processes[before]), _AFTER_SECONDS)


def _described(status: int) -> str:
    return f"exit code {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def run_to_end(name: str, command: str, env: Mapping[str, str], cwd: Path, console: Console) -> int:
    """Run one command alone; its exit code."""
    with _started({name: command}, env, cwd, console) as processes:
        wait_until(lambda: has_ended(processes[name]), _FOREVER, _LOOK_SECONDS)
    return exit_code(processes[name].wait())


def run_until_asked(
    commands: Mapping[str, str],
    env: Mapping[str, str],
    cwd: Path,
    console: Console,
    needed: Mapping[str, Callable[[], bool]] | None = None,
) -> int:
    """Run all until Ctrl-C, SIGTERM or SIGHUP (then 0), or until one ends by itself (then its exit code, at least 1).

    `needed` are servers that they cannot do without, by name, each with what tells whether it has died; nobody starts
    it again, so that its death ends them, too (1). The caller turns SIGTERM and SIGHUP into SystemExit
    (`dev.signals.ending_on_signals`).
    """
    servers = needed or {}
    with _started(commands, env, cwd, console) as processes:

        def gone() -> list[str]:
            dead = [name for name, has_died in servers.items() if has_died()]
            return dead + [name for name, process in processes.items() if has_ended(process)]

        try:
            wait_until(lambda: bool(gone()), _FOREVER, _LOOK_SECONDS)
        except (KeyboardInterrupt, SystemExit):
            console.say("dev", "stopping")
            return 0
        first = gone()[0]
        console.say("dev", f"{first} ended by itself; stopping the others")
    return max(1, exit_code(processes[first].wait())) if first in processes else 1
