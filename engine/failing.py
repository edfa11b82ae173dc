"""A task that fails for good: its row says why, and so does the audit log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from core.ids import uuid7
from engine.lease import owned
from engine.store import audit, tasks
from models.audit_actions import AuditAction

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from core.errors import PermanentError

logger = logging.getLogger(__name__)


def fail(connection: Connection, claimed: tasks.Claim, error: dict[str, Any], *, now: datetime) -> None:
    """End a claimed task as failed; what it was to do the caller has taken care of. Raises LostClaimError."""
    owned(tasks.finish(connection, claimed, "failed", now=now, error=error))
    entry = {
        "audit_id": uuid7(now),
        "action": AuditAction.TASK_FAILED.value,
        "entity_type": "task",
        "entity_id": claimed.task_id,
        "details": {"attempt": claimed.attempt, "error": error},
    }
    audit.record(connection, claimed.org_id, [entry], now=now)


def refuse(connection: Connection, claimed: tasks.Claim, error: PermanentError, *, now: datetime) -> dict[str, Any]:
    """Fail a task whose payload makes no sense, so that nothing of it can be done; returns its error."""
    logger.error("task %s of org %s is refused: %s", claimed.task_id, claimed.org_id, error)
    document = {"code": error.code, "message": str(error)}
    fail(connection, claimed, document, now=now)
    return document
