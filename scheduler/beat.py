"""`PostgresScheduler`: Celery beat's shell around the engine's dispatcher. It holds no schedule and writes no file."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import psycopg
from celery.beat import Scheduler
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core import exits, faults
from core.backoff import DATABASE, Backoff, sleep
from core.config import Settings, require
from core.db import Database, first_line
from core.errors import SetupError
from core.starting import check_when_reached
from engine.dispatch import Dispatcher
from engine.store.maintenance import WAKE_CHANNEL
from scheduler.duties import Duties
from scheduler.passes import Passes
from tasks.broker import check_broker_url
from vitals import healthz, identity
from vitals.ending import STUCK_SECONDS, end_within
from vitals.pulse import Pulse

if TYPE_CHECKING:
    from types import FrameType

logger = logging.getLogger(__name__)

VARIABLE: Final = "SCHEDULER_DATABASE_URL"
_BROKER_AWAY: Final = "the broker at BROKER_URL is out of reach"
_COLLECT_AFTER: Final = 50_000


class PostgresScheduler(Scheduler):
    """One of any number of schedulers; there is no leader, and one that dies loses nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._settings = Settings.load()
        self._stopping = False
        self._exit_code = 0
        self._signals_taken = False
        self._outage = Backoff(DATABASE)
        self._passes = Passes()
        self._pulse: Pulse | None = None
        self._listener: psycopg.Connection[tuple[object, ...]] | None = None
        self._database, self._duties = _open(self._settings)
        super().__init__(*args, **kwargs)

    def setup_schedule(self) -> None:
        """Have no entries: what is due is a query."""

    def sync(self) -> None:
        """Have no file to write."""

    @property
    def info(self) -> str:
        """Describe the scheduler in beat's banner."""
        return f"    . {VARIABLE} (PostgreSQL)"

    def tick(self, *_: Any, **__: Any) -> float:
        """Do what is due, then wait for a wake-up; returns 0, since the waiting is done here."""
        self._take_signals()
        try:
            wait = self._duties.run()
            self._passes.end(self._duties.dispatched, None if self._duties.broker else _BROKER_AWAY)
            self._wait(wait)
            self._outage.reset()
        except (SQLAlchemyError, psycopg.Error) as error:
            self._survive_outage(error)
        if self._stopping:
            self._end()
        return 0

    def _end(self) -> NoReturn:
        """End as asked; or, if it was stuck, with the code that asks for another start, which beat would make a 0."""
        if self._exit_code:
            self.close()
            logging.shutdown()
            os._exit(self._exit_code)
        raise SystemExit(0)

    def close(self) -> None:
        """Close the connections; beat calls this twice."""
        self._duties.close()
        self._close_listener()
        self._database.close()
        if self._pulse is not None:
            self._pulse.stop("ended because it was stuck" if self._exit_code else "ended as asked")
            self._pulse = None

    def _take_signals(self) -> None:
        """Replace beat's handlers, which raise SystemExit at any line, also inside a transaction, by a flag."""
        if not self._signals_taken:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            self._signals_taken = True
            _collect_rarely()
            self._pulse = self._show_signs_of_life()
            logger.info("scheduler ready")

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self._stopping:
            end_within(self._settings.stop_seconds, 0, lambda: "a pass that did not end")
        self._stopping = True

    def _show_signs_of_life(self) -> Pulse:
        settings = self._settings
        database = _connect(settings, "cmis-scheduler-pulse", 1)
        pulse = Pulse(identity.of_scheduler(), database, self._passes.look, self._end_stuck, settings.watchdog_seconds)
        pulse.start()
        if settings.health_port is not None:
            healthz.serve(pulse, settings.health_host, settings.health_port)
        return pulse

    def _end_stuck(self, reason: str) -> None:
        """End after the pass at hand, if it ends; else soon. The exit code asks for another start."""
        self._exit_code, self._stopping = exits.STUCK, True
        end_within(STUCK_SECONDS, exits.STUCK, lambda: reason)
        logger.critical("this scheduler is stuck and ends, to be started again (exit code %d): %s", exits.STUCK, reason)

    def _wait(self, seconds: float) -> None:
        if self._stopping or not seconds:
            return
        if self._listener is None:
            self._listener = self._database.listen(WAKE_CHANNEL)
            return  # whatever was due before we listened would not wake us: look again first
        for _ in self._listener.notifies(timeout=seconds, stop_after=1):
            pass

    def _survive_outage(self, error: SQLAlchemyError | psycopg.Error) -> None:
        """Wait with jitter and come back: an exception out of tick would end the process."""
        pause = self._outage.next()
        said = first_line(error) if isinstance(error, DBAPIError) else str(error).strip()
        logger.warning("the database at %s failed, trying again in %.1f s: %s", VARIABLE, pause, said)
        self._passes.fail(f"the database at {VARIABLE} is out of reach")
        self._close_listener()
        sleep(pause, lambda: self._stopping)

    def _close_listener(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None


def _collect_rarely() -> None:
    """Let the collector look at what a batch makes, not at what was imported, and not a hundred times a batch.

    Everything that a batch makes is freed by reference counts; a fifth of its time went into looking for cycles.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 20)


def _connect(settings: Settings, application: str, pool_size: int) -> Database:
    url = require(settings.scheduler_database_url, VARIABLE)
    return Database(url, variable=VARIABLE, application=application, pool_size=pool_size, by_key=True)


def _open(settings: Settings) -> tuple[Database, Duties]:
    try:
        check_broker_url(settings)
        database = _connect(settings, "cmis-scheduler", 2)
        check_when_reached(database, test_clock=settings.test_clock)
        faults.arm(settings)
    except SetupError as error:
        sys.exit(f"error: {error}")
    dispatcher = Dispatcher(database, settings.chunk, settings.org_unfinished)
    caps = (settings.queue_waiting, settings.org_in_flight, settings.queue_at_once)
    return database, Duties(database, dispatcher, *caps)
