"""`ingest.emit_event`: an event told by another application, whose message is the only copy of it.

So this task alone is acknowledged late, and comes back where its worker dies or the database is out of reach: its
idempotency key makes the second time harmless.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, Final, NoReturn
from uuid import UUID

from celery.exceptions import Reject, SoftTimeLimitExceeded
from sqlalchemy.exc import DBAPIError

from core.backoff import DATABASE, Backoff, sleep
from core.db import ENGINE_ACTOR, Context, first_line, must_restart, sqlstate
from core.errors import InputError
from engine import emit
from models.queue_enums import Dropped
from tasks import dropped
from tasks.base import AutomationTask, TaskFailedError, process_database
from tasks.broker import app

logger = logging.getLogger(__name__)

_UNKNOWN_ORG: Final = "42501"
_STATEMENT_TIMEOUT: Final = "57014"
_outage = Backoff(DATABASE)
"""Of this process: the message goes back to the broker each time, and comes at once."""


@app.task(
    name="ingest.emit_event",
    base=AutomationTask,
    bind=True,
    acks_late=True,
    acks_on_timeout=False,
    reject_on_worker_lost=True,
)
def emit_event(
    self: AutomationTask,
    org_id: object = None,
    type: object = None,  # noqa: A002 - the name that a message may give
    payload: object = None,
    *,
    idempotency_key: object = None,
    occurred_at: object = None,
    source: object = None,
    **others: Any,
) -> dict[str, Any]:
    """Store an event and let follow what follows; its key is the id of this task unless it is given one."""
    key = self.request.id if idempotency_key is None else idempotency_key
    try:
        org, moment = _id(org_id), _moment(occurred_at)
        _refuse(others)
        event = emit.read(type, payload, idempotency_key=key, occurred_at=moment, source=source)
        emitted = emit.emit(process_database(), Context(org, ENGINE_ACTOR), event)
        _outage.reset()
    except InputError as error:
        _give_up(key, str(error))
    except SoftTimeLimitExceeded:
        _again(key, "it took too long")
    except DBAPIError as error:
        if sqlstate(error) == _UNKNOWN_ORG:
            _give_up(key, first_line(error))
        if must_restart(error) or sqlstate(error) == _STATEMENT_TIMEOUT:
            _again(key, first_line(error))
        raise
    counts = {"triggered": emitted.triggered, "started": emitted.started, "woken": emitted.woken}
    return {"event_id": str(emitted.event_id), "already": emitted.already, **counts}


def _give_up(key: object, reason: str) -> NoReturn:
    """End a message that no second time would make better."""
    logger.warning("refused an event, key %.200r: %s", key, reason)
    dropped.count(Dropped.REFUSED)
    raise TaskFailedError(reason)


def _again(key: object, reason: str) -> NoReturn:
    """Give the message back to the broker; the pause keeps a worker from spinning through an outage."""
    logger.warning("put an event back, key %.200r: %s", key, reason)
    sleep(_outage.next())
    raise Reject(reason, requeue=True)


def _id(org_id: object) -> UUID:
    try:
        return UUID(str(org_id))
    except ValueError as error:
        raise InputError.of("org_id", "is no id of an org", "give the id as `cmis orgs list` shows it") from error


def _moment(occurred_at: object) -> datetime | None:
    if occurred_at is None:
        return None
    try:
        return datetime.fromisoformat(str(occurred_at))
    except ValueError as error:
        raise InputError.of("occurred_at", "is no time", "write it like 2026-03-01T09:00:00Z") from error


def _refuse(others: dict[str, Any]) -> None:
    if others:
        names = ", ".join(sorted(others))[:200]
        raise InputError.of("", f"unknown arguments {names}", "give idempotency_key, occurred_at and source only")
