"""What a scheduler does in one pass, as verbs: dispatch, watch the broker, publish, rescue, keep up."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kombu.exceptions import OperationalError

from core import faults
from core.clock import monotonic
from engine import dispatch, rescue
from engine.store import dispatch as store
from engine.store.tasks import LEASE_SECONDS
from tasks import epoch
from tasks.broker import app
from tasks.publish import publish

if TYPE_CHECKING:
    from kombu.connection import Connection

    from core.db import Database

logger = logging.getLogger(__name__)

PUBLISH_BATCH: Final = 500
EPOCH_EVERY: Final = 1.0
REAP_EVERY: Final = 1.0
MAINTAIN_EVERY: Final = 60.0
BROKER_PAUSE: Final = 2.0
_BATCHES: Final = 20


@dataclass(slots=True)
class Timer:
    """Says when a duty is due again, on the process's monotonic clock (seconds)."""

    every: float
    next_at: float = 0.0

    def due(self) -> bool:
        """Return whether the duty is due, and if so start its next interval."""
        now = monotonic()
        if now < self.next_at:
            return False
        self.next_at = now + self.every
        return True

    def postpone(self, seconds: float) -> None:
        """Let the duty rest for at least `seconds`."""
        self.next_at = max(self.next_at, monotonic() + seconds)


@dataclass(slots=True)
class Duties:
    """One scheduler's duties against one database and one broker."""

    database: Database
    broker: Connection | None = None
    watch: Timer = field(default_factory=lambda: Timer(EPOCH_EVERY))
    reaping: Timer = field(default_factory=lambda: Timer(REAP_EVERY))
    upkeep: Timer = field(default_factory=lambda: Timer(MAINTAIN_EVERY))
    losing: bool = True
    """Whether tasks of a lost broker may have to be requeued; true at start, since a predecessor may have died."""

    def run(self) -> bool:
        """Do everything that is due once; returns whether there is more to do at once."""
        more = dispatch.dispatch_due(self.database).jobs >= dispatch.BATCH
        if self.reaping.due():
            rescue.reap(self.database)
        if self.upkeep.due():
            rescue.enqueue_maintenance(self.database)
        return self._serve_broker() or more

    def after_outage(self) -> None:
        """Reap nothing for one lease: workers that could not reach the database could not extend theirs either."""
        self.reaping.postpone(LEASE_SECONDS)

    def close(self) -> None:
        """Release the broker's connection."""
        if self.broker is not None:
            self.broker.release()
            self.broker = None

    def _serve_broker(self) -> bool:
        """Publish what is due. A broker out of reach is left alone for a moment; Postgres keeps everything."""
        if self.broker is None and not self.watch.due():
            return False
        try:
            connection = self._connected()
            if self.watch.due():
                self._watch_broker(connection)
            return self._publish(connection)
        except (OperationalError, OSError, *app.connection_for_write().recoverable_connection_errors):
            logger.warning("the broker cannot be reached, trying again in %s s", BROKER_PAUSE, exc_info=True)
            self.close()
            self.watch.postpone(BROKER_PAUSE)
            return False

    def _connected(self) -> Connection:
        if self.broker is None:
            self.broker = app.connection_for_write()
            self.broker.ensure_connection(max_retries=1, interval_start=0, timeout=3)
            self._watch_broker(self.broker)
        return self.broker

    def _watch_broker(self, connection: Connection) -> None:
        """Notice a broker that lost its messages, and make due again what it held."""
        if rescue.adopt_epoch(self.database, epoch.read(connection)):
            self.losing = True
        while self.losing:
            requeued = rescue.requeue_lost(self.database)
            self.losing = requeued > 0
            if requeued:
                logger.warning("republishing %d tasks after a broker loss", requeued)

    def _publish(self, connection: Connection) -> bool:
        """Mark, commit, send; what the broker does not take is due again at once."""
        for _ in range(_BATCHES):
            with self.database.transaction(None) as transaction:
                backlogged = self._backlogged(connection, store.republish_candidates(transaction))
                messages = store.take_publishable(transaction, PUBLISH_BATCH, backlogged)
            faults.crash("publish.marked")
            refused = publish(connection, messages)
            if refused:
                with self.database.transaction(None) as transaction:
                    store.publish_failed(transaction, refused)
                self.close()
                self.watch.postpone(BROKER_PAUSE)
                return False
            if len(messages) < PUBLISH_BATCH:
                return False
        return True

    @staticmethod
    def _backlogged(connection: Connection, published: dict[str, int]) -> list[str]:
        """Return the queues that are as long as what was published into them: their messages wait, none is lost."""
        return [queue for queue, count in published.items() if epoch.depth(connection, queue) >= count]
