"""POWER: the power goes, ten times: PostgreSQL ends without a checkpoint, and each third time all else dies with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chaos.scenario import Bound, Scenario
from engine import invariants

if TYPE_CHECKING:
    from chaos.arena import Arena

CUT: Final = "PostgreSQL's power cut"
ALL_CUT: Final = "power of everything cut"
_SECONDS: Final = 60.0
_CUTS: Final = 10
_ALL_EVERY: Final = 3
_PAUSE: Final = (2.0, 4.0)
_RESUME_SECONDS: Final = 10
_RESUME_ALL_SECONDS: Final = 30
"""A lease: all processes start anew, too."""
_START_SECONDS: Final = 60.0
"""Within which they are ready, also on a machine that is busy."""


def cut_the_power(arena: Arena) -> None:
    """Cut it, ten times, in a shorter run fewer; after each time all that was committed must fit together."""
    for number in range(1, 1 + max(1, round(_CUTS * min(1.0, arena.seconds / _SECONDS)))):
        arena.wait_whatever(arena.chance.uniform(*_PAUSE))
        if number % _ALL_EVERY == 0:
            _cut_all(arena)
        else:
            fault = arena.faults.note(CUT)
            arena.postgres.crash()
            arena.postgres.start()
            fault.end()
        _check(arena, number)


def _cut_all(arena: Arena) -> None:
    pids = [pid for place in arena.crew.running() for pid in place.kill(group=True)]
    fault = arena.faults.note(ALL_CUT, pids)
    arena.postgres.crash()
    arena.valkey.kill()
    arena.valkey.start()
    arena.postgres.start()
    fault.end()
    arena.wait_until(lambda: len(arena.crew.at_work()) == len(arena.crew.places), _START_SECONDS)


def _check(arena: Arena, number: int) -> None:
    """Look at what the database came back with: ledger, counters and audit, in the midst of everything."""
    arena.rows("SELECT 1")  # until it answers
    for check in invariants.check(arena.world.reader, drained=False):
        if check.offenders:
            arena.seen.append(f"after cut {number}, {check.name}: {'; '.join(check.offenders[:3])}")


def flushes(arena: Arena) -> list[str]:
    """Nothing is proved by a server that does not flush."""
    [[fsync]] = arena.rows("SELECT current_setting('fsync')")
    return [] if fsync == "on" else ["PostgreSQL runs with fsync off"]


SCENARIO: Final = Scenario(
    "POWER",
    "the power cut ten times",
    _SECONDS,
    cut_the_power,
    bounds=(Bound(CUT, "resumed", _RESUME_SECONDS), Bound(ALL_CUT, "resumed", _RESUME_ALL_SECONDS)),
    check=flushes,
    survives=True,
)
