"""C5: the way to the broker is half-open, reset, slow, or a black hole for half a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chaos.measures import all_at_work
from chaos.observing import unobserved
from chaos.proxy import Proxy
from chaos.scenario import Bound, Scenario
from chaos.turns import in_turn

if TYPE_CHECKING:
    from chaos.arena import Arena
    from chaos.faults import Fault

HALF_OPEN: Final = "broker half-open"
RESET: Final = "broker connections reset"
SLOW: Final = "broker slow"
BLACK_HOLE: Final = "broker in a black hole"
_KINDS: Final = (HALF_OPEN, RESET, SLOW, BLACK_HOLE)
_BLACK_SECONDS: Final = 30.0
_SLOW: Final = (0.15, 0.15)
"""Seconds that each direction takes longer, and those that it may take besides."""
_SLOW_SECONDS: Final = 8.0
_PROMISED: Final = 20.0
"""Seconds within which everybody must be consuming again: the next fault waits for it so long."""
_LEAST: Final = 8.0
"""Seconds between two faults, however soon everybody is."""
_LOOK_SECONDS: Final = 0.5
_PROXY: Final = "broker"


def prepare(arena: Arena) -> None:
    """Put a proxy between all processes and the broker."""
    proxy = arena.stack.enter_context(Proxy.before(arena.valkey.url, seed=arena.seed))
    arena.proxies[_PROXY] = proxy
    arena.env["BROKER_URL"] = proxy.url(arena.valkey.url)


def disturb(arena: Arena) -> None:
    """Do one fault after another: each once, in an order by chance, whatever the time."""
    arena.wait(1.0)
    for kind in in_turn(arena, _KINDS, needs=_PROMISED):
        happen(arena, kind)


def happen(arena: Arena, kind: str) -> None:
    """Do one fault to the network, and leave time to get over it; half-open connections stay so."""
    proxy = arena.proxies[_PROXY]
    fault = arena.faults.note(kind)
    if kind == HALF_OPEN:
        proxy.half_open()
    elif kind == RESET:
        proxy.reset()
    elif kind == SLOW:
        proxy.slow(*_SLOW)
        arena.wait_whatever(_SLOW_SECONDS)
        proxy.restore()
    else:
        proxy.black_hole()
        arena.wait_whatever(_BLACK_SECONDS)
        proxy.restore()
    fault.end()
    arena.wait_whatever(_LEAST)
    arena.wait_until(lambda: _got_over(arena, fault), _PROMISED - _LEAST)


def _got_over(arena: Arena, fault: Fault) -> bool:
    if all_at_work(arena, fault):
        return True
    arena.wait_whatever(_LOOK_SECONDS)
    return False


SCENARIO: Final = Scenario(
    "C5",
    "the broker half-open, reset, slow, and in a black hole for 30 s",
    90,
    disturb,
    bounds=tuple(Bound(kind, "everyone", _PROMISED) for kind in _KINDS),
    prepare=prepare,
    check=unobserved,
    survives=True,
)
