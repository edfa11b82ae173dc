"""Ownership of a task while it is worked on: a thread of its own extends the lease, and says when it is lost."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy.exc import SQLAlchemyError

from core.clock import monotonic
from core.db import ENGINE_ACTOR, Context
from core.errors import CmisError
from engine.store import tasks

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from sqlalchemy import Connection

    from core.commits import Landed
    from core.db import Database

logger = logging.getLogger(__name__)

_AGAIN: Final = 1.0
"""Seconds after which a lease that could not be extended is tried to be again."""


class LostClaimError(CmisError):
    """The task is no longer ours: what was done under the claim must be rolled back. Somebody else goes on."""

    code = "CLAIM_LOST"


def owned(still: bool) -> None:  # noqa: FBT001 - the answer of a fenced write
    """Raise LostClaimError where a write under the claim's fence met no row: somebody else took the task over."""
    if not still:
        message = "the task's fence moved on"
        raise LostClaimError(message)


def begun(claimed: Callable[[], tasks.Claim | None]) -> Landed:
    """Return what says, where the answer to a claim's COMMIT was lost, whether it is on record; so is none at all."""

    def ask(connection: Connection) -> bool:
        one = claimed()
        return one is None or tasks.begun(connection, one)

    return ask


def ended(claimed: tasks.Claim) -> Landed:
    """Return what says, where the answer to a COMMIT that ends a claim was lost, whether that end is on record."""
    return lambda connection: tasks.ended(connection, claimed)


class Heartbeat:
    """Extends a claim's lease every 10 s until the block ends. `lost` is set once the task is not ours any more."""

    def __init__(self, database: Database, claim: tasks.Claim, *, interval: float = tasks.HEARTBEAT_SECONDS) -> None:
        self._database = database
        self._claim = claim
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{claim.task_id}", daemon=True)
        self._held_until = monotonic() + tasks.LEASE_SECONDS
        self.lost = threading.Event()

    def __enter__(self) -> Self:
        """Start beating."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop beating; the claim itself ends with the task's own statement."""
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise LostClaimError if the task was taken over or cancelled."""
        if self.lost.is_set():
            message = f"task {self._claim.task_id} is no longer ours"
            raise LostClaimError(message)

    def check_surely(self) -> None:
        """Raise LostClaimError also where the lease may be over: it could not be extended, or this process stood still.

        For what no fence undoes, such as a call to somebody outside.
        """
        self.check()
        if monotonic() >= self._held_until:
            message = f"the lease of task {self._claim.task_id} was not extended in time"
            raise LostClaimError(message)

    def _beat(self) -> None:
        context = Context(self._claim.org_id, ENGINE_ACTOR)
        wait = self._interval
        while not self._stop.wait(wait):
            wait = self._interval
            asked = monotonic()
            try:
                with self._database.transaction(context) as connection:
                    answer = tasks.heartbeat(connection, self._claim)
            except SQLAlchemyError as error:
                logger.warning("heartbeat of task %s failed: %s", self._claim.task_id, type(error).__name__)
                wait = min(wait, _AGAIN)  # before the lease is over, and before anybody looks for those that are
                continue
            if answer is None or answer:
                self.lost.set()
                return
            self._held_until = asked + tasks.LEASE_SECONDS
