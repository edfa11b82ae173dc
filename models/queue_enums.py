"""The closed sets of the queue's records: how attempts end, what becomes of dead letters, why messages are dropped."""

from __future__ import annotations

from enum import StrEnum


class Dropped(StrEnum):
    """Why a worker dropped a message. Nothing is lost by it: what is to be done is in the rows."""

    UNCLAIMED = "unclaimed"
    """There was nothing to claim: a duplicate, one that came too early, or of a task that is over."""
    ARGUMENTS = "arguments"
    """Its arguments are not the ids of an org and a task."""
    UNKNOWN_ORG = "unknown_org"
    UNKNOWN_TASK = "unknown_task"
    """It names a Celery task that there is not."""
    REFUSED = "refused"
    """An event that makes no sense."""
    UNREADABLE = "unreadable"
    """It is no message of Celery's, or in a format that is not accepted."""


class Handling(StrEnum):
    """How a dead letter was dealt with; `resolved` = somebody said what became of what it was to deliver."""

    RETRIED = "retried"
    DISCARDED = "discarded"
    RESOLVED = "resolved"


class AttemptOutcome(StrEnum):
    """How one claim of a task ended; NULL = still running."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"
    CANCELLED = "cancelled"
