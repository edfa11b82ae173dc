"""C2: schedulers are killed, or stopped for longer than a transaction may take; the other one goes on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

from chaos.scenario import Bound, Scenario
from chaos.turns import in_turn

if TYPE_CHECKING:
    from chaos.arena import Arena

KILLED: Final = "scheduler killed"
STOPPED: Final = "scheduler stopped"
_TRANSACTION_SECONDS: Final = 5
"""After so long the database ends the transaction of a process that does nothing in it (RELIABILITY §2)."""
_STOPPED_SECONDS: Final = 7.0
_PAUSE: Final = (2.0, 4.0)
_BACK_SECONDS: Final = 30.0
"""Within which a scheduler that was killed is ready again, also on a machine that is busy."""


def hold_nothing_back(arena: Arena) -> None:
    """Take the bounds on unfinished work away: schedulers are judged, and not how fast workers are."""
    arena.env |= {"CMIS_ORG_UNFINISHED": "100000", "CMIS_QUEUE_WAITING": "100000"}


def kill_and_stop(arena: Arena) -> None:
    """Do one and the other, now and then, until the time is over; never to both schedulers at once."""
    for kind in in_turn(arena, (KILLED, STOPPED)):
        arena.wait(arena.chance.uniform(*_PAUSE))
        if not arena.wait_until(lambda: _all_at_work(arena), _BACK_SECONDS):
            continue
        place = arena.chance.choice(arena.crew.of("scheduler"))
        if kind == KILLED:
            arena.faults.note(KILLED, place.kill())
            continue
        fault = arena.faults.note(STOPPED, place.send(signal.SIGSTOP))
        arena.wait_whatever(_STOPPED_SECONDS)
        place.send(signal.SIGCONT)
        fault.end()


def _all_at_work(arena: Arena) -> bool:
    return len(arena.crew.at_work("scheduler")) == len(arena.crew.of("scheduler"))


SCENARIO: Final = Scenario(
    "C2",
    "schedulers killed and stopped",
    30,
    kill_and_stop,
    prepare=hold_nothing_back,
    bounds=(Bound(KILLED, "late", 2), Bound(STOPPED, "late", _TRANSACTION_SECONDS + 1)),
    survives=True,
)
