"""What a scenario measured: how late planned times began, and how long it took to recover from each kind of fault."""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from chaos.arena import Arena
    from chaos.faults import Fault
    from chaos.scenario import Bound, Measure

_STARTS: Final = """
SELECT o.scheduled_for, o.decided_at, e.started_at
  FROM cmis.occurrences o JOIN cmis.automation_executions e USING (org_id, execution_id)
 WHERE o.origin = 'schedule' AND o.decision = 'run' ORDER BY e.started_at"""
_LOST: Final = """
SELECT a.worker, a.started_at, coalesce(min(n.started_at), t.finished_at) AS again
  FROM cmis.task_attempts a JOIN cmis.tasks t USING (org_id, task_id)
  LEFT JOIN cmis.task_attempts n ON n.org_id = a.org_id AND n.task_id = a.task_id AND n.fence > a.fence
 WHERE a.outcome = 'lost' GROUP BY a.org_id, a.attempt_id, a.worker, a.started_at, t.finished_at"""
_MOMENT: Final = timedelta(seconds=1)
_CLAIMS: Final = """
SELECT a.started_at, split_part(a.worker, '@', 1) AS worker, t.published_at
  FROM cmis.task_attempts a LEFT JOIN cmis.tasks t USING (org_id, task_id) ORDER BY a.started_at"""
_IN_HAND: Final = 2
"""Messages that a worker's children may have taken from the broker already when it loses all others."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds, all of them.

    `lateness`: from each planned time to the start of its evaluation. The others: by kind of
    fault, and how they are measured.
    """

    lateness: Sequence[float]
    lost: int
    """Attempts that were lost with their process."""
    by_kind: Mapping[tuple[str, Measure], Sequence[float]] = field(default_factory=dict)

    def percentile(self, percent: int) -> float | None:
        """Return within which lateness so many of 100 planned times began; None without enough of them."""
        if len(self.lateness) < 2:  # noqa: PLR2004 - quantiles() needs two
            return None
        return statistics.quantiles(self.lateness, n=100, method="inclusive")[percent - 1]

    def worst(self, bound: Bound) -> float | None:
        """Return the worst of what a bound is about; None if nothing of the kind was measured."""
        return max(self.by_kind.get((bound.kind, bound.measure), ()), default=None)


def measure(arena: Arena) -> Measured:
    """Read it all from the rows."""
    starts = arena.rows(_STARTS)
    lost = arena.rows(_LOST)
    log = sorted(arena.faults.log, key=lambda fault: fault.at)
    by_kind: dict[tuple[str, Measure], list[float]] = defaultdict(list)
    for kind, seconds in [*_recovered(log, lost)]:
        by_kind[kind, "recovered"].append(seconds)
    for kind, waits in arena.waits.items():
        by_kind[kind, "wait"] += waits
    claims = arena.rows(_CLAIMS)
    times = [row.started_at for row in claims]
    for kind, seconds in _resumed(log, times):
        by_kind[kind, "resumed"].append(seconds)
    for kind, seconds in _resumed(log, times, after=_IN_HAND * arena.scenario.hands.workers):
        by_kind[kind, "consuming"].append(seconds)
    for kind, seconds in _everyone(log, claims, _workers(arena)):
        by_kind[kind, "everyone"].append(seconds)
    for kind, seconds in _late(log, [(row.scheduled_for, row.decided_at) for row in starts]):
        by_kind[kind, "late"].append(seconds)
    lateness = [(row.started_at - row.scheduled_for).total_seconds() for row in starts]
    return Measured(lateness, len(lost), by_kind)


def _recovered(log: Sequence[Fault], lost: Sequence[Any]) -> list[tuple[str, float]]:
    """Return, for each attempt that a fault ended, how long after it its task was claimed again, or ended."""
    found = []
    for row in lost:
        pid = int(row.worker.rpartition(":")[2])
        killing = next((one for one in log if pid in one.pids and one.at >= row.started_at), None)
        if killing is not None and row.again is not None:
            found.append((killing.kind, (row.again - killing.at).total_seconds()))
    return found


def _resumed(log: Sequence[Fault], claims: Sequence[Any], *, after: int = 0) -> list[tuple[str, float]]:
    """Return, for each fault that took something away, how long after its end anything was claimed, `after` so many."""
    found = []
    for fault in log:
        place = bisect_right(claims, fault.over) + after if fault.over is not None else len(claims)
        if fault.over is not None and place < len(claims):
            found.append((fault.kind, (claims[place] - fault.over).total_seconds()))
    return found


def all_at_work(arena: Arena, fault: Fault) -> bool:
    """Say whether each worker has claimed something, since a fault's end, that it had not in hand before."""
    return fault.over is not None and _workers(arena) <= _first_claims(arena.rows(_CLAIMS), fault.over).keys()


def _workers(arena: Arena) -> set[str]:
    return {place.name for kind in ("worker", "deliveries") for place in arena.crew.of(kind)}


def _first_claims(claims: Sequence[Any], since: datetime) -> dict[str, datetime]:
    """Return when each worker first claimed what was published since: no message of that was in its hands before."""
    first: dict[str, datetime] = {}
    for row in claims:
        if row.published_at is not None and since < row.published_at <= row.started_at:
            first.setdefault(row.worker, row.started_at)
    return first


def _everyone(log: Sequence[Fault], claims: Sequence[Any], workers: set[str]) -> list[tuple[str, float]]:
    """Return, for each fault that took something away, how long after its end each worker had claimed something new."""
    found = []
    for fault in log:
        if fault.over is None:
            continue
        first = _first_claims(claims, fault.over)
        last = max((first[name] for name in workers), default=fault.over) if workers <= first.keys() else None
        found.append((fault.kind, float("inf") if last is None else (last - fault.over).total_seconds()))
    return found


def _late(log: Sequence[Fault], decided: Sequence[tuple[Any, Any]]) -> list[tuple[str, float]]:
    """Return how late each planned time was decided that fell due during a fault, or a moment before or after it."""
    found = []
    for due, at in decided:
        under = [one for one in log if one.at - _MOMENT <= due <= (one.over or one.at) + _MOMENT]
        found += [(one.kind, (at - due).total_seconds()) for one in under]
    return found
