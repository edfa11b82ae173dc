"""C12: every process is asked to end and started anew, one after the other, under load, as a release does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chaos.scenario import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.arena import Arena
    from chaos.crew import Place

GRACE_SECONDS: Final = 45.0
"""How long a process may take to end in good order; what is not done by then is cold."""
_PAUSE: Final = 0.5
_LOST: Final = "SELECT count(*) FROM cmis.task_attempts WHERE outcome = 'lost'"


def roll(arena: Arena) -> None:
    """Go through all, in any order, at least once, and again until the time is over."""
    done = False
    while arena.left or not done:
        places = [*arena.crew.places]
        arena.chance.shuffle(places)
        for place in places:
            if arena.left or not done:
                _restart(arena, place)
                arena.wait(_PAUSE)
        done = True


def _restart(arena: Arena, place: Place) -> None:
    """End one process, and wait until its successor is ready: a release does not go on before."""
    ended, starts = len(arena.crew.ended), place.starts
    fault = arena.faults.note(f"SIGTERM to a {place.kind}")
    place.terminate()
    if not arena.wait_until(lambda: len(arena.crew.ended) > ended, GRACE_SECONDS):
        arena.seen.append(f"{place.name} did not end within {GRACE_SECONDS:.0f} s of SIGTERM")
        place.kill(group=True)
    fault.end()
    arena.wait_until(lambda: place.starts > starts and place.says_ready(), GRACE_SECONDS)


def nothing_lost(arena: Arena) -> Iterator[str]:
    """No attempt was lost with its process, and each ended with 0."""
    [[lost]] = arena.rows(_LOST)
    if lost:
        yield f"{lost} attempts were lost with their process"
    yield from (f"{one.name} ended with status {one.status}" for one in arena.crew.ended if one.status)


SCENARIO: Final = Scenario("C12", "rolling SIGTERM of everything", 30, roll, check=nothing_lost, survives=True)
