"""What happened, counted from the rows: for the demo's report and for operators who ask for the whole system at once.

These queries span all orgs, so that only the readonly role gets an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row

_COUNTS: Final = text("""
SELECT (SELECT count(*) FROM cmis.orgs WHERE org_id <> '00000000-0000-0000-0000-000000000000') AS orgs,
       (SELECT count(*) FROM cmis.campaigns) AS campaigns,
       (SELECT count(*) FROM cmis.automation_rules WHERE template_id IS NULL) AS rules,
       (SELECT count(*) FROM cmis.scheduled_jobs) AS jobs,
       (SELECT count(*) FROM cmis.automation_executions) AS rules_evaluated,
       (SELECT count(*) FROM cmis.automation_executions WHERE attempt > 1) AS retried,
       (SELECT count(*) FROM cmis.automation_actions WHERE status = 'succeeded') AS actions_succeeded,
       (SELECT count(*) FROM cmis.automation_actions WHERE status = 'held') AS actions_held,
       (SELECT count(DISTINCT entity_id) FROM cmis.automation_actions
         WHERE status = 'succeeded' AND type = 'pause_campaign') AS campaigns_paused,
       (SELECT count(*) FROM cmis.budget_ledger WHERE action_id IS NOT NULL) AS budgets_changed,
       (SELECT count(*) FROM cmis.notifications) AS notifications,
       (SELECT count(*) FROM cmis.automation_audit_log) AS audit_rows
""")
_STATUSES: Final = text("SELECT status, count(*) AS n FROM cmis.automation_executions GROUP BY status ORDER BY status")
_SKIPPED: Final = text("""
SELECT skip_reason, count(*) AS n FROM cmis.automation_executions WHERE skip_reason IS NOT NULL
 GROUP BY skip_reason ORDER BY skip_reason
""")
_EXECUTIONS: Final = text("""
SELECT o.name AS org, r.name AS rule, j.timezone, e.scheduled_for, e.status, e.skip_reason, e.attempt,
       e.conditions_evaluated -> 'counts' AS entities, e.results
  FROM cmis.automation_executions e JOIN cmis.orgs o USING (org_id) JOIN cmis.automation_rules r USING (org_id, rule_id)
  LEFT JOIN cmis.scheduled_jobs j USING (org_id, job_id) ORDER BY o.name, r.name, e.scheduled_for
""")
_PENDING: Final = text("""
SELECT (SELECT count(*) FROM cmis.scheduled_jobs WHERE status = 'active' AND next_run_at <= cmis.clock())
     + (SELECT count(*) FROM cmis.tasks WHERE state IN ('ready', 'running') AND kind <> 'maintain')
""")
_LOSSES: Final = text("""
SELECT losses, republished, CASE WHEN losses > 0 THEN lost_at END AS lost_at FROM cmis.broker_epoch
""")


@dataclass(frozen=True, slots=True)
class BrokerLosses:
    """How often the broker lost its messages, how many tasks were published again for it, and when it did last."""

    losses: int
    republished: int
    lost_at: datetime | None


def counts(connection: Connection) -> dict[str, int]:
    """Return how much of everything there is."""
    return dict(connection.execute(_COUNTS).one()._mapping)  # noqa: SLF001 - SQLAlchemy's documented accessor


def executions_by_status(connection: Connection) -> dict[str, int]:
    """Return how many executions ended with each status."""
    return {row.status: row.n for row in connection.execute(_STATUSES)}


def executions_by_skip_reason(connection: Connection) -> dict[str, int]:
    """Return how many executions each gate stopped."""
    return {row.skip_reason: row.n for row in connection.execute(_SKIPPED)}


def executions(connection: Connection) -> Sequence[Row[Any]]:
    """Return every execution with its org, rule and schedule, by org and rule."""
    return connection.execute(_EXECUTIONS).all()


def broker_losses(connection: Connection) -> BrokerLosses:
    """Return the counter "republished after broker loss", which is kept in the database and only grows."""
    return BrokerLosses(*connection.execute(_LOSSES).one())


def pending(connection: Connection) -> int:
    """Return how much is due, waiting or running; 0 = drained."""
    waiting: int = connection.execute(_PENDING).scalar_one()
    return waiting
