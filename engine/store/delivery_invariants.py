"""What must always be true of deliveries: queries like those of `engine.store.invariants`, which checks them, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKS: Final[Mapping[str, str]] = {
    "a delivery that is being called has a claim": """
        SELECT a.org_id || ' ' || a.action_id AS offender FROM cmis.automation_actions a
         WHERE a.status = 'running' AND (a.channel IS NULL OR NOT EXISTS (
           SELECT FROM cmis.tasks t WHERE t.org_id = a.org_id AND t.task_id = a.task_id AND t.kind = 'deliver'
              AND t.state = 'running'))""",
    "an open delivery is in its task's parcel": """
        SELECT a.org_id || ' ' || a.action_id AS offender FROM cmis.automation_actions a
          JOIN cmis.tasks t ON t.org_id = a.org_id AND t.task_id = a.task_id
         WHERE a.channel IS NOT NULL AND a.status IN ('queued', 'running')
           AND NOT coalesce((t.payload -> 'action_ids') ? a.action_id::text, false)""",
    "each key is one effect's": """
        SELECT a.org_id || ' ' || a.idempotency_key AS offender FROM cmis.automation_actions a
         GROUP BY a.org_id, a.idempotency_key HAVING count(*) > 1""",
    "how a delivery ended is in the audit log, and that it was in doubt, too": """
        SELECT a.org_id || ' ' || a.action_id || ' ' || a.status AS offender FROM cmis.automation_actions a
         WHERE a.channel IS NOT NULL AND a.status IN ('failed', 'discarded', 'unknown') AND NOT EXISTS (
           SELECT FROM cmis.automation_audit_log l WHERE l.org_id = a.org_id AND l.action_id = a.action_id
              AND l.action = 'action_' || a.status)""",
}

DRAINED: Final[Mapping[str, str]] = {
    "no delivery is open after a drain": """
        SELECT a.org_id || ' ' || a.action_id AS offender FROM cmis.automation_actions a
         WHERE a.channel IS NOT NULL AND a.status IN ('queued', 'running')""",
}
