"""`automation.run_workflow`: go on with instances of workflows."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.config import Settings
from engine.run_workflow import service
from engine.run_workflow.work import Finished, GaveUp, NotClaimed, Retrying, TakenApart
from tasks.base import AutomationTask, TaskFailedError, again, nothing_to_claim, process_database, through_outages
from tasks.broker import app
from tasks.publish import send

if TYPE_CHECKING:
    from engine.run_workflow.work import Result


@lru_cache(maxsize=1)
def _commit_steps() -> int:
    return Settings.load().workflow_commit_steps


@app.task(name="automation.run_workflow", base=AutomationTask, bind=True)
def run_workflow(self: AutomationTask, *message: Any, **others: Any) -> dict[str, Any]:
    """Claim a task and go on with the instances that it carries; a duplicate finds nothing to claim and is ignored."""
    org_id, task_id = self.ids(message, others)
    result = through_outages(
        lambda: service.run(
            process_database(), org_id, task_id, worker=self.worker, send=send, commit_steps=_commit_steps()
        )
    )
    return _told(result)


def _told(result: Result) -> dict[str, Any]:
    match result:
        case Finished() as done:
            return asdict(done)
        case TakenApart(items=items):
            return {"split": items}
        case Retrying(after=after, error=error):
            raise again(error["message"], after)
        case GaveUp(error=error):
            raise TaskFailedError(error["message"])
        case NotClaimed():
            raise nothing_to_claim()
