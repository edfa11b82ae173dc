"""Many due jobs of one org, in few statements."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert

import models
from core.ids import uuid7
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from tests.world import Org


def bulk(org: Org, *, rules: int, jobs: int, campaigns: int = 0) -> None:
    """Make many jobs that fire once and are due, spread over rules, in few statements."""
    now = org.world.now()
    due = now.replace(microsecond=0) - timedelta(minutes=1)
    base = {"org_id": org.id, "created_at": now, "updated_at": now}
    rule = {"conditions": SPENT, "actions": NOTIFY, "status": "active", "owner_id": org.context.user_id}
    once = {"schedule_type": "once", "start_date": due, "anchor_at": due, "next_run_at": due, "target_type": "rule"}
    ids = [uuid7(now) for _ in range(rules)]
    with org.world.app.transaction(org.context) as connection:
        connection.execute(insert(models.AutomationRule), [base | rule | {"rule_id": i, "name": str(i)} for i in ids])
        if campaigns:
            rows = [base | {"campaign_id": uuid7(now), "name": str(n)} for n in range(campaigns)]
            connection.execute(insert(models.Campaign), rows)
        owner = {"owner_id": org.context.user_id}
        rows = [
            base | once | owner | {"job_id": uuid7(now), "name": str(n), "rule_id": ids[n % rules]} for n in range(jobs)
        ]
        connection.execute(insert(models.ScheduledJob), rows)
