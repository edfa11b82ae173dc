"""A claimed task while it is worked on, and how that may end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from core import clock
from core.db import ENGINE_ACTOR, RESERVED_ORG, Context, switch
from core.errors import OutOfTimeError, PermanentError
from engine import chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.run_rules.group import Unfinished
    from engine.store import tasks


@dataclass(frozen=True, slots=True)
class NotClaimed:
    """There was nothing to claim: a duplicate, or somebody else was faster. A normal answer."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The task is done: `evaluated` items are recorded, `retried` ones became tasks of their own.

    `cancelled` ones were not begun, because somebody wanted so.
    """

    evaluated: int
    retried: int
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class Applied:
    """Actions that were queued are done: how many are in which status."""

    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class TakenApart:
    """The chunk took too long, or killed its worker: so many tasks took its place, with all the time to themselves."""

    parts: int


@dataclass(frozen=True, slots=True)
class Retrying:
    """The task is ready again, to be run after a delay."""

    after: timedelta
    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The task failed for good; its items are recorded as failures."""

    error: dict[str, Any]


Result: TypeAlias = NotClaimed | Finished | Applied | TakenApart | Retrying | GaveUp


@dataclass(slots=True)
class Work:
    """A claimed task while it is worked on. Raises PermanentError if its payload cannot be its own."""

    claim: tasks.Claim
    now: datetime
    check: Callable[[], None] | None = None
    """Raises LostClaimError once the task was taken over; None where the transaction itself holds it."""
    again: list[tuple[UUID, Unfinished]] = field(default_factory=list)
    cancelled: int = 0
    begun: float = field(default_factory=clock.monotonic)
    groups: Sequence[chunk.Group] = field(init=False)
    """The evaluations, org by org."""
    org_id: UUID = field(init=False)
    """Whose context the transaction is in."""

    def __post_init__(self) -> None:
        self.groups = chunk.groups(self.claim.payload)
        self.org_id = self.claim.org_id
        if self.org_id != RESERVED_ORG and any(group.org_id != self.org_id for group in self.groups):
            message = "the task's payload names another org than its own"
            raise PermanentError(message)

    def enter(self, connection: Connection, org_id: UUID) -> None:
        """Make an org the transaction's tenant, unless it is."""
        if org_id != self.org_id:
            switch(connection, Context(org_id, ENGINE_ACTOR))
            self.org_id = org_id

    @property
    def left(self) -> timedelta:
        """How much of the task's time is left."""
        return self.claim.ends_at - self.now - timedelta(seconds=clock.monotonic() - self.begun)

    def still_ours(self) -> None:
        """Raise LostClaimError once the task was taken over, OutOfTimeError once its time is up."""
        if self.check is not None:
            self.check()
        if self.left <= timedelta(0):
            message = f"did not finish within its timeout of {self.claim.timeout_seconds} s"
            raise OutOfTimeError(message)

    @property
    def optimization(self) -> chunk.Optimization | None:
        """The optimisation that it carries instead of evaluations; it is alone, and its task is its org's."""
        return next((group.optimization for group in self.groups if group.optimization is not None), None)

    @property
    def size(self) -> int:
        """How many evaluations it carries; an optimisation is one."""
        return sum(group.size for group in self.groups)


def occurrence_key(item: chunk.Item | chunk.Optimization) -> dict[str, Any]:
    """Return the key of an item's row in the ledger."""
    return {"job_id": item.job_id, "origin": item.origin, "scheduled_for": item.scheduled_for}
