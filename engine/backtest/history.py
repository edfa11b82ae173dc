"""Campaign metrics as they became known: at a simulated time there is what had been observed by then, and no more.

A day's newest observation of that time counts, until a restatement supersedes it. Sums over days are differences of
running sums, exact; what one time adds is put at their end, and a restatement recomputes them from its day on.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from engine.run_rules.facts import Sums

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

_ZERO: Final = Decimal(0)


class Observation(NamedTuple):
    """One campaign-day as it was observed at one time; `values` in the order of the history's metrics."""

    day: int
    """The day's proleptic ordinal."""
    observed_at: datetime
    superseded_at: datetime | None
    values: tuple[Decimal | None, ...]


@dataclass(frozen=True, slots=True)
class History:
    """All observations of some campaigns, of the metrics that are asked for."""

    metrics: tuple[str, ...]
    observations: Mapping[UUID, Sequence[Observation]]


class Known:
    """What of a history is known at a time that only moves forward."""

    def __init__(self, history: History, campaigns: Iterable[UUID] | None = None) -> None:
        wanted = history.observations.keys() if campaigns is None else campaigns
        self._metrics = history.metrics
        self._series = {campaign_id: _Series(len(history.metrics)) for campaign_id in wanted}
        self._events = sorted(self._all_events(history), key=_when, reverse=True)

    def advance(self, now: datetime) -> None:
        """Let be known what is observed up to `now`, and be gone what is superseded by then."""
        events = self._events
        while events and events[-1].at <= now:
            event = events.pop()
            if event.appears:
                event.series.put(event.observation)
            else:
                event.series.remove(event.observation)

    def sums(self, campaign_id: UUID, first: date, last: date) -> Sums | None:
        """Return the sums of a campaign from `first` to `last`, both inclusive; None where no such day is known."""
        series = self._series.get(campaign_id)
        found = None if series is None else series.between(first.toordinal(), last.toordinal())
        if found is None:
            return None
        values, observed_at = found
        return Sums(dict(zip(self._metrics, values, strict=True)), observed_at)

    def _all_events(self, history: History) -> Iterable[_Event]:
        for campaign_id, series in self._series.items():
            for one in history.observations.get(campaign_id, ()):
                yield _Event(one.observed_at, True, series, one)  # noqa: FBT003 - a field of the event
                if one.superseded_at is not None:
                    yield _Event(one.superseded_at, False, series, one)  # noqa: FBT003 - as above


class _Event(NamedTuple):
    at: datetime
    appears: bool
    series: _Series
    observation: Observation


def _when(event: _Event) -> tuple[datetime, bool]:
    """At one instant, what is superseded goes before what supersedes it comes."""
    return event.at, event.appears


_Found: TypeAlias = "tuple[list[Decimal | None], datetime]"


class _Series:
    """The days of one campaign that are known, ascending, with running sums over the first `_summed` of them."""

    __slots__ = ("_days", "_newest", "_running", "_shown", "_summed")

    def __init__(self, metrics: int) -> None:
        self._days: list[int] = []
        self._shown: list[Observation] = []
        self._summed = 0
        self._running: list[tuple[list[Decimal], list[int]]] = [([_ZERO], [0]) for _ in range(metrics)]
        """Of each metric the sum, and how many days report it: of none that does the sum is unknown, not 0."""
        self._newest: list[int] = []
        """Of the days up to each the one that was observed last."""

    def put(self, observation: Observation) -> None:
        """Show an observation of a day, in place of an older one."""
        days = self._days
        at = bisect_left(days, observation.day)
        if at < len(days) and days[at] == observation.day:
            self._shown[at] = observation
        else:
            days.insert(at, observation.day)
            self._shown.insert(at, observation)
        if at == self._summed:
            self._add(observation)  # as most are, of the day that follows all others
        else:
            self._summed = min(self._summed, at)

    def remove(self, observation: Observation) -> None:
        """Show an observation no more, if it still is the one that is shown."""
        at = bisect_left(self._days, observation.day)
        if at < len(self._days) and self._shown[at] is observation:
            del self._days[at], self._shown[at]
            self._summed = min(self._summed, at)

    def between(self, first: int, last: int) -> _Found | None:
        """Return each metric's sum over the days, None = not reported, and when the newest of them was observed."""
        days, low = self._days, bisect_left(self._days, first)
        high = bisect_right(days, last, low)
        if low == high:
            return None
        if self._summed < high:
            self._sum()
        values = [sums[high] - sums[low] if counts[high] > counts[low] else None for sums, counts in self._running]
        newest = self._newest[high - 1]
        if newest < low:  # a restatement of an earlier day came later than all days here
            return values, max(one.observed_at for one in self._shown[low:high])
        return values, self._shown[newest].observed_at

    def _sum(self) -> None:
        """Bring the running sums up to the last day, anew from the first that is not summed."""
        for one in self._shown[self._summed :]:
            self._add(one)

    def _add(self, observation: Observation) -> None:
        """Put the first day that is not summed at the end of the running sums, and forget what may stand there."""
        at = self._summed
        for (sums, counts), value in zip(self._running, observation.values, strict=True):
            del sums[at + 1 :], counts[at + 1 :]
            sums.append(sums[at] if value is None else sums[at] + value)
            counts.append(counts[at] + (value is not None))
        newest = self._newest
        del newest[at:]
        later = not newest or observation.observed_at >= self._shown[newest[-1]].observed_at
        newest.append(at if later else newest[-1])
        self._summed = at + 1
