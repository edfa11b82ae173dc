"""What was done to the system, and when: each fault by its kind, with the processes that it met."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass
class Fault:
    """One fault. `over` is when what was taken away came back, if something was; what it met dies with `pids`."""

    kind: str
    at: datetime
    pids: tuple[int, ...] = ()
    over: datetime | None = None

    def end(self) -> None:
        """Say that what was taken away is back from now on."""
        self.over = datetime.now(UTC)


@dataclass
class Faults:
    """All faults of a scenario, in order."""

    log: list[Fault] = field(default_factory=list)

    def note(self, kind: str, pids: tuple[int, ...] | list[int] = (), *, at: datetime | None = None) -> Fault:
        """Record a fault that begins now; say `end` on it when it is over, where something is away for a while."""
        made = Fault(kind, at or datetime.now(UTC), tuple(pids))
        self.log.append(made)
        return made

    def counts(self) -> Counter[str]:
        """Return how many there were of each kind, in the order of their first."""
        return Counter(fault.kind for fault in self.log)
