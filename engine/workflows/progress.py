"""How far a run has come. Pure."""

from __future__ import annotations

from models.workflow_enums import InstanceStatus


def progress(status: str, *, total: int, completed: int, skipped: int) -> int:
    """Return per cent: what was skipped counts as done, and only what is completed is 100."""
    if status == InstanceStatus.COMPLETED:
        return 100
    return min(99, 100 * (completed + skipped) // total) if total else 0
