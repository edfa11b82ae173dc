"""What every task has: the process's database, the name of the worker, and dropping of messages that make no sense."""

from __future__ import annotations

import logging
import os
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from uuid import UUID

from celery import Task
from celery.exceptions import Ignore, Retry, SoftTimeLimitExceeded
from sqlalchemy.exc import DBAPIError

from core.backoff import DATABASE, until_reached
from core.config import Settings, require
from core.db import Database, first_line, is_outage, sqlstate
from models.queue_enums import Dropped
from tasks import dropped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

T = TypeVar("T")

logger = logging.getLogger(__name__)

_REFUSED: Final = "42501"
NO_IDS: Final = "its arguments are not the ids of an org and a task"
_HELD_SECONDS: Final = 10.0
"""Shorter than a message takes to be sent again, and than a process has for its end."""
_CONNECTIONS: Final = 64
"""Two for each task at work, its transaction and the heartbeat: a forked child opens two, 32 threads all of them."""


class TaskFailedError(Exception):
    """The task ended as failed, as its row says; raised so that Celery's events say so too."""


class TriedAgainError(Exception):
    """Why a task is tried again, as Celery's events, and so Flower, tell it."""


def again(reason: str, after: timedelta) -> Retry:
    """Return what tells Celery that a task is tried again; its row is due then already, and nothing is published."""
    return Retry(reason, exc=TriedAgainError(reason), when=after.total_seconds())


def nothing_to_claim() -> Ignore:
    """Return what drops a message that finds nothing to claim, most often a duplicate; it is counted."""
    dropped.count(Dropped.UNCLAIMED)
    return Ignore()


class AutomationTask(Task):
    """Base of all tasks: a message carries two ids, of an org and of a task, and nothing else."""

    abstract = True
    Request = "tasks.lost:RescuedRequest"

    @property
    def worker(self) -> str:
        """Name of this worker process, as leases and attempts record it."""
        return f"{self.request.hostname or 'local'}:{os.getpid()}"

    throws = (TaskFailedError,)  # said by the row and the log already: no traceback

    @staticmethod
    def ids(message: tuple[Any, ...], others: Mapping[str, Any]) -> tuple[UUID, UUID]:
        """Parse a message's arguments, two ids; a forged or garbled message is counted and dropped."""
        try:
            org_id, task_id = message
            if not others:
                return UUID(str(org_id)), UUID(str(task_id))
        except ValueError:
            pass
        dropped.drop(Dropped.ARGUMENTS, NO_IDS)
        raise Ignore


class _AwayError(Exception):
    """The database gives no answer."""


def through_outages(body: Callable[[], T]) -> T:
    """Return what a task's work returns, begun anew while the database is out of reach.

    The claim decides each time whether there still is something to do, so that nothing is done twice. What was not
    reached in ten seconds is left to the row, which is ready, or whose lease ends; meanwhile this process takes no
    further message, and does not empty the queue into an outage. A message whose org does not exist is dropped.
    """

    def attempt() -> T:
        try:
            return body()
        except DBAPIError as error:
            if sqlstate(error) == _REFUSED:
                dropped.drop(Dropped.UNKNOWN_ORG, first_line(error))
                raise Ignore from None
            if is_outage(error):
                raise _AwayError(first_line(error)) from error
            raise

    held: list[str] = []
    try:
        return until_reached(attempt, _AwayError, DATABASE, say=partial(_say, held), for_seconds=_HELD_SECONDS)
    except _AwayError as error:
        logger.warning("left a task for later, the database failed: %s", error)
    except SoftTimeLimitExceeded:
        if not held:
            raise
        logger.warning("left a task for later, its time ended while the database was away: %s", held[-1])
    raise Ignore


def _say(held: list[str], error: Exception, pause: float) -> None:
    held.append(str(error))
    logger.warning("holding a task, the database failed, trying again in %.1f s: %s", pause, error)


def process_database() -> Database:
    """Return this process's database as the app role; a forked child gets one of its own."""
    return _database(os.getpid())


@lru_cache(maxsize=1)
def _database(_pid: int) -> Database:
    url = require(Settings.load().database_url, "DATABASE_URL")
    # A worker's few statements are the same for every task; on partitioned tables planning costs more than they do.
    return Database(url, variable="DATABASE_URL", application="cmis-worker", pool_size=_CONNECTIONS, by_key=True)
