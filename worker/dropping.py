"""Tells the database what a worker has dropped, from its main process; and counts what Celery itself drops."""

from __future__ import annotations

import logging
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from celery.signals import task_rejected, task_unknown, worker_ready, worker_shutdown
from sqlalchemy.exc import DBAPIError

from core.config import Settings, require
from core.db import Database, first_line
from core.forking import unforked
from engine.store.dropped import count_dropped
from models.queue_enums import Dropped
from tasks import dropped

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger(__name__)

EVERY_SECONDS: Final = 10.0


class Teller(Thread):
    """Adds to the database's counts what is new, each ten seconds and at the end.

    It has a connection only while it tells something, and no child is forked then.
    """

    def __init__(self, url: str) -> None:
        super().__init__(name="dropped", daemon=True)
        self._url = url
        self._told: dict[str, int] = {}
        self._ending = Event()

    def run(self) -> None:
        """Tell until the worker ends."""
        while not self._ending.wait(EVERY_SECONDS):
            self.tell()

    def end(self) -> None:
        """Tell the rest."""
        self._ending.set()
        self.join(EVERY_SECONDS)
        self.tell()

    def tell(self) -> None:
        """Tell what is new; what the database does not take now is told the next time."""
        totals = dropped.totals()
        new = {reason: number - self._told.get(reason, 0) for reason, number in totals.items()}
        if not any(new.values()):
            return
        try:
            self._write(new)
        except DBAPIError as error:
            logger.warning("what was dropped is counted in the database later: %s", first_line(error))
        else:
            self._told = totals

    def _write(self, new: Mapping[str, int]) -> None:
        database = Database(self._url, variable="DATABASE_URL", application="cmis-worker-dropped", pool_size=1)
        try:
            with unforked(), database.transaction(None) as connection:
                count_dropped(connection, new)
        finally:
            database.close()


_tellers: Final[list[Teller]] = []


@worker_ready.connect
def begin_telling(**_: object) -> None:
    """Start to tell once the worker has its children."""
    teller = Teller(require(Settings.load().database_url, "DATABASE_URL"))
    _tellers.append(teller)
    teller.start()


@worker_shutdown.connect
def end_telling(**_: object) -> None:
    """Tell the rest when the worker ends."""
    while _tellers:
        _tellers.pop().end()


@task_unknown.connect
def count_unknown_task(**_: object) -> None:
    """Count a message that names a task which there is not."""
    dropped.count(Dropped.UNKNOWN_TASK)


@task_rejected.connect
def count_unreadable(**_: object) -> None:
    """Count a message that is none of Celery's, or comes in a format that is not accepted."""
    dropped.count(Dropped.UNREADABLE)
