"""What a scheduler does in one pass, as verbs: dispatch, watch the broker, publish, rescue, keep up."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError

from core.backoff import BROKER, Backoff
from core.clock import monotonic
from core.db import is_outage
from engine import partitions, rescue
from engine.store import dispatch as store
from scheduler.publishing import QUEUES, Publisher
from scheduler.second_hand import SecondHand
from scheduler.window import FIRST
from tasks import epoch
from tasks.broker import app, broker_errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from kombu.connection import Connection

    from core.db import Database
    from engine.dispatch import Dispatcher

logger = logging.getLogger(__name__)

EPOCH_EVERY: Final = 1.0
REAP_EVERY: Final = 0.5
MAINTAIN_EVERY: Final = 60.0
FAILED_PAUSE: Final = 5.0
IDLE_SECONDS: Final = 0.5
"""How long a pass that found nothing waits for a wake-up; polling is the truth, NOTIFY only makes it faster."""
HELD_BACK_SECONDS: Final = 0.05
"""How long one waits that left work behind, because an org or a queue has enough of it unfinished."""
BESIDE_SECONDS: Final = 0.01
"""How long one waits beside whose pass the second hand still dispatches: what it does is to be published."""
_SHORTEST: Final = 0.001


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
    dispatcher: Dispatcher
    queue_cap: int = 2_000
    """Messages that wait in one queue of the broker at which no further ones are sent."""
    org_cap: int = 500
    """Tasks of one org in flight in one queue, published or running, at which no further ones are sent."""
    queue_at_once: int = FIRST
    """Messages that may wait in a queue of which nothing was measured."""
    broker: Connection | None = None
    """The open connection; None while the broker is out of reach."""
    connecting: Timer = field(default_factory=lambda: Timer(0.0))
    broker_outage: Backoff = field(default_factory=lambda: Backoff(BROKER))
    watching: Timer = field(default_factory=lambda: Timer(EPOCH_EVERY))
    reaping: Timer = field(default_factory=lambda: Timer(REAP_EVERY))
    upkeep: Timer = field(default_factory=lambda: Timer(MAINTAIN_EVERY))
    resting: dict[str, Timer] = field(default_factory=dict)
    """Duties that failed a moment ago."""
    resting_leases: bool = False
    """Whether no lease is taken from its owner, because of an outage a moment ago."""
    second_hand: SecondHand = field(init=False)
    dispatched: int = 0
    """Jobs that the passes of this process have decided so far."""
    publisher: Publisher = field(init=False)
    busy: bool = False
    """Whether another pass follows the last one soon: until one does not, nobody asks when something falls due."""
    losing: bool = True
    """Whether tasks of a lost broker may have to be requeued; true at start, since a predecessor may have died."""

    def __post_init__(self) -> None:
        self.second_hand = SecondHand(replace(self.dispatcher))
        self.publisher = Publisher(self.database, self.queue_cap, self.org_cap, self.queue_at_once)

    def run(self) -> float:
        """Do everything that is due once; returns after how many seconds to do it again, 0 where there is more."""
        if self.busy:
            return min(self._pass(), HELD_BACK_SECONDS)
        # asked first: what falls due during the pass is either done by it, or ends the wait after it
        until_due, asked = self._attempt(self._until_due), monotonic()
        wait = self._pass()
        return min(wait, max(until_due - (monotonic() - asked), _SHORTEST)) if wait else wait

    def _pass(self) -> float:
        wait = min(self._attempt(duty) for duty in (self._keep_up, self._dispatch, self._reap, self._serve_broker))
        self.busy = wait <= HELD_BACK_SECONDS
        return wait

    def _attempt(self, duty: Callable[[], float]) -> float:
        """Do one duty. One that the database refuses must not keep the others from being done; an outage stops all."""
        name = duty.__name__
        if name in self.resting and not self.resting[name].due():
            return IDLE_SECONDS
        try:
            wait = duty()
        except (DBAPIError, OSError, MemoryError) as error:
            if isinstance(error, DBAPIError) and is_outage(error):
                raise
            logger.exception("the scheduler's duty %s failed, trying again in %s s", name, FAILED_PAUSE)
            self.resting[name] = Timer(FAILED_PAUSE, monotonic() + FAILED_PAUSE)
            return IDLE_SECONDS
        self.resting.pop(name, None)
        return wait

    def _dispatch(self) -> float:
        """Dispatch a batch; while there are more, a second hand dispatches beside this one."""
        busy = self.second_hand.is_busy()
        done = self.dispatcher.dispatch()
        self.dispatched += done.jobs
        if done.more:
            self.second_hand.start()
            return 0.0
        if busy:
            return BESIDE_SECONDS
        return HELD_BACK_SECONDS if done.held_back else IDLE_SECONDS

    def _until_due(self) -> float:
        """Look when something falls due, so that it starts in time and not at the next poll."""
        with self.database.transaction(None) as transaction:
            seconds = store.seconds_until_due(transaction, QUEUES)
        return IDLE_SECONDS if seconds is None else seconds

    def _reap(self) -> float:
        """Take expired leases, but not just after an outage: who could not reach the database could not extend any."""
        if not self.reaping.due() or self._rests():
            return IDLE_SECONDS
        return 0.0 if rescue.reap(self.database) >= rescue.BATCH else IDLE_SECONDS

    def _rests(self) -> bool:
        seconds = rescue.grace(self.database)
        if seconds and not self.resting_leases:
            logger.warning("no lease is taken for %.0f s: the database was out of reach", seconds)
        self.resting_leases = seconds > 0
        return self.resting_leases

    def _keep_up(self) -> float:
        """Enqueue the hour's upkeep; after months without one, first make the partitions that its claim needs, too."""
        if self.upkeep.due():
            partitions.make_due(self.database)
            rescue.enqueue_maintenance(self.database)
        return IDLE_SECONDS

    def close(self) -> None:
        """End the second hand's work, and release the broker's connection."""
        self.second_hand.end()
        self._release()

    def _release(self) -> None:
        if self.broker is not None:
            self.broker.release()
            self.broker = None

    def _serve_broker(self) -> float:
        """Publish what is due. A broker out of reach is left alone for a moment; Postgres keeps everything."""
        if self.broker is None and not self.connecting.due():
            return IDLE_SECONDS
        connection = self.broker or app.connection_for_write()
        try:
            self._connect(connection)
            if self.watching.due():
                self._watch_broker(connection)
            wait = self._publish(connection)
        except broker_errors(connection) as error:
            pause = self._lose()
            logger.warning("the broker at BROKER_URL cannot be used, trying again in %.1f s: %s", pause, error)
            return IDLE_SECONDS
        if self.broker is not None:  # it may have refused what it was sent
            self.broker_outage.reset()
        return wait

    def _connect(self, connection: Connection) -> None:
        """Take a new connection into use; whatever the broker was before, it is looked at anew."""
        if self.broker is None:
            self.broker = connection
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
            self.watching = Timer(EPOCH_EVERY)

    def _lose(self) -> float:
        """Leave the broker alone for a while; returns for how long."""
        self._release()
        pause = self.broker_outage.next()
        self.connecting.postpone(pause)
        return pause

    def _watch_broker(self, connection: Connection) -> None:
        """Notice a broker that lost its messages, and make due again what it held."""
        if rescue.adopt_epoch(self.database, epoch.read(connection)):
            self.losing = True
        while self.losing:
            requeued = rescue.requeue_lost(self.database)
            self.losing = requeued > 0
            if requeued:
                logger.warning("republishing %d tasks after a broker loss", requeued)

    def _publish(self, connection: Connection) -> float:
        """Publish what is due; returns after how many seconds to look again."""
        look = self.publisher.look(connection)
        if look.refused:
            self._lose()
        return IDLE_SECONDS if look.again is None else look.again
