"""Jobs made as people make them, and what their ledgers say: what tests of the verbs share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine import define_jobs
from models.enums import JobStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.world import Org

EVERY_MINUTE = "* * * * *"
EARLY = 20


@dataclass(frozen=True)
class Job:
    org: Org
    id: UUID

    @property
    def row(self) -> Any:
        [row] = self.org.world.rows("SELECT * FROM cmis.scheduled_jobs WHERE job_id = :id", id=self.id)
        return row

    @property
    def status(self) -> JobStatus:
        return JobStatus(self.row.status)

    @property
    def ledger(self) -> Sequence[Any]:
        query = "SELECT * FROM cmis.occurrences WHERE job_id = :id AND origin = 'schedule' ORDER BY scheduled_for"
        return self.org.world.rows(query, id=self.id)

    @property
    def decisions(self) -> list[tuple[str, int]]:
        return [(row.decision, row.count) for row in self.ledger]

    def backfilled(self) -> Sequence[Any]:
        query = "SELECT * FROM cmis.occurrences WHERE job_id = :id AND origin = 'backfill' ORDER BY scheduled_for"
        return self.org.world.rows(query, id=self.id)

    def audited(self) -> list[tuple[str, Any, Any]]:
        query = "SELECT * FROM cmis.automation_audit_log WHERE entity_id = :id ORDER BY created_at"
        found = [(row.action, row.before, row.after) for row in self.org.world.rows(query, id=self.id)]
        assert found[0][0] == "job_created"
        return found[1:]


def add_job(org: Org, rule_id: UUID | None = None, **columns: object) -> Job:
    """Make a job, by default one that fires each minute; the clock is then early in its minute."""
    if (late := org.world.now().second) > EARLY:
        org.world.advance(seconds=61 - late)
    document = {"rule": str(rule_id or org.rule()), **columns}
    if not columns.keys() & {"cron_expression", "frequency", "schedule_type"}:
        document["cron_expression"] = EVERY_MINUTE
    return Job(org, define_jobs.create_job(org.world.app, org.context, document).job_id)
