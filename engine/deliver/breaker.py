"""The circuit breaker of a destination: whether it is called, and what a call's end makes of it. Pure.

Closed, it counts failures in a row; after five it opens, for 30 seconds, and each time in a row for twice as long, up
to ten minutes. Then it is half open: one delivery tries whether the destination is back.
(M. Nygard, Release It!, 2018.)
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from models.enums import BreakerState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

FAILURES: Final = 5
"""Calls in a row that a destination may leave unanswered, or answer by an error of its own, before it is left alone."""
OPEN_FOR: Final = timedelta(seconds=30)
LONGEST: Final = timedelta(minutes=10)
HEALTHY_CALLS: Final = 8
"""Calls of an org that may be under way to a destination that answers."""
SUSPECT_CALLS: Final = 2
"""The same where the last call failed, or none was answered yet: what hangs keeps few workers from the others."""
_SYSTEM_RANDOM: Final = random.SystemRandom()
_SPREAD: Final = 0.2


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination as an org knows it. `in_flight`: by task, when its claim ends at the latest."""

    state: BreakerState = BreakerState.CLOSED
    failures: int = 0
    openings: int = 0
    not_before: datetime | None = None
    answers: bool = False
    """Whether it ever answered."""
    in_flight: Mapping[UUID, datetime] = field(default_factory=dict)

    def calls(self, now: datetime, besides: UUID) -> int:
        """Return how many calls are under way besides a task's own: one that a dead worker left is none any more."""
        return sum(ends > now for task_id, ends in self.in_flight.items() if task_id != besides)

    @property
    def healthy(self) -> bool:
        """Whether it answered the last call."""
        return self.answers and not self.failures

    @property
    def room(self) -> int:
        """How many calls may be under way at once; one that was down is tried by one."""
        if self.state is not BreakerState.CLOSED:
            return 1
        return HEALTHY_CALLS if self.healthy else SUSPECT_CALLS

    def begin(self, task_id: UUID, *, now: datetime, until: datetime) -> Destination:
        """Return it with one more call under way; the first one after an opening is the one that tries."""
        under_way = {task: ends for task, ends in self.in_flight.items() if ends > now} | {task_id: until}
        state = self.state if self.state is BreakerState.CLOSED else BreakerState.HALF_OPEN
        return replace(self, state=state, in_flight=under_way)

    def end(self, task_id: UUID) -> Destination:
        """Return it without this call."""
        return replace(self, in_flight={task: ends for task, ends in self.in_flight.items() if task != task_id})

    def answered(self) -> Destination:
        """Return it after a call that it answered, whatever the answer was: closed, its failures forgotten."""
        return replace(self, state=BreakerState.CLOSED, failures=0, openings=0, not_before=None, answers=True)

    def failed(self, now: datetime, *, rng: random.Random = _SYSTEM_RANDOM) -> Destination:
        """Return it after a call that failed by its fault: open, if it was tried or has failed too often in a row."""
        failures = self.failures + 1
        if self.state is BreakerState.CLOSED and failures < FAILURES:
            return replace(self, failures=failures)
        if self.state is BreakerState.OPEN:  # a call that had begun before it opened says nothing new
            return replace(self, failures=failures)
        bound = min(LONGEST, OPEN_FOR * 2 ** min(self.openings, 10))
        open_for = bound * rng.uniform(1 - _SPREAD, 1)
        opened = replace(self, state=BreakerState.OPEN, failures=failures, openings=self.openings + 1)
        return replace(opened, not_before=now + open_for)

    def asked_for_rest(self, until: datetime) -> Destination:
        """Return it, not to be called before the time that it asked for (Retry-After)."""
        return replace(self, not_before=max(until, self.not_before or until))
