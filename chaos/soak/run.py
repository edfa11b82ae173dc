"""One soak: find out what the machine can carry, load it with a part of that, read every few seconds, and judge."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from chaos import verdict
from chaos.arena import arena
from chaos.scenario import Hands, Scenario
from chaos.soak.limits import limit_of
from chaos.soak.readings import Reader
from chaos.soak.slopes import Point, judge
from core.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from chaos.arena import Arena
    from chaos.soak.slopes import Judged
    from dev.provider import Servers

logger = logging.getLogger(__name__)

SHARE: Final = 0.6
"""Of what the machine can carry."""
EVERY: Final = 5.0
"""Seconds between two readings."""
_MEASURE: Final = 0.1
"""The part of the time in which requests are made to find out how much that is; twenty seconds at most."""
_MOST_MEASURING: Final = 20.0
_GREEDY: Final = 500.0
"""Requests a second that nobody can carry: then each is made as soon as the one before is answered."""
_LOAD_SECONDS: Final = 60.0
_DRAIN_SECONDS: Final = 300.0
_TRICKLE: Final = 2.0
"""Requests a second while what was asked for is worked off: replies to what waits go out with them."""
_FEW: Final = 8
"""Tasks that are always open at that rate."""
_OPEN: Final = """
SELECT count(*) FROM cmis.tasks
 WHERE finished_at IS NULL AND kind <> 'maintain' AND run_at <= cmis.clock() + interval '5 seconds'"""


@dataclass(frozen=True, slots=True)
class Soaked:
    """Requests a second that could be carried and that were made, each quantity, and what did not hold."""

    seconds: float
    capacity: float
    rate: float
    asked: int
    readings: Mapping[str, Sequence[Point]]
    judged: Mapping[str, Judged]
    violations: Sequence[str]

    @property
    def flat(self) -> bool:
        """Whether everything that is judged stayed as it was, and nothing was lost."""
        return not self.violations and all(one.flat for one in self.judged.values())


def nothing_breaks(_: Arena) -> None:
    """Inject no fault."""


SCENARIO: Final = Scenario(
    "soak", "part of the load that can be carried", 1200, nothing_breaks, hands=Hands(1, 1, 1), rate=_GREEDY
)


def soak(made: Servers, seconds: float, seed: int, logs: Path, tell: Callable[[str], None]) -> Soaked:
    """Soak for so long, on a database of its own; `tell` is told how it goes."""
    shutil.rmtree(logs, ignore_errors=True)
    with arena(made, SCENARIO, seconds=seconds, seed=seed, logs=logs) as at:
        at.prepare()
        capacity = _capacity(at, min(_MOST_MEASURING, seconds * _MEASURE))
        rate = max(1.0, SHARE * capacity)
        at.load.pace(rate)
        tell(f"{capacity:.1f} requests/s can be carried; going on with {rate:.1f}")
        with Reader.open(at) as reader:
            readings = _read_on(at, reader)
        tell("the time is over: what is open may end")
        found = _end(at)
        asked = len(at.load.asked)
        statuses = at.end_crew()
        found += [f"{name} ended with status {status} when asked to" for name, status in statuses.items() if status]
        found += [f"{one.name} ended by itself with status {one.status}" for one in at.crew.unasked()]
    judged = {name: judge(points, limit_of(name)) for name, points in readings.items()}
    return Soaked(seconds, capacity, rate, asked, readings, judged, found)


def _capacity(at: Arena, seconds: float) -> float:
    """Return how many requests a second are done, to their last task: a burst, over the time until all of it is.

    What is done while more comes in says less: the slowest step of a run may not have been reached yet.
    """
    begun, before = monotonic(), len(at.load.asked)
    at.wait(seconds)
    at.load.pace(_TRICKLE)
    if not at.wait_until(lambda: at.rows(_OPEN)[0][0] <= _FEW, _DRAIN_SECONDS):
        at.seen.append(f"the burst that tells what can be carried was not done in {_DRAIN_SECONDS:.0f} s")
    return (len(at.load.asked) - before) / (monotonic() - begun)


def _read_on(at: Arena, reader: Reader) -> dict[str, list[Point]]:
    readings: dict[str, list[Point]] = {}
    begun = monotonic()
    while at.left:
        at.wait(EVERY)
        moment = monotonic() - begun
        for name, value in reader.read().items():
            readings.setdefault(name, []).append(Point(moment, value))
    return readings


def _end(at: Arena) -> list[str]:
    at.load.end()
    at.wait_until(lambda: not at.load.lives, _LOAD_SECONDS)
    at.load.stop()
    at.wait_until(lambda: not verdict.open_work(at), _DRAIN_SECONDS)
    return verdict.violations(at)
