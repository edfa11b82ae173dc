"""Whether a process is alive, decided from what was seen of it. Pure.

Alive is not "answers ping": a worker whose broker connection died under it answers, and takes nothing for ever. It is:
took work, or was seen with nothing left waiting that it could take, within the last minute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from models.process_enums import ProcessState

LOOKS: Final = 6
"""Looks in a row that must find nothing good, at least. They are counted, not timed: a process that was stopped and
continued, or a laptop that slept, finds its clock far on and has missed nothing."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at a process found."""

    turned: bool
    """Its main loop has turned since the look before."""
    took: bool
    """It has taken work since then."""
    free: bool
    """It could take more: a worker whose hands are full is not asked why it takes none."""
    waiting: int
    """What waits for it to be taken."""
    away: str | None = None
    """The server that it cannot do without and that is out of reach; nobody is blamed for what that causes."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a look means: the state, why it is not `working`, and whether it was asking for work."""

    state: ProcessState
    reason: str | None
    polled: bool


@dataclass(slots=True)
class Liveness:
    """The looks in a row that found neither work taken nor an idle loop.

    `every` = seconds between two, for words; `looks` = how many such looks it takes to be stuck.
    """

    every: float
    looks: int = LOOKS
    idle: int = field(default=0, init=False)

    def judge(self, seen: Seen) -> Judgement:
        """Return what this look means, given those before."""
        if seen.away is not None:
            self.idle = 0
            return Judgement(ProcessState.WAITING, seen.away, polled=False)
        complaint = _complaint(seen)
        if complaint is None:
            self.idle = 0
            return Judgement(ProcessState.WORKING, None, polled=True)
        self.idle += 1
        stuck = self.idle >= self.looks
        reason = f"{complaint}, for {self.idle * self.every:.0f} s now"
        return Judgement(ProcessState.STUCK if stuck else ProcessState.WORKING, reason, polled=False)


def _complaint(seen: Seen) -> str | None:
    if not seen.turned:
        return "its loop does not turn"
    if seen.waiting and seen.free and not seen.took:
        return f"{seen.waiting} messages wait and it takes none"
    return None
