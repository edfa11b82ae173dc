"""Running a task in this process, as a worker does, for commands that were asked to do something now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from core.errors import TransientError
from engine.run_rules import service
from engine.run_rules.work import Retrying

if TYPE_CHECKING:
    from uuid import UUID

    from core.db import Database

WAIT_SECONDS: Final = 30.0
"""How long the result is waited for where another worker took the task."""


def evaluate_here(database: Database, org_id: UUID, task_id: UUID) -> None:
    """Claim and run a task; TransientError says when a worker tries again what failed for a moment."""
    match service.run(database, org_id, task_id, worker=f"cli:{os.getpid()}"):
        case Retrying(after=after, error=error):
            when = f"a worker will try again in {after.total_seconds():.0f} s"
            raise TransientError(f"the run failed: {error['message']}; {when} (task {task_id})")
        case _:
            pass  # ended, or taken by somebody else: either way there will be a result
