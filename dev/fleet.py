"""Worker and scheduler processes in numbers, as the Procfile starts them, for tests and `cmis dev run --fleet`."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.errors import SetupError
from dev.launch import has_ended, spawn, tail, wait_until
from dev.processes import READY, shell, stop_all
from dev.procfile import read_procfile
from dev.signals import undisturbed
from dev.site import ROOT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_READY_SECONDS: Final = 60.0  # imports on a busy small machine


@dataclass(frozen=True)
class Member:
    """One process of a fleet; `kind` is its name in the Procfile."""

    kind: str
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Its pid."""
        return self.process.pid

    def is_alive(self) -> bool:
        """Tell whether it still runs."""
        return not has_ended(self.process)

    def kill(self) -> None:
        """End it with SIGKILL, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait()

    def is_ready(self) -> bool:
        """Tell whether its log says so. Raises SetupError with the log's end if it died instead."""
        if READY[self.kind].search(self.log.read_text(errors="replace")):
            return True
        if self.is_alive():
            return False
        raise SetupError(f"{self.name} ended at its start:\n{tail(self.log)}\n", "its message above says what to mend")


@dataclass
class Fleet:
    """The running processes; more can be started while it runs."""

    env: Mapping[str, str]
    logs: Path
    members: list[Member]

    @property
    def workers(self) -> list[Member]:
        """The workers, in the order of their start."""
        return [member for member in self.members if member.kind == "worker"]

    @property
    def deliverers(self) -> list[Member]:
        """The workers that deliver, in the order of their start."""
        return [member for member in self.members if member.kind == "deliveries"]

    @property
    def schedulers(self) -> list[Member]:
        """The schedulers, in the order of their start."""
        return [member for member in self.members if member.kind == "scheduler"]

    def pids(self) -> dict[str, list[int]]:
        """Return the pids as `CMIS_DEV_PIDS` has them."""
        return {"workers": [one.pid for one in self.workers], "schedulers": [one.pid for one in self.schedulers]}

    def start(self, kind: str) -> Member:
        """Start one more `worker`, `deliveries` or `scheduler`, without waiting for it."""
        name = f"{kind}{1 + sum(member.kind == kind for member in self.members)}"
        member = launch(kind, name, self.env, self.logs / f"{name}.log")
        self.members.append(member)
        return member

    def await_ready(self) -> None:
        """Wait until every member is ready. Raises SetupError naming the one that is not."""
        for member in self.members:
            if not wait_until(member.is_ready, _READY_SECONDS):
                said = tail(member.log)
                raise SetupError(f"{member.name} is not ready after {_READY_SECONDS:.0f} s:\n{said}\n", "try again")


def launch(kind: str, name: str, env: Mapping[str, str], log: Path) -> Member:
    """Start a process of the Procfile with the whole environment `env`, its output in `log`, without waiting for it.

    It dies with the thread that starts it: the kernel ties its life to that one (`dev.guard`).
    """
    with log.open("wb") as output:
        process = spawn(shell(_command(kind, name)), output=output, env=env, cwd=ROOT)
    return Member(kind, name, process, log)


def _command(kind: str, name: str) -> str:
    command = read_procfile(ROOT)[kind]
    if kind == "scheduler":
        return command
    # node names must differ on one host; two children a worker, however many cores there are
    return f"{command} --hostname={name}@%h" + (" --concurrency=2" if kind == "worker" else "")


@contextmanager
def fleet(workers: int, schedulers: int, env: Mapping[str, str], logs: Path, *, deliveries: int = 0) -> Iterator[Fleet]:
    """Start so many of each with the whole environment `env`, wait until all are ready, stop all at the end.

    Their output goes to `logs/worker1.log` and so on.
    """
    logs.mkdir(parents=True, exist_ok=True)
    running = Fleet(env, logs, [])
    try:
        for kind, number in (("worker", workers), ("deliveries", deliveries), ("scheduler", schedulers)):
            for _ in range(number):
                running.start(kind)
        running.await_ready()
        yield running
    finally:
        with undisturbed():
            stop_all({member.name: member.process for member in running.members})
