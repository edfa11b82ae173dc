"""What the parent of a pool does when a child dies of a task: the task is rescued at once, and not when its lease ends.

Celery tells the parent within seconds. The parent's event loop is not kept waiting: a thread of its own does it, over a
connection that is opened for it and closed after it, since whatever the parent holds is inherited by every child.
"""

from __future__ import annotations

import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from billiard.einfo import ExceptionInfo, ExceptionWithTraceback
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker.request import Request
from sqlalchemy.exc import DBAPIError

from core.config import Settings, require
from core.db import Database, first_line
from core.forking import unforked
from engine import rescue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TypeAlias

    _Orphan: TypeAlias = tuple[UUID, UUID, str | None]
    """Org and task, and the child that had it as leases name it."""

logger = logging.getLogger(__name__)

_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="rescue")
"""One for all: many deaths at once are no reason for many connections. It starts with the first."""


class OutOfMemoryError(Exception):
    """A task's child had no memory left for it, and lives."""


class RescuedRequest(Request):
    """A message in the hands of the pool, whose task is rescued if the child that has it dies."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - Celery's
        """Do what Celery does, and rescue the task of a child that died, or that was killed at its time limit."""
        cause = _cause(exc_info)
        if isinstance(cause, MemoryError):  # the child's: taken for the parent's own it would end the whole worker
            exc_info = _told_as(OutOfMemoryError(str(cause)))
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)
        if isinstance(cause, WorkerLostError | TimeLimitExceeded | SystemExit | KeyboardInterrupt):
            self._rescue()

    def _rescue(self) -> None:
        orphan = self._orphan()
        if orphan is not None:
            with suppress(RuntimeError):  # this process ends already: the lease does, too, a little later
                _THREAD.submit(_hasten, [orphan])

    def _orphan(self) -> _Orphan | None:
        """Return the task that a dead child leaves; None where the message is about no task's row."""
        ids = _ids(self.args)
        return None if ids is None else (*ids, self._owner())

    def _owner(self) -> str | None:
        """Return the child as leases name it; None if no child accepted it: then nobody can have claimed it either."""
        return f"{self.hostname}:{self.worker_pid}" if self.worker_pid else None

    def kill(self) -> _Orphan | None:
        """Kill the child that has it; returns the task that it leaves. Not where that is this process itself."""
        if not self.worker_pid or self.worker_pid == os.getpid():
            return None
        with suppress(ProcessLookupError):
            os.kill(self.worker_pid, signal.SIGKILL)
        return self._orphan()


def cut_off(requests: Iterable[RescuedRequest]) -> None:
    """Kill the children that have these, all of them first, and rescue their tasks before returning.

    Whose row a dead child's last statement still holds is left to its lease: there is not the time to wait for it.
    """
    orphans = [orphan for orphan in [request.kill() for request in requests] if orphan is not None]
    if orphans:
        _hasten(orphans, statement_seconds=1, tries=1)


def _hasten(orphans: Sequence[_Orphan], *, statement_seconds: int = 5, tries: int = 3) -> None:
    url = require(Settings.load().database_url, "DATABASE_URL")
    database = Database(
        url,
        variable="DATABASE_URL",
        application="cmis-worker-rescue",
        pool_size=1,
        statement_seconds=statement_seconds,
    )
    try:
        for org_id, task_id, owner in orphans:
            try:
                with unforked():  # the pool is about to fork the dead child's successor
                    found = rescue.hasten(database, org_id, task_id, owner=owner, tries=tries)
            except DBAPIError as error:
                logger.warning("task %s of a dead child is left to its lease: %s", task_id, first_line(error))
            else:
                logger.warning("a child died of task %s, which was %s: %s", task_id, *_SAID[found])
    finally:
        database.close()


_SAID: Final = {
    "ready": ("ready", "sent again now"),
    "running": ("claimed by it", "its lease ends now"),
    None: ("not its own any more", "nothing to do"),
}


def _ids(message: Sequence[Any] | None) -> tuple[UUID, UUID] | None:
    """Return the ids of org and task; None for a message that is about no task's row."""
    try:
        org_id, task_id = message or ()
        return UUID(str(org_id)), UUID(str(task_id))
    except ValueError:
        return None


def _cause(exc_info: Any) -> BaseException:
    error: BaseException = exc_info.exception
    return error.exc if isinstance(error, ExceptionWithTraceback) else error


def _told_as(error: Exception) -> Any:
    try:
        raise error
    except type(error):
        return ExceptionInfo()
