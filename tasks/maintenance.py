"""`automation.maintain`: partitions ahead of time, final tasks behind it."""

from __future__ import annotations

from celery.exceptions import Ignore

from engine import rescue
from tasks.base import AutomationTask, process_database
from tasks.broker import app


@app.task(name="automation.maintain", base=AutomationTask, bind=True)
def maintain(self: AutomationTask, org_id: str, task_id: str) -> dict[str, int]:
    """Claim and run the hour's maintenance."""
    _, task = self.ids(org_id, task_id)
    result = rescue.maintain(process_database(), task, worker=self.worker)
    if result is None:
        raise Ignore
    return result
