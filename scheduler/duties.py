"""What a scheduler does in one pass, as verbs: dispatch, watch the broker, publish, rescue, keep up."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError

from core import faults
from core.clock import monotonic
from core.db import is_outage
from engine import dispatch, rescue
from engine.store import dispatch as store
from engine.store.tasks import LEASE_SECONDS
from tasks import depth, epoch
from tasks.broker import app, broker_errors
from tasks.publish import publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from kombu.connection import Connection

    from core.db import Database

logger = logging.getLogger(__name__)

PUBLISH_BATCH: Final = 500
EPOCH_EVERY: Final = 1.0
REAP_EVERY: Final = 1.0
MAINTAIN_EVERY: Final = 60.0
BROKER_PAUSE: Final = 1.0
FAILED_PAUSE: Final = 5.0
_BATCHES: Final = 4


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
    """The open connection; None while the broker is out of reach."""
    connecting: Timer = field(default_factory=lambda: Timer(BROKER_PAUSE))
    watching: Timer = field(default_factory=lambda: Timer(EPOCH_EVERY))
    reaping: Timer = field(default_factory=lambda: Timer(REAP_EVERY))
    upkeep: Timer = field(default_factory=lambda: Timer(MAINTAIN_EVERY))
    resting: dict[str, Timer] = field(default_factory=dict)
    """Duties that failed a moment ago."""
    losing: bool = True
    """Whether tasks of a lost broker may have to be requeued; true at start, since a predecessor may have died."""

    def run(self) -> bool:
        """Do everything that is due once; returns whether there is more to do at once."""
        duties = (self._dispatch, self._reap, self._keep_up, self._serve_broker)
        more = [self._attempt(duty) for duty in duties]
        return any(more)

    def _attempt(self, duty: Callable[[], bool]) -> bool:
        """Do one duty. One that the database refuses must not keep the others from being done; an outage stops all."""
        name = duty.__name__
        if name in self.resting and not self.resting[name].due():
            return False
        try:
            more = duty()
        except DBAPIError as error:
            if is_outage(error):
                raise
            logger.exception("the scheduler's duty %s failed, trying again in %s s", name, FAILED_PAUSE)
            self.resting[name] = Timer(FAILED_PAUSE, monotonic() + FAILED_PAUSE)
            return False
        self.resting.pop(name, None)
        return more

    def _dispatch(self) -> bool:
        return dispatch.dispatch_due(self.database).more

    def _reap(self) -> bool:
        return self.reaping.due() and rescue.reap(self.database) >= rescue.BATCH

    def _keep_up(self) -> bool:
        if self.upkeep.due():
            rescue.enqueue_maintenance(self.database)
        return False

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
        if self.broker is None and not self.connecting.due():
            return False
        connection = self.broker or app.connection_for_write()
        try:
            self._connect(connection)
            if self.watching.due():
                self._watch_broker(connection)
            return self._publish(connection)
        except broker_errors(connection) as error:
            logger.warning("the broker at BROKER_URL cannot be used, trying again in %s s: %s", BROKER_PAUSE, error)
            self._lose()
            return False

    def _connect(self, connection: Connection) -> None:
        """Take a new connection into use; whatever the broker was before, it is looked at anew."""
        if self.broker is None:
            self.broker = connection
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
            self.watching = Timer(EPOCH_EVERY)

    def _lose(self) -> None:
        self.close()
        self.connecting.postpone(BROKER_PAUSE)

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
        """Mark, commit, send; what the broker does not take is due again at once. Returns whether more is due."""
        for _ in range(_BATCHES):
            backlogged = self._backlogged(connection)
            with self.database.transaction(None) as transaction:
                messages = store.take_publishable(transaction, PUBLISH_BATCH, backlogged)
            faults.crash("publish.marked")
            refused = publish(connection, messages)
            if refused:
                with self.database.transaction(None) as transaction:
                    store.publish_failed(transaction, refused)
                self._lose()
                return False
            if len(messages) < PUBLISH_BATCH:
                return False
        return True

    def _backlogged(self, connection: Connection) -> list[str]:
        """Return the queues that are as long as what was published into them: their messages wait, none is lost."""
        with self.database.transaction(None) as transaction:
            published = store.republish_candidates(transaction)
        waiting = depth.waiting(connection, published)
        return [queue for queue, count in published.items() if waiting[queue] >= count]
