"""What every task has: the process's database, the name of the worker, and dropping of messages that make no sense."""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Any
from uuid import UUID

from celery import Task
from celery.exceptions import Ignore

from core.config import Settings, require
from core.db import Database

logger = logging.getLogger(__name__)


class TaskFailedError(Exception):
    """The task ended as failed, as its row says; raised so that Celery's events say so too."""


class AutomationTask(Task):
    """Base of all tasks: a message carries two ids, of an org and of a task, and nothing else."""

    abstract = True

    @property
    def worker(self) -> str:
        """Name of this worker process, as leases and attempts record it."""
        return f"{self.request.hostname or 'local'}:{os.getpid()}"

    @staticmethod
    def ids(org_id: Any, task_id: Any) -> tuple[UUID, UUID]:
        """Parse a message's ids; a forged or garbled message is logged and dropped."""
        try:
            return UUID(str(org_id)), UUID(str(task_id))
        except ValueError as error:
            logger.warning("dropped a message whose ids are none")
            raise Ignore from error


def process_database() -> Database:
    """Return this process's database as the app role; a forked child gets one of its own."""
    return _database(os.getpid())


@lru_cache(maxsize=1)
def _database(_pid: int) -> Database:
    url = require(Settings.load().database_url, "DATABASE_URL")
    return Database(url, variable="DATABASE_URL", application="cmis-worker")
