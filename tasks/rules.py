"""`automation.evaluate_rules`: run one chunk of rule evaluations."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from celery.exceptions import Ignore, Retry

from engine.run_rules import service
from engine.run_rules.work import Finished, GaveUp, NotClaimed, Retrying, TakenApart
from tasks.base import AutomationTask, TaskFailedError, leaving_to_the_row, process_database
from tasks.broker import app


@app.task(name="automation.evaluate_rules", base=AutomationTask, bind=True)
def evaluate_rules(self: AutomationTask, *message: Any, **others: Any) -> dict[str, Any]:
    """Claim and run the task of the message's ids; a duplicate finds nothing to claim and is ignored."""
    org_id, task_id = self.ids(message, others)
    with leaving_to_the_row():
        result = service.run(process_database(), org_id, task_id, worker=self.worker)
    match result:
        case Finished() as done:
            return asdict(done)
        case TakenApart(items=items):
            return {"split": items}
        case Retrying(after=after, error=error):
            # The row is already due again; Celery only has to say so. Nothing is published here.
            raise Retry(error["message"], when=after.total_seconds())
        case GaveUp(error=error):
            raise TaskFailedError(error["message"])
        case NotClaimed():
            raise Ignore
