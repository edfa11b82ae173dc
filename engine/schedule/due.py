"""What becomes of the planned times of one due job: a decision per time, and where the job waits next.

Built for the default policies: misfire `once` within a grace, overlap `skip`. Another policy is another way to split
the same planned times into stretches; the chain and the cursor do not change with it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from engine.schedule.occurrences import next_occurrence

if TYPE_CHECKING:
    from datetime import datetime

    from engine.schedule.definition import Schedule

Decision = Literal["run", "coalesced", "misfired", "overlap_skipped"]

MISFIRE_GRACE: Final = timedelta(seconds=3600)
"""How late a planned time may still run (SPEC §5)."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive planned times of one fate: one row of the ledger. A `run` is always alone."""

    scheduled_for: datetime
    until: datetime
    """The last planned time of the stretch; equal to `scheduled_for` where `count` is 1."""
    count: int
    decision: Decision
    previous: datetime
    """The planned time before `scheduled_for`; the job's anchor before its first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to record of a due job and where its cursor goes. `next_run_at` None: the schedule is completed."""

    stretches: tuple[Stretch, ...]
    next_run_at: datetime | None
    last_scheduled_for: datetime | None
    """The last planned time that the stretches cover; as given where there are none."""
    computed: int
    """Planned times decided; what counts against the batch's budget."""

    @property
    def run(self) -> Stretch | None:
        """The planned time that runs now, if one does; it is always the last."""
        last = self.stretches[-1] if self.stretches else None
        return last if last is not None and last.decision == "run" else None


def decide(
    schedule: Schedule,
    *,
    first: datetime,
    now: datetime,
    previous: datetime | None,
    run_open: bool,
    limit: int,
    grace: timedelta = MISFIRE_GRACE,
) -> Plan:
    """Decide every planned time from `first` (the job's `next_run_at`) to `now`, at most `limit` (at least 1) of them.

    The latest runs if it is at most `grace` late, or is `overlap_skipped` while a run is open; earlier ones within the
    grace are `coalesced`, older ones `misfired`. Where the limit comes first, a later due time exists, so that none
    runs, and `next_run_at` is the first undecided one, still due. `previous` is the job's `last_scheduled_for`.
    """
    if first > now:
        return Plan((), first, previous, 0)
    planned, following = _planned(schedule, first, now, limit)
    latest_decided = following is None or following > now
    in_grace = bisect_left(planned, now - grace)
    alone = len(planned) - 1 if latest_decided and in_grace < len(planned) else len(planned)
    fates: tuple[tuple[Decision, list[datetime]], ...] = (
        ("misfired", planned[:in_grace]),
        ("coalesced", planned[in_grace:alone]),
        ("overlap_skipped" if run_open else "run", planned[alone:]),
    )
    return Plan(
        stretches=_chain(fates, schedule.anchor if previous is None else previous),
        next_run_at=following,
        last_scheduled_for=planned[-1],
        computed=len(planned),
    )


def _planned(schedule: Schedule, first: datetime, now: datetime, limit: int) -> tuple[list[datetime], datetime | None]:
    """Return the due times, at most `limit`, and the planned time after them."""
    if limit < 1:
        raise ValueError("limit must be at least 1")
    planned = [first]
    while True:
        found = next_occurrence(schedule, planned[-1])
        following = None if found is None else found.at
        if following is None or following > now or len(planned) == limit:
            return planned, following
        planned.append(following)


def _chain(fates: tuple[tuple[Decision, list[datetime]], ...], previous: datetime) -> tuple[Stretch, ...]:
    stretches = []
    for decision, times in fates:
        if times:
            stretches.append(Stretch(times[0], times[-1], len(times), decision, previous))
            previous = times[-1]
    return tuple(stretches)
