"""The instance that a run of a job starts, as a task carries it: a worker makes it once it claims the task.

Its id is made with the run, so that a second instance of the run is impossible.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

TOGETHER: Final = 25
"""Instances that one task starts, at most; they are of one org."""
TASK_SECONDS: Final = 300
"""How long the task may take that starts them. The time of an instance is the instance's own."""


class JobStart(NamedTuple):
    """An instance that a run of a job is to start."""

    instance_id: UUID
    template_id: UUID
    job_id: UUID
    origin: str
    scheduled_for: datetime
    context: dict[str, Any] | None = None
    """What the job gives to its runs (`execution_context`); None = nothing."""
    timeout_seconds: int | None = None
    """How long the instance may take; None = what its definition says."""
    requested_by: UUID | None = None
    """Who asked for it by hand; None = a schedule did."""

    def document(self) -> dict[str, Any]:
        """Return the JSON of the task's item."""
        start: dict[str, Any] = {
            "template_id": str(self.template_id),
            "job_id": str(self.job_id),
            "origin": self.origin,
            "scheduled_for": self.scheduled_for.isoformat(),
        }
        if self.context:
            start["context"] = self.context
        if self.timeout_seconds is not None:
            start["timeout_seconds"] = self.timeout_seconds
        if self.requested_by is not None:
            start["requested_by"] = str(self.requested_by)
        return {"instance_id": str(self.instance_id), "start": start}


class DueStart(NamedTuple):
    """A start that is to be packed, and when it is due."""

    org_id: UUID
    start: JobStart
    run_at: datetime
