"""Planned times that went by without running: in a pause, before a new schedule, beyond a limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final, Literal

from engine.schedule.occurrences import next_planned

if TYPE_CHECKING:
    from datetime import datetime

    from engine.schedule.definition import Schedule
    from engine.schedule.occurrences import Skipped

Reason = Literal["paused", "cancelled", "limit_reached"]

_INSTANT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Gone:
    """Consecutive planned times that did not run for one reason: one row of the ledger."""

    scheduled_for: datetime
    until: datetime
    """The last of them; equal to `scheduled_for` where `count` is 1."""
    count: int
    decision: Reason | Skipped
    previous: datetime
    """The planned time before `scheduled_for`; the job's anchor before its first."""


@dataclass(frozen=True, slots=True)
class Past:
    """What to record of a job's past. `complete`: no other planned time lies between it and now."""

    rows: tuple[Gone, ...]
    complete: bool

    @property
    def last(self) -> datetime | None:
        """The last planned time that the rows cover."""
        return self.rows[-1].until if self.rows else None


def cursor(schedule: Schedule, last: datetime | None, since: datetime) -> datetime:
    """Return the instant strictly after which a job's planned times are undecided.

    `last`: its last decided one (`last_scheduled_for`); `since`: when its definition became its own. The only time of a
    `once` job may lie before that.
    """
    if schedule.schedule_type == "once" and schedule.start_date is not None:
        since = min(since, schedule.start_date - _INSTANT)
    return since if last is None else max(last, since)


def settle(
    schedule: Schedule, *, after: datetime, now: datetime, previous: datetime, reason: Reason, limit: int
) -> Past:
    """Give every planned time after `after` up to `now` (both aware) its reason, at most `limit` (at least 1) of them.

    Times that the schedule's own policies skip are told apart. `previous` is the planned time before the first.
    """
    times: list[tuple[datetime, Reason | Skipped]] = []
    found = next_planned(schedule, after)
    while found is not None and found.at <= now and len(times) < limit:
        times.append((found.at, found.skipped or reason))
        found = next_planned(schedule, found.at)
    rows = []
    for decision, group in groupby(times, key=lambda time: time[1]):
        of_one_fate = [at for at, _ in group]
        rows.append(Gone(of_one_fate[0], of_one_fate[-1], len(of_one_fate), decision, previous))
        previous = of_one_fate[-1]
    return Past(tuple(rows), complete=found is None or found.at > now)
