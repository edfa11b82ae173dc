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
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from core import exits
from core.backoff import PROCESS, Backoff
from dev.launch import has_ended, spawn, stop, wait_until
from dev.signals import exit_code, undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import TextIO

STOP_SECONDS: Final = 30.0
"""What a process has for a warm shutdown before it is killed: more than it takes for itself (CMIS_STOP_SECONDS)."""

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


@dataclass
class _Running:
    """The processes of one run, and those that are about to be started again."""

    commands: Mapping[str, str]
    env: Mapping[str, str]
    cwd: Path
    console: Console
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _pumps: list[threading.Thread] = field(default_factory=list)
    _pauses: dict[str, Backoff] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)

    def start(self, name: str) -> None:
        """Start one, its output to the console."""
        process = self.processes[name] = spawn(
            shell(self.commands[name]), output=subprocess.PIPE, env=self.env, cwd=self.cwd
        )
        self._pumps.append(threading.Thread(target=self.console.copy, args=(name, process.stdout), daemon=True))
        self._pumps[-1].start()

    def await_predecessor(self, name: str) -> None:
        """Wait for the process that this one must not start before."""
        before = _AFTER.get(name, "")
        if before in self.processes:
            wait_until(lambda: self.console.is_ready(before) or has_ended(self.processes[before]), _AFTER_SECONDS)

    def gone(self) -> list[str]:
        """Return which have ended for good. Those whose exit code asks for it are started again, after a pause."""
        gone = []
        for name, process in list(self.processes.items()):
            if not has_ended(process):
                continue
            if stop(process, signal.SIGKILL, 0) == exits.STUCK:
                self._start_again(name)
            else:
                gone.append(name)
        return gone

    def _start_again(self, name: str) -> None:
        if name not in self._due:
            pause = self._pauses.setdefault(name, Backoff(PROCESS)).next()
            self._due[name] = time.monotonic() + pause
            self.console.say("dev", f"{name} ended with exit code {exits.STUCK}; starting it again in {pause:.1f} s")
        elif time.monotonic() >= self._due[name]:
            del self._due[name]
            self.start(name)

    def end(self) -> None:
        """Ask all to end, and say what became of each."""
        for name, status in stop_all(self.processes).items():
            self.console.say("dev", f"{name} ended: {_described(status)}")
        for pump in self._pumps:
            pump.join(timeout=1)


@contextmanager
def _started(commands: Mapping[str, str], env: Mapping[str, str], cwd: Path, console: Console) -> Iterator[_Running]:
    running = _Running(commands, env, cwd, console)
    try:
        for name in commands:
            running.await_predecessor(name)
            running.start(name)
        yield running
    finally:
        with undisturbed():
            running.end()


def _described(status: int) -> str:
    return f"exit code {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"


def run_to_end(name: str, command: str, env: Mapping[str, str], cwd: Path, console: Console) -> int:
    """Run one command alone; its exit code."""
    with _started({name: command}, env, cwd, console) as running:
        process = running.processes[name]
        wait_until(lambda: has_ended(process), _FOREVER, _LOOK_SECONDS)
    return exit_code(process.wait())


def run_until_asked(
    commands: Mapping[str, str],
    env: Mapping[str, str],
    cwd: Path,
    console: Console,
    needed: Mapping[str, Callable[[], bool]] | None = None,
) -> int:
    """Run all until Ctrl-C, SIGTERM or SIGHUP (then 0), or until one ends by itself (then its exit code, at least 1).

    One whose watchdog ended it (`core.exits.STUCK`) is started again.
    `needed` are servers that they cannot do without, by name, each with what tells whether it has died; nobody starts
    it again, so that its death ends them, too (1). The caller turns SIGTERM and SIGHUP into SystemExit
    (`dev.signals.ending_on_signals`).
    """
    servers = needed or {}
    with _started(commands, env, cwd, console) as running:
        gone: list[str] = []

        def look() -> bool:
            gone.extend(name for name, has_died in servers.items() if has_died())
            gone.extend(running.gone())
            return bool(gone)

        try:
            wait_until(look, _FOREVER, _LOOK_SECONDS)
        except (KeyboardInterrupt, SystemExit):
            console.say("dev", "stopping")
            return 0
        first = gone[0]
        console.say("dev", f"{first} ended by itself; stopping the others")
    ended = running.processes.get(first)
    return 1 if ended is None else max(1, exit_code(ended.wait()))
