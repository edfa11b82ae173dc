"""C1: workers are killed every 2 to 5 seconds: the main process, one of its children, or both at once."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from chaos.scenario import Bound, Scenario
from engine.store.tasks import LEASE_SECONDS

if TYPE_CHECKING:
    from chaos.arena import Arena

MAIN: Final = "worker's main process killed"
WHOLE: Final = "worker killed with its children"
CHILD: Final = "worker's child killed"
DELIVERIES: Final = "deliveries killed"
_KINDS: Final = (MAIN, WHOLE, CHILD, CHILD, DELIVERIES)
PAUSE: Final = (2.0, 5.0)
"""Seconds between two kills, at least and at most."""


def kill_now_and_then(arena: Arena) -> None:
    """Kill until the time is over."""
    while arena.left:
        arena.wait(arena.chance.uniform(*PAUSE))
        kill_one(arena)


def kill_one(arena: Arena) -> None:
    """Kill something that runs tasks: rather one that is in the midst of it."""
    kind = arena.chance.choice(_KINDS)
    places = arena.crew.at_work("deliveries" if kind == DELIVERIES else "worker")
    if not places:
        return
    owners = arena.at_work("deliveries" if kind == DELIVERIES else "worker")
    place = arena.chance.choice([one for one in places if {one.pid, *one.children()} & owners.keys()] or places)
    if kind != CHILD:
        arena.faults.note(kind, place.kill(group=kind != MAIN))
        return
    children = place.children()
    if children:
        pid = arena.chance.choice([pid for pid in children if pid in owners] or children)
        arena.faults.note(kind, [pid])
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


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
)
