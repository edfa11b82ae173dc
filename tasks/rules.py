"""`automation.evaluate_rules` and `automation.apply_actions`: what the row says is done, whichever was named."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from engine.run_rules import service
from engine.run_rules.work import Applied, Finished, GaveUp, NotClaimed, Retrying, TakenApart
from tasks.base import AutomationTask, TaskFailedError, again, nothing_to_claim, process_database, through_outages
from tasks.broker import app


@app.task(name="automation.evaluate_rules", base=AutomationTask, bind=True)
def evaluate_rules(self: AutomationTask, *message: Any, **others: Any) -> dict[str, Any]:
    """Claim and run one chunk of rule evaluations; a duplicate finds nothing to claim and is ignored."""
    return _run(self, message, others)


@app.task(name="automation.apply_actions", base=AutomationTask, bind=True)
def apply_actions(self: AutomationTask, *message: Any, **others: Any) -> dict[str, Any]:
    """Claim and apply the actions of one execution that followed after a delay."""
    return _run(self, message, others)


def _run(task: AutomationTask, message: tuple[Any, ...], others: dict[str, Any]) -> dict[str, Any]:
    org_id, task_id = task.ids(message, others)
    result = through_outages(lambda: service.run(process_database(), org_id, task_id, worker=task.worker))
    match result:
        case Finished() as done:
            return asdict(done)
        case Applied(counts=counts):
            return dict(counts)
        case TakenApart(parts=parts):
            return {"split": parts}
        case Retrying(after=after, error=error):
            raise again(error["message"], after)
        case GaveUp(error=error):
            raise TaskFailedError(error["message"])
        case NotClaimed():
            raise nothing_to_claim()
