"""Run one scenario: stage it, let its faults happen, let everything end, and judge."""

from __future__ import annotations

import logging
import re
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from chaos import verdict
from chaos.arena import arena
from chaos.measures import Measured, measure
from chaos.scenario import all_scenarios
from core.clock import monotonic
from core.errors import SetupError
from dev.site import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from chaos.arena import Arena
    from chaos.scenario import Bound, Scenario
    from dev.provider import Servers

logger = logging.getLogger(__name__)

PLACE: Final = ROOT / ".chaos"
"""Servers' data, gone at the end, and `logs` of the last run of each scenario, which stay."""
LOGS: Final = PLACE / "logs"
_LOOK_SECONDS: Final = 0.5
_LOAD_SECONDS: Final = 60.0
"""Within which the load must have ended once it is asked to: its last requests may wait for the database."""
_DYING: Final = re.compile(r"fault point (\S+): dying")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a scenario. `violations` are what did not hold, in words; broken bounds are among them."""

    scenario: Scenario
    seed: int
    seconds: float
    """How long the whole took."""
    asked: int
    faults: Counter[str]
    restarts: int
    measured: Measured
    violations: list[str] = field(default_factory=list)

    def worst(self, bound: Bound) -> float | None:
        """Return the worst of what a bound is about."""
        return self.measured.worst(bound)


def run(
    name: str,
    seconds: float | None = None,
    seed: int = 0,
    *,
    made: Servers,
    bounds: bool = True,
    logs: Path = LOGS,
) -> Result:
    """Run a scenario on servers that may be taken away, with a database of its own on them; see `Result`.

    `seconds`: how long faults go on (default: the scenario's own); everything before and after comes on top. `seed`
    chooses the load and the order of the kinds of faults. Without `bounds` times are measured and not judged, for
    machines that are busy. With them, and no less than the scenario's own time, each must have been measured.
    Raises SetupError if the processes do not even start.
    """
    scenario = all_scenarios()[name]
    place = logs / name
    shutil.rmtree(place, ignore_errors=True)
    begun = monotonic()
    with arena(made, scenario, seconds=seconds or scenario.seconds, seed=seed, logs=place) as at:
        whole = at.seconds >= scenario.seconds
        at.prepare()
        found = _happen(at)
        measured = measure(at)
        statuses = _end(at)
        found += [f"{one} ended with status {status} when asked to" for one, status in statuses.items() if status]
        faults = at.faults.counts() + _deaths(at)
        found += _broken_bounds(scenario, measured) if bounds else []
        found += _unmeasured(scenario, measured, faults) if bounds and whole else []
        return Result(
            scenario, seed, monotonic() - begun, len(at.load.asked), faults, len(at.crew.ended), measured, found
        )


def _happen(at: Arena) -> list[str]:
    """Let the faults happen and everything end; returns what does not hold then."""
    try:
        at.scenario.inject(at)
        at.heal()
        at.crew.await_ready()
        at.load.end()
        at.wait_until(lambda: not at.load.lives, _LOAD_SECONDS)
        at.load.stop()
        at.wait_until(lambda: _is_drained(at), at.scenario.drain_seconds)
    except SetupError as error:
        return [f"it could not go on: {error}"]
    return verdict.violations(at)


def _end(at: Arena) -> dict[str, int]:
    """Ask the processes to end; those that have just been started may not know yet what SIGTERM means to them."""
    with suppress(SetupError):  # said already
        at.crew.await_ready()
    return at.end_crew()


def _is_drained(at: Arena) -> bool:
    at.wait_whatever(_LOOK_SECONDS)
    return not verdict.open_work(at)


def _broken_bounds(scenario: Scenario, measured: Measured) -> list[str]:
    broken = [(one, measured.worst(one)) for one in scenario.bounds]
    return [
        f"{one.kind}: {one.measure} after {worst:.1f} s, which is more than {one.seconds:g} s"
        for one, worst in broken
        if worst is not None and worst > one.seconds
    ]


def _unmeasured(scenario: Scenario, measured: Measured, faults: Mapping[str, int]) -> list[str]:
    """Return the promises that nothing was measured of: whether they are kept nobody knows."""
    return [
        f"{one.kind}: {one.measure} was never measured, and the fault happened {faults.get(one.kind, 0)} times"
        for one in scenario.bounds
        if measured.worst(one) is None
    ]


def _deaths(at: Arena) -> Counter[str]:
    """Return how often processes died at each fault point, as their logs say."""
    return Counter(f"death at {name}" for text in at.crew.texts().values() for name in _DYING.findall(text))
