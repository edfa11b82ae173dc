"""What a worker's main process knows of its hands: whether its loop turns, what it took, if it could take more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from celery import bootsteps
from celery.concurrency import solo
from celery.worker import WorkController, state

from core.clock import monotonic
from tasks import depth
from tasks.broker import app, broker_errors
from tasks.lost import RescuedRequest, cut_off
from vitals.liveness import Seen
from vitals.pulse import Look

_TURN_SECONDS: Final = 0.5
_AWAY: Final = "the broker at BROKER_URL is out of reach"


@dataclass(slots=True)
class Hands:
    """Written by the main thread, read by the pulse's; each field by one statement, so without a lock."""

    worker: WorkController
    turns: int = field(default=0, init=False)
    taken: int = field(default=0, init=False)
    taken_at: float | None = field(default=None, init=False)
    has_loop: bool = field(default=False, init=False)
    """Whether there is an event loop that turns also while tasks run: not where they run in it, as in the solo pool."""
    ending: bool = field(default=False, init=False)
    """Whether it was asked to end: it finishes what it has, takes nothing more, and its time for that is bounded."""
    _turns_before: int = field(default=-1, init=False)  # to have started counts as one
    _taken_before: int = field(default=0, init=False)

    def take(self, **_: object) -> None:
        """Count a message that was taken from the broker."""
        self.taken += 1
        self.taken_at = monotonic()

    def turn(self) -> None:
        """Count a turn of the event loop."""
        self.turns += 1

    def look(self) -> Look:
        """Report what happened since the last look, and ask the broker, by a connection of its own, what waits."""
        turns, taken = self.turns, self.taken
        waiting = self._waiting()
        seen = Seen(
            turned=self.ending or not self.has_loop or turns != self._turns_before,
            took=taken != self._taken_before,
            free=not self.ending and len(state.reserved_requests) < self._size(),
            waiting=waiting or 0,
            away=_AWAY if waiting is None else None,
        )
        self._turns_before, self._taken_before = turns, taken
        return Look(seen, taken, self.taken_at)

    def _size(self) -> int:
        """Return how many tasks it works on at once; remote control may have changed that."""
        worker = self.worker
        started = getattr(worker.pool, "_pool", True) is not None  # before, a pool of processes cannot say
        return int(worker.max_concurrency or (worker.pool.num_processes if started else worker.concurrency))

    def _waiting(self) -> int | None:
        """Return how many messages wait in the queues that it serves now; None if the broker is out of reach.

        Not in those that somebody took from it by remote control, to drain it.
        """
        with app.connection_for_read() as connection:
            try:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
                return sum(depth.waiting(connection, list(app.amqp.queues.consume_from)).values())
            except broker_errors(connection):
                return None

    def cut_off(self) -> None:
        """Kill the children that are at work, so that their tasks are rescued at once and not when their leases end."""
        cut_off([request for request in list(state.active_requests) if isinstance(request, RescuedRequest)])

    def busy_with(self) -> str:
        """Say which tasks it is at."""
        requests = list(state.active_requests) or list(state.reserved_requests)
        return ", ".join(sorted(f"{request.name} {request.id}" for request in requests)) or "no task"


class Turning(bootsteps.StartStopStep):
    """Registers the count of turns with the event loop, each time that a connection starts it anew."""

    hands: Hands | None = None

    def register_with_event_loop(self, worker: WorkController, hub: Any) -> None:
        """Let the loop's timer count."""
        if self.hands is not None:
            self.hands.has_loop = not isinstance(worker.pool, solo.TaskPool)
            hub.timer.call_repeatedly(_TURN_SECONDS, self.hands.turn)
