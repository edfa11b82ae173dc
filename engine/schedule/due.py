"""What becomes of the planned times of one due job: a decision per time, and where the job waits next.

First which times there are, then which of them would run by the misfire policy, then which may by overlap and limit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from engine.schedule.occurrences import Skipped, may_skip, next_occurrence, next_planned

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from engine.schedule.definition import Schedule
    from engine.schedule.policies import Policies

Decision = Literal[
    "run",
    "buffered",
    "coalesced",
    "misfired",
    "overlap_skipped",
    "paused",
    "limit_reached",
    "dst_skipped",
    "month_end_skipped",
]

CATCH_UP: Final = 100
"""How many missed times `misfire = all` makes up for, at most (SPEC §5)."""
ON_TIME: Final = timedelta(seconds=60)
"""How late a time may be that is not yet missed: what `misfire = skip` lets run."""
_ALONE: Final = frozenset({"run", "buffered"})


class Stretch(NamedTuple):
    """Consecutive planned times of one fate: one row of the ledger. A `run` or `buffered` one is always alone."""

    scheduled_for: datetime
    until: datetime
    """The last planned time of the stretch; equal to `scheduled_for` where `times` is 1."""
    times: int
    decision: Decision
    previous: datetime
    """The planned time before `scheduled_for`; the job's anchor before its first."""


class State(NamedTuple):
    """What is known of a claimed job when its planned times are decided."""

    first: datetime | None
    """`next_run_at`: its next time that fires."""
    cursor: datetime
    """The planned times up to it are decided, or none of this definition's."""
    previous: datetime | None = None
    """`last_scheduled_for`: the last planned time in the ledger."""
    run_open: bool = False
    buffered: bool = False
    """Whether a planned time waits for the open run to end."""
    runs_left: int | None = None
    """How many more may run; None = any number."""
    pausing: bool = False
    """Whether the job is paused now: nothing of it may run any more."""


class Plan(NamedTuple):
    """What to record of a due job and where its cursor goes. `next_run_at` None: no further time will run."""

    stretches: tuple[Stretch, ...]
    next_run_at: datetime | None
    last_scheduled_for: datetime | None
    """The last planned time that the stretches cover; as given where there are none."""
    computed: int
    """Planned times computed; what counts against the batch's budget."""
    cancels: bool = False
    """Whether the runs that are open are to be cancelled."""

    @property
    def runs(self) -> tuple[Stretch, ...]:
        """The planned times that run now, in order."""
        return tuple([stretch for stretch in self.stretches if stretch.decision == "run"])

    @property
    def buffered(self) -> Stretch | None:
        """The planned time that is put into the buffer now, if one is."""
        return next((stretch for stretch in self.stretches if stretch.decision == "buffered"), None)


@dataclass(slots=True)
class _Times:
    """The due planned times in order, those of them that do not fire, and the firing time that follows them."""

    planned: list[datetime]
    skipped: dict[datetime, Skipped] = field(default_factory=dict)
    following: datetime | None = None
    complete: bool = True
    """False: further times are due that are not computed yet."""

    @property
    def firing(self) -> list[datetime]:
        return [time for time in self.planned if time not in self.skipped] if self.skipped else self.planned


def decide(schedule: Schedule, policies: Policies, state: State, *, now: datetime, limit: int) -> Plan:
    """Decide every planned time after the cursor up to `now`, at most `limit` (at least 1) of them.

    Where the limit comes first, further times are due and `next_run_at` is the first undecided one. Misfire: a time
    later than the grace is `misfired`. Within it `once` runs the latest and coalesces the others, `all` runs the latest
    100, `skip` runs the latest if it is on time. Those that would run are held to overlap and to `max_executions`;
    the times of one catch-up do not overlap each other: one task carries them, and runs one after another.
    """
    if state.first is None or state.first > now:
        return Plan((), None if state.runs_left == 0 else state.first, state.previous, 0)
    times = _due(schedule, state, now, limit, CATCH_UP if policies.misfire == "all" else 0)
    previous = schedule.anchor if state.previous is None else state.previous
    if _is_plain(times, policies, state, now):
        [time] = times.planned
        return Plan((Stretch(time, time, 1, "run", previous),), times.following, time, 1)
    fates: dict[datetime, Decision]
    if state.pausing:
        fates = dict.fromkeys(times.firing, "paused")
    else:
        fates = _by_misfire(times, policies, now)
        fates |= _by_overlap([time for time, fate in fates.items() if fate == "run"], policies, state)
    ended = _by_limit(fates, state)
    cancels = state.run_open and policies.overlap == "cancel_other" and "run" in fates.values()
    fates |= times.skipped
    return Plan(
        stretches=_chain(sorted(fates.items()), previous),
        next_run_at=None if ended and times.complete else times.following,
        last_scheduled_for=times.planned[-1],
        computed=len(times.planned),
        cancels=cancels,
    )


def _is_plain(times: _Times, policies: Policies, state: State, now: datetime) -> bool:
    """Say whether one time is due, in time, and nothing is in its way: the case that nearly all jobs are."""
    if len(times.planned) != 1 or times.skipped or state.run_open or state.pausing or state.runs_left is not None:
        return False
    late = now - times.planned[0]
    return times.complete and late <= policies.grace and (late <= ON_TIME or policies.misfire != "skip")


def _due(schedule: Schedule, state: State, now: datetime, limit: int, lookahead: int) -> _Times:
    """Return the planned times up to `now`: all, or as many as may be decided while `lookahead` more are known."""
    if limit < 1:
        raise ValueError("limit must be at least 1")
    times = _planned(schedule, state, now, limit + lookahead)
    if not times.complete and lookahead:
        # the latest ones may run, and which these are shows only once all are known
        times.following = times.planned[limit]
        del times.planned[limit:]
        times.skipped = {time: why for time, why in times.skipped.items() if time < times.following}
    return times


def _planned(schedule: Schedule, state: State, now: datetime, most: int) -> _Times:
    if state.first is None:
        raise ValueError("a job without a next time is not due")
    if may_skip(schedule):
        return _planned_with_skips(schedule, state.cursor, now, most)
    planned = [state.first]
    while True:
        found = next_occurrence(schedule, planned[-1])
        if found is None or found.at > now:
            return _Times(planned, following=None if found is None else found.at)
        if len(planned) == most:
            return _Times(planned, following=found.at, complete=False)
        planned.append(found.at)


def _planned_with_skips(schedule: Schedule, cursor: datetime, now: datetime, most: int) -> _Times:
    times = _Times([])
    while (found := next_planned(schedule, times.planned[-1] if times.planned else cursor)) and found.at <= now:
        if len(times.planned) == most:
            times.following, times.complete = found.at, False
            return times
        times.planned.append(found.at)
        if found.skipped:
            times.skipped[found.at] = found.skipped
    following = next_occurrence(schedule, times.planned[-1]) if found else None
    times.following = None if following is None else following.at
    return times


def _by_misfire(times: _Times, policies: Policies, now: datetime) -> dict[datetime, Decision]:
    """Give each firing time its fate as if no run were open; those that would run are `run`."""
    firing = times.firing
    oldest = now - policies.grace
    if policies.misfire == "skip":
        fates: dict[datetime, Decision] = dict.fromkeys(firing, "misfired")
        oldest = max(oldest, now - ON_TIME)
    else:
        fates = {time: "misfired" if time < oldest else "coalesced" for time in firing}
    if times.complete:
        latest = firing[-CATCH_UP:] if policies.misfire == "all" else firing[-1:]
        fates |= {time: "run" for time in latest if time >= oldest}
    return fates


def _by_overlap(candidates: list[datetime], policies: Policies, state: State) -> dict[datetime, Decision]:
    """Say what becomes of the times that would run."""
    if not state.run_open or policies.overlap in {"allow", "cancel_other"}:
        return dict.fromkeys(candidates, "run")
    fates: dict[datetime, Decision] = dict.fromkeys(candidates, "overlap_skipped")
    if policies.overlap == "buffer_one" and candidates and not state.buffered:
        if state.runs_left == 0:  # none can be the one that waits, so that the limit stops each
            return dict.fromkeys(candidates, "buffered")
        fates[candidates[0]] = "buffered"
    return fates


def _by_limit(fates: dict[datetime, Decision], state: State) -> bool:
    """Hold the runs to how many are left, in place; returns whether none is left afterwards."""
    if state.runs_left is None:
        return False
    left = state.runs_left - state.buffered
    for time, fate in fates.items():
        if fate in _ALONE:
            if left > 0:
                left -= 1
            else:
                fates[time] = "limit_reached"
    return left <= 0 and not state.buffered and "buffered" not in fates.values()


def _chain(fates: Iterable[tuple[datetime, Decision]], previous: datetime) -> tuple[Stretch, ...]:
    stretches: list[Stretch] = []
    for time, decision in fates:
        last = stretches[-1] if stretches else None
        if last is not None and last.decision == decision and decision not in _ALONE:
            stretches[-1] = Stretch(last.scheduled_for, time, last.times + 1, decision, last.previous)
        else:
            stretches.append(Stretch(time, time, 1, decision, previous))
        previous = time
    return tuple(stretches)
