"""The processes of a scenario, and a supervisor that starts each again when it has ended, as any would.

All of it runs in the thread that made it, and only while `tend` is called: the kernel ties the processes' lives to the
thread that started them (`dev.guard`).
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.clock import monotonic
from core.errors import SetupError
from dev.fleet import launch
from dev.launch import has_ended, wait_until
from dev.processes import READY, stop_all

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dev.fleet import Member

KINDS: Final = ("worker", "deliveries", "scheduler")
READY_SECONDS: Final = 120.0
"""Until a process is ready: five start at once, on a machine that may be busy."""
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
_STEADY_SECONDS: Final = 10.0
"""A process that lived for so long is started again at once; one that ends sooner waits twice as long each time."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended: its exit status (-9 = killed by SIGKILL), and whether a fault of ours was the cause."""

    name: str
    status: int
    at: datetime
    asked: bool
    log: Path


@dataclass
class Place:
    """One process's place in the crew: who holds it may change."""

    kind: str
    name: str
    member: Member
    env: Mapping[str, str]
    """What its processes have besides the crew's environment."""
    starts: int = 1
    asked: bool = False
    """Whether the present process was told to end, or killed, by us."""
    began: float = field(default_factory=monotonic)
    pause: float = _FIRST_PAUSE
    again_at: float | None = None
    """When it is started again, on the monotonic clock; None = it runs."""

    @property
    def pid(self) -> int:
        """The main process's pid."""
        return self.member.pid

    @property
    def runs(self) -> bool:
        """Whether a process holds the place, and lives."""
        return self.again_at is None and not has_ended(self.member.process)

    def says_ready(self) -> bool:
        """Whether the present process has said so; it may have ended since."""
        return READY[self.kind].search(self.member.log.read_text(errors="replace")) is not None

    def children(self) -> list[int]:
        """Return the pids of the main process's children: of a worker, those that run its tasks."""
        return children_of(self.pid)

    def send(self, number: signal.Signals, *, group: bool = False) -> list[int]:
        """Send a signal to the main process, or to it and all its descendants; returns the pids that got it."""
        pids = [self.pid, *self.children()] if group else [self.pid]
        with suppress(ProcessLookupError):  # it has just ended
            (os.killpg if group else os.kill)(self.pid, number)
        return pids

    def kill(self, *, group: bool = False) -> list[int]:
        """End the main process with SIGKILL, or it and all its descendants; returns all pids that this concerns."""
        self.asked = True
        pids = [self.pid, *self.children()]
        self.send(signal.SIGKILL, group=group)
        return pids

    def terminate(self) -> None:
        """Ask the main process to end in good order."""
        self.asked = True
        self.send(signal.SIGTERM)


class Crew:
    """The processes by place. `env` is what each is started with from now on; `ended` all that have ended."""

    def __init__(self, env: Mapping[str, str], logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.env = dict(env)
        self.logs = logs
        self.places: list[Place] = []
        self.ended: list[Ended] = []

    def add(self, kind: str, env: Mapping[str, str] | None = None) -> Place:
        """Start one more `worker`, `deliveries` or `scheduler`, without waiting for it."""
        name = f"{kind}{1 + len(self.of(kind))}"
        made = dict(env or {})
        place = Place(kind, name, self._launch(kind, name, 1, made), made)
        self.places.append(place)
        return place

    def of(self, kind: str) -> list[Place]:
        """Return the places of a kind, in the order of their first start."""
        return [place for place in self.places if place.kind == kind]

    def running(self, *kinds: str) -> list[Place]:
        """Return the places of these kinds (default: all) that a process holds now."""
        return [place for place in self.places if place.runs and (not kinds or place.kind in kinds)]

    def at_work(self, *kinds: str) -> list[Place]:
        """Return those of `running` that have said that they are ready: a fault that meets others proves little."""
        return [place for place in self.running(*kinds) if place.says_ready()]

    def tend(self) -> None:
        """Note who has ended, and start those again whose pause is over."""
        for place in self.places:
            if place.again_at is None and has_ended(place.member.process):
                self._note(place)
            if place.again_at is not None and monotonic() >= place.again_at:
                self._restart(place)

    def await_ready(self) -> None:
        """Wait until each process says that it is ready. Raises SetupError with the log's end of one that does not."""
        for place in self.places:
            if not wait_until(lambda place=place: self._is_ready(place), READY_SECONDS):  # type: ignore[misc]
                said = place.member.log.read_text(errors="replace")[-2000:]
                raise SetupError(f"{place.name} is not ready after {READY_SECONDS:.0f} s:\n{said}\n", "try again")

    def _is_ready(self, place: Place) -> bool:
        self.tend()
        return place.runs and place.says_ready()

    def unasked(self) -> list[Ended]:
        """Return those that ended though nobody told or killed them."""
        return [one for one in self.ended if not one.asked]

    def said(self, words: str, name: str = "") -> int:
        """Return how often the processes (those of one place) have said so, in their logs."""
        return sum(text.count(words) for log, text in self.texts().items() if log.name.startswith(name))

    def texts(self) -> Mapping[Path, str]:
        """Return all that the processes have said so far, by the file of each."""
        return {log: log.read_text(errors="replace") for log in sorted(self.logs.glob("*.log"))}

    def stop(self, deadline_seconds: float = 40.0) -> dict[str, int]:
        """Ask all to end with SIGTERM, and kill the slow after the deadline; their exit statuses by name."""
        running, self.places = self.running(), []
        for place in running:
            place.send(signal.SIGCONT, group=True)
        return stop_all({place.name: place.member.process for place in running}, deadline_seconds)

    def _note(self, place: Place) -> None:
        lived = monotonic() - place.began
        place.pause = _FIRST_PAUSE if lived > _STEADY_SECONDS or place.asked else min(place.pause * 2, _LONGEST_PAUSE)
        place.again_at = monotonic() + place.pause
        status = place.member.process.wait()
        self.ended.append(Ended(place.name, status, datetime.now(UTC), place.asked, place.member.log))

    def _restart(self, place: Place) -> None:
        place.starts += 1
        place.member = self._launch(place.kind, place.name, place.starts, place.env)
        place.asked, place.began, place.again_at = False, monotonic(), None

    def _launch(self, kind: str, name: str, number: int, env: Mapping[str, str]) -> Member:
        return launch(kind, name, self.env | dict(env), self.logs / f"{name}.{number}.log")


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children, where there is a /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if after_name[1] == str(pid):
            found.append(int(stat.parent.name))
    return sorted(found)
