"""C4: amid thousands of messages the broker forgets everything, is killed and comes back empty, or is full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import redis

from chaos import backlog
from chaos.observing import unobserved
from chaos.scenario import Bound, Scenario
from chaos.turns import in_turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.arena import Arena

FLUSHED: Final = "broker flushed"
KILLED: Final = "broker killed, back empty"
FULL: Final = "broker full"
EVERY: Final = 10.0
"""Seconds between two faults; fewer where the time is short."""
_LEAST: Final = 3.0
_SECONDS: Final = 50.0
TASKS: Final = 5_000
"""Of the backlog; fewer where the time is short."""
_A_SECOND: Final = 100
_AWAY: Final = (1.0, 3.0)
"""Seconds for which a killed broker is away."""
_FULL_SECONDS: Final = 5.0
_KINDS: Final = (FLUSHED, KILLED, FULL)
_MOST: Final = 0.9
"""Of the messages that are lost so many must be published again: workers take some between the count and the loss."""
_LOSSES: Final = "SELECT losses, republished FROM cmis.broker_epoch"
_EVALUATED: Final = """
SELECT count(DISTINCT execution_id) AS evaluated, count(*) FILTER (WHERE status = 'failure') AS failed
  FROM cmis.automation_executions WHERE org_id = (SELECT org_id FROM cmis.orgs WHERE name = 'backlog')"""


def prepare(arena: Arena) -> None:
    """Enqueue the backlog."""
    backlog.enqueue(arena.world, _backlog(arena))


def _backlog(arena: Arena) -> int:
    return min(TASKS, int(arena.seconds * _A_SECOND))


def lose(arena: Arena) -> None:
    """Fill the broker and flush it, amid the backlog; then each fault once, and again while time is left."""
    backlog.send(arena.world, arena.valkey.url)
    lost = sum(arena.waiting().values())
    happen(arena, FLUSHED)
    if not lost or not arena.wait_until(lambda: _republished(arena) >= _MOST * lost, EVERY):
        arena.seen.append(f"{lost} messages were lost at once, and {_republished(arena)} tasks published again")
    for kind in in_turn(arena, _KINDS, needs=EVERY):
        happen(arena, kind)


def _republished(arena: Arena) -> int:
    [counted] = arena.rows(_LOSSES)
    return int(counted.republished)


def happen(arena: Arena, kind: str) -> None:
    """Do one fault to the broker, and leave time to get over it."""
    fault = arena.faults.note(kind)
    if kind == FLUSHED:
        arena.valkey.flush()
    elif kind == KILLED:
        arena.valkey.kill()
        arena.wait_whatever(arena.chance.uniform(*_AWAY))
        arena.valkey.start()
    else:
        _limit(arena, 1)  # less than it has: it refuses every write
        arena.wait_whatever(_FULL_SECONDS)
        _limit(arena, 0)
    fault.end()
    arena.wait_whatever(max(_LEAST, EVERY * min(1.0, arena.seconds / _SECONDS)))


def _limit(arena: Arena, size: int) -> None:
    with redis.Redis.from_url(arena.valkey.url) as client:
        client.config_set("maxmemory", size)


def check(arena: Arena) -> Iterator[str]:
    """All of the backlog is done, once; the counter shows what was lost; whoever watches sees all workers."""
    [done] = arena.rows(_EVALUATED)
    if tuple(done) != (_backlog(arena), 0):
        yield f"of {_backlog(arena)} tasks of the backlog {done.evaluated} were done, {done.failed} failed"
    faults: Any = arena.faults.counts()
    [counted] = arena.rows(_LOSSES)
    if not 1 <= counted.losses <= faults[FLUSHED] + faults[KILLED]:
        yield f"{counted.losses} losses are counted, and there were {faults[FLUSHED]} + {faults[KILLED]}"
    yield from unobserved(arena)


SCENARIO: Final = Scenario(
    "C4",
    "the broker flushed every 10 s, killed and empty, full",
    _SECONDS,
    lose,
    bounds=tuple(Bound(kind, "consuming", 3) for kind in (FLUSHED, KILLED, FULL)),
    prepare=prepare,
    check=check,
    survives=True,
)
