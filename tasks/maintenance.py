"""`automation.maintain`: partitions ahead of time, and what is done with behind it."""

from __future__ import annotations

from typing import Any

from engine import rescue
from tasks.base import AutomationTask, nothing_to_claim, process_database, through_outages
from tasks.broker import app


@app.task(name="automation.maintain", base=AutomationTask, bind=True)
def maintain(self: AutomationTask, *message: Any, **others: Any) -> dict[str, Any]:
    """Claim and run the hour's maintenance."""
    _, task_id = self.ids(message, others)
    result = through_outages(lambda: rescue.maintain(process_database(), task_id, worker=self.worker))
    if result is None:
        raise nothing_to_claim()
    return result
