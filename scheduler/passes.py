"""What a scheduler knows of its own passes: that they end, when one last dispatched a job, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.clock import monotonic
from vitals.liveness import Seen
from vitals.pulse import Look


@dataclass(slots=True)
class Passes:
    """Written by the scheduler's thread, read by the pulse's; each field by one statement, so without a lock."""

    ended: int = field(default=0, init=False)
    jobs: int = field(default=0, init=False)
    jobs_at: float | None = field(default=None, init=False)
    away: str | None = field(default=None, init=False)
    """The server that is out of reach."""
    _ended_before: int = field(default=-1, init=False)  # to have started counts as one
    _jobs_before: int = field(default=0, init=False)

    def end(self, jobs: int, away: str | None) -> None:
        """Count a pass that did all its duties; `jobs` = how many this process has dispatched so far."""
        self.ended += 1
        self.away = away
        if jobs != self.jobs:
            self.jobs, self.jobs_at = jobs, monotonic()

    def fail(self, away: str) -> None:
        """Record a pass that an outage ended."""
        self.away = away

    def look(self) -> Look:
        """Report what happened since the last look."""
        ended, jobs = self.ended, self.jobs
        seen = Seen(
            turned=ended != self._ended_before, took=jobs != self._jobs_before, free=True, waiting=0, away=self.away
        )
        self._ended_before, self._jobs_before = ended, jobs
        return Look(seen, jobs, self.jobs_at)
