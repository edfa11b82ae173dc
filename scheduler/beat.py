"""`PostgresScheduler`: Celery beat's shell around the engine's dispatcher. It holds no schedule and writes no file."""

from __future__ import annotations

import gc
import logging
import random
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import psycopg
from celery.beat import Scheduler
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from core import faults
from core.clock import monotonic
from core.config import Settings, require
from core.db import Database, first_line
from core.errors import SetupError
from engine.dispatch import Dispatcher
from engine.store.maintenance import WAKE_CHANNEL
from scheduler.duties import Duties
from tasks.broker import check_broker_url

if TYPE_CHECKING:
    from types import FrameType

logger = logging.getLogger(__name__)

VARIABLE: Final = "SCHEDULER_DATABASE_URL"
_OUTAGE_PAUSE: Final = (0.5, 5.0)
_LOOK_SECONDS: Final = 0.1
_COLLECT_AFTER: Final = 50_000


class PostgresScheduler(Scheduler):
    """One of any number of schedulers; there is no leader, and one that dies loses nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._stopping = False
        self._signals_taken = False
        self._listener: psycopg.Connection[tuple[object, ...]] | None = None
        self._database, self._duties = _open()
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
            self._wait(self._duties.run())
        except (SQLAlchemyError, psycopg.Error) as error:
            self._survive_outage(error)
        if self._stopping:
            raise SystemExit(0)
        return 0

    def close(self) -> None:
        """Close the connections; beat calls this twice."""
        self._duties.close()
        self._close_listener()
        self._database.close()

    def _take_signals(self) -> None:
        """Replace beat's handlers, which raise SystemExit at any line, also inside a transaction, by a flag."""
        if not self._signals_taken:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._stop)
            self._signals_taken = True
            _collect_rarely()
            logger.info("scheduler ready")

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

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
        pause = random.uniform(*_OUTAGE_PAUSE)  # noqa: S311 - jitter
        said = first_line(error) if isinstance(error, DBAPIError) else str(error).strip()
        logger.warning("the database at %s failed, trying again in %.1f s: %s", VARIABLE, pause, said)
        self._close_listener()
        deadline = monotonic() + pause
        while monotonic() < deadline and not self._stopping:
            time.sleep(_LOOK_SECONDS)  # in slices: the signal's handler only sets a flag, and the sleep goes on

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


def _open() -> tuple[Database, Duties]:
    settings = Settings.load()
    try:
        check_broker_url(settings)
        url = require(settings.scheduler_database_url, VARIABLE)
        database = Database(url, variable=VARIABLE, application="cmis-scheduler", pool_size=2)
        database.check(test_clock=settings.test_clock)
        faults.arm(settings)
    except SetupError as error:
        sys.exit(f"error: {error}")
    dispatcher = Dispatcher(database, settings.chunk, settings.org_unfinished)
    return database, Duties(database, dispatcher, settings.queue_waiting)
