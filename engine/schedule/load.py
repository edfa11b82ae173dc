"""When work will come due: planned times counted by the minute, and the minutes in which many more come than usual.

Jobs of one definition are counted together and expanded once. Jitter spreads a time evenly over the seconds that it may
take, so that a chart shows what it is good for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from engine.schedule import zones
from engine.schedule.occurrences import occurrences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date
    from uuid import UUID

    from engine.schedule.definition import Schedule

MINUTE: Final = timedelta(minutes=1)
MAX_TIMES: Final = 250_000
"""How many times are computed; definitions that are left out then are told."""
PILE_UP: Final = 10
"""A pile-up is a minute of so many times the average …"""
AT_LEAST: Final = 100
"""… and of at least so many jobs."""
_HOURS: Final = 24


@dataclass(frozen=True, slots=True)
class Alike:
    """Jobs of one definition and one jitter."""

    schedule: Schedule
    jobs: int
    jitter_seconds: int = 0
    orgs: tuple[tuple[UUID, int], ...] = ()
    """The orgs with most of them, and how many each has."""


@dataclass(slots=True)
class Load:
    """Jobs that come due, by the minute: memory depends on the period only."""

    start: datetime
    """Aware, of a whole minute."""
    minutes: int
    counts: list[float] = field(init=False)
    _slopes: list[float] = field(init=False)
    """Where an even spread over whole minutes begins and ends."""
    left_out: int = 0
    """Jobs whose times are not counted, because the bound was hit."""

    def __post_init__(self) -> None:
        self.counts = [0.0] * self.minutes
        self._slopes = [0.0] * (self.minutes + 1)

    @property
    def end(self) -> datetime:
        """The first instant behind the period."""
        return self.start + self.minutes * MINUTE

    def add(self, at: datetime, jobs: int, jitter_seconds: int = 0) -> None:
        """Count `jobs` that are planned at `at` and start within `jitter_seconds` from then on."""
        begin = (at - self.start).total_seconds()
        first, last = int(begin // 60), int((begin + jitter_seconds) // 60)
        if first == last:
            self._put(first, jobs)
            return
        a_second = jobs / jitter_seconds
        self._put(first, a_second * ((first + 1) * 60 - begin))
        self._put(last, a_second * (begin + jitter_seconds - last * 60))
        self._slope(first + 1, a_second * 60)
        self._slope(last, -a_second * 60)

    def closed(self) -> list[float]:
        """Return the jobs of each minute, all of them being added."""
        spread = accumulate(self._slopes[: self.minutes])
        return [count + even for count, even in zip(self.counts, spread, strict=True)]

    def _put(self, minute: int, jobs: float) -> None:
        if 0 <= minute < self.minutes:
            self.counts[minute] += jobs

    def _slope(self, minute: int, jobs: float) -> None:
        self._slopes[min(max(minute, 0), self.minutes)] += jobs


@dataclass(frozen=True, slots=True)
class PileUp:
    """A minute in which many more jobs come due than usual, and whose and which they are, the most first."""

    minute: datetime
    jobs: int
    orgs: tuple[tuple[UUID, int], ...]
    alike: tuple[Alike, ...]


def expand(load: Load, groups: Iterable[Alike], limit: int = MAX_TIMES) -> None:
    """Add the times of all jobs, at most `limit` times; the jobs of what is left out then are counted."""
    for group in groups:
        if limit <= 0:
            load.left_out += group.jobs
            continue
        # What was planned a little earlier may start within the period.
        after = load.start - timedelta(seconds=group.jitter_seconds, microseconds=1)
        for found in occurrences(group.schedule, after):
            if found.at >= load.end:
                break
            if limit <= 0:
                load.left_out += group.jobs
                break
            load.add(found.at, group.jobs, group.jitter_seconds)
            limit -= 1


def usual(minutes: Sequence[float]) -> float:
    """Return how many jobs a minute has on average."""
    return sum(minutes) / max(1, len(minutes))


def peaks(minutes: Sequence[float]) -> list[int]:
    """Return the minutes that pile up, the worst first."""
    threshold = max(AT_LEAST, PILE_UP * usual(minutes))
    return sorted((i for i, jobs in enumerate(minutes) if jobs >= threshold), key=lambda i: (-minutes[i], i))


def explain(load: Load, minute: int, jobs: float, groups: Iterable[Alike], shown: int = 3) -> PileUp:
    """Say which jobs and whose make a minute pile up, by what is planned in that minute itself."""
    begin = load.start + minute * MINUTE
    planned = [group for group in groups if _fires(group, begin)]
    planned.sort(key=lambda group: -group.jobs)
    orgs: dict[UUID, int] = {}
    for group in planned:
        for org_id, count in group.orgs:
            orgs[org_id] = orgs.get(org_id, 0) + count
    most = sorted(orgs.items(), key=lambda item: (-item[1], item[0]))
    return PileUp(begin, round(jobs), tuple(most[:shown]), tuple(planned[:shown]))


def by_day(load: Load, minutes: Sequence[float], timezone: str) -> dict[date, list[float]]:
    """Return the jobs of each hour of each local day, in order."""
    tz = zones.zone(timezone)
    days: dict[date, list[float]] = {}
    for index, jobs in enumerate(minutes):
        local = zones.wall_of(load.start + index * MINUTE, tz)
        days.setdefault(local.date(), [0.0] * _HOURS)[local.hour] += jobs
    return days


def _fires(group: Alike, begin: datetime) -> bool:
    found = next(occurrences(group.schedule, begin - timedelta(microseconds=1)), None)
    return found is not None and found.at < begin + MINUTE
