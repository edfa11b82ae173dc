"""`automation.deliver`: one message outside."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.config import Settings
from engine.deliver import service
from engine.deliver.admission import Waits
from engine.deliver.beginning import Done, NotClaimed
from engine.deliver.couriers.registry import couriers
from engine.deliver.outcome import Again, Discarded, Doubtful, Failed, Succeeded
from engine.deliver.post import Post
from engine.secrets.sealing import Keys
from tasks.base import AutomationTask, TaskFailedError, again, nothing_to_claim, process_database, through_outages
from tasks.broker import app

if TYPE_CHECKING:
    from engine.deliver.outcome import Outcome


@lru_cache(maxsize=1)
def process_post() -> Post:
    """Return this process's couriers and keys. Raises SetupError where the settings make no sense."""
    settings = Settings.load()
    return Post(couriers(settings), Keys.load(settings), settings.org_deliveries)


@app.task(name="automation.deliver", base=AutomationTask, bind=True)
def deliver(self: AutomationTask, *message: Any, **others: Any) -> dict[str, Any]:
    """Claim and deliver one message; Celery is told what the row says already, and publishes nothing."""
    org_id, task_id = self.ids(message, others)
    result = through_outages(
        lambda: service.run(process_database(), org_id, task_id, worker=self.worker, post=process_post())
    )
    match result:
        case NotClaimed():
            raise nothing_to_claim()
        case Waits(reason=reason, after=after):
            raise again(reason, after)
        case Done(outcome=outcome):
            return _told(outcome)


def _told(outcome: Outcome) -> dict[str, Any]:
    match outcome:
        case Succeeded():
            return {"delivered": True}
        case Again(reason=reason, after=after):
            raise again(reason, after)
        case Failed(reason=reason) | Discarded(reason=reason) | Doubtful(reason=reason):
            raise TaskFailedError(reason)
