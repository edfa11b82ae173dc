"""C1: workers are killed every few seconds: the main process, one of its children, or both at once; deliverers, too."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chaos.scenario import Bound, Scenario
from chaos.turns import in_turn
from engine.store.tasks import LEASE_SECONDS

if TYPE_CHECKING:
    from chaos.arena import Arena
    from chaos.crew import Place
    from chaos.faults import Fault

MAIN: Final = "worker's main process killed"
WHOLE: Final = "worker killed with its children"
CHILD: Final = "worker's child killed"
DELIVERIES: Final = "deliveries killed"
KINDS: Final = (MAIN, WHOLE, CHILD, DELIVERIES)
PAUSE: Final = (2.0, 4.0)
"""Seconds between two kills, at least and at most; until somebody is in the midst of a task takes one more."""
PATIENCE: Final = 20.0
"""Seconds within which a kill has cost a task its attempt; in vain, where the machine is too busy for it."""
_COST: Final = """
SELECT worker FROM cmis.task_attempts WHERE (outcome IS NULL OR outcome = 'lost') AND started_at <= :at"""


@dataclass
class Blow:
    """A kill of one kind, again and again until one has cost a task its attempt: only that is recovered from.

    An effect is held back at the receiver, so that somebody is in the midst of it.
    """

    arena: Arena
    kind: str
    fault: Fault | None = None
    """The last kill."""
    held: int | None = None
    """How many effects of the kind the receiver had, before one is held."""

    def landed(self) -> bool:
        """Kill, if it is time to; says whether an earlier one has landed. Never waits; `release` when it is over."""
        if self.fault is None:
            self._strike()
        elif not any(Path(f"/proc/{pid}").exists() for pid in self.fault.pids):
            if self._cost(self.fault):
                return True
            self.fault = None
        return False

    def release(self) -> None:
        """Answer what is held back."""
        self.held = None
        self.arena.receiver.release()

    def _cost(self, fault: Fault) -> bool:
        """Say whether a task is left without its process: of the dead ones nobody ends an attempt any more."""
        rows = self.arena.rows(_COST, at=fault.at)
        return any(int(row.worker.rpartition(":")[2]) in fault.pids for row in rows)

    def _strike(self) -> None:
        family, path = ("deliveries", "/told") if self.kind == DELIVERIES else ("worker", "/post")
        requests = len(self.arena.receiver.requests(path))
        if self.held is None:
            self.held = requests
            self.arena.receiver.hold(path)
        if requests == self.held:
            return
        owners = self.arena.at_work(family).keys()
        busy = [(one, {one.pid, *one.children()} & owners) for one in self.arena.crew.at_work(family)]
        places = [(place, sorted(pids)) for place, pids in busy if pids]
        if places:
            self.fault = self._kill(*self.arena.chance.choice(places))
        self.release()

    def _kill(self, place: Place, owners: list[int]) -> Fault:
        if self.kind != CHILD:
            return self.arena.faults.note(self.kind, place.kill(group=self.kind != MAIN))
        pid = self.arena.chance.choice(owners)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return self.arena.faults.note(self.kind, [pid])


def kill_now_and_then(arena: Arena) -> None:
    """Kill until the time is over, in every way at least once."""
    for kind in in_turn(arena, KINDS):
        arena.wait(arena.chance.uniform(*PAUSE))
        blow = Blow(arena, kind)
        arena.wait_until(blow.landed, PATIENCE)
        blow.release()


SCENARIO: Final = Scenario(
    "C1",
    "a worker killed every 2-5 s",
    25,
    kill_now_and_then,
    bounds=(
        Bound(MAIN, "recovered", LEASE_SECONDS + 2),
        Bound(WHOLE, "recovered", LEASE_SECONDS + 2),
        Bound(DELIVERIES, "recovered", LEASE_SECONDS + 2),
        Bound(CHILD, "recovered", 5),
    ),
    survives=True,
)
