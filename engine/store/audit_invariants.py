"""What must always be true of the audit log and what it tells of: checked by `engine.store.invariants`, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.store.kept import first_id

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKS: Final[Mapping[str, str]] = {
    "each execution has exactly one rule_executed": f"""
        SELECT coalesce(e.org_id, a.org_id) || ' ' || coalesce(e.execution_id, a.execution_id) AS offender
          FROM cmis.automation_executions e
          FULL JOIN (SELECT org_id, execution_id, count(*) AS n FROM cmis.automation_audit_log
                      WHERE action = 'rule_executed' GROUP BY 1, 2) a
            ON a.org_id = e.org_id AND a.execution_id = e.execution_id
         WHERE (e.execution_id IS NULL OR a.n IS DISTINCT FROM 1)
           AND (e.execution_id IS NULL AND a.execution_id < {first_id("automation_executions")}) IS NOT TRUE""",
    "each applied effect has exactly one action_taken": f"""
        SELECT coalesce(x.org_id, a.org_id) || ' ' || coalesce(x.action_id, a.action_id) AS offender
          FROM (SELECT org_id, action_id FROM cmis.automation_actions WHERE status IN ('succeeded', 'undone')) x
          FULL JOIN (SELECT org_id, action_id, count(*) AS n FROM cmis.automation_audit_log
                      WHERE action = 'action_taken' GROUP BY 1, 2) a
            ON a.org_id = x.org_id AND a.action_id = x.action_id
         WHERE (x.action_id IS NULL OR a.n IS DISTINCT FROM 1)
           AND (x.action_id IS NULL AND a.action_id < {first_id("automation_actions")}) IS NOT TRUE""",
    "each decision about an effect is in the audit log, once": f"""
        SELECT coalesce(a.org_id, l.org_id) || ' ' || coalesce(a.action_id, l.action_id) AS offender
          FROM (SELECT org_id, action_id, CASE status WHEN 'rejected' THEN 'action_rejected' ELSE 'action_approved' END AS said
                  FROM cmis.automation_actions WHERE decided_at IS NOT NULL
                UNION ALL
                SELECT org_id, action_id, 'action_undone' FROM cmis.automation_actions WHERE status = 'undone') a
          FULL JOIN (SELECT org_id, action_id, action AS said, count(*) AS n FROM cmis.automation_audit_log
                      WHERE action IN ('action_approved', 'action_rejected', 'action_undone') GROUP BY 1, 2, 3) l
            ON l.org_id = a.org_id AND l.action_id = a.action_id AND l.said = a.said
         WHERE (a.action_id IS NULL OR l.n IS DISTINCT FROM 1)
           AND (a.action_id IS NULL AND l.action_id < {first_id("automation_actions")}) IS NOT TRUE""",
    "no record in the audit log lacks what it tells of": """
        SELECT l.org_id || ' ' || l.audit_id || ' ' || l.action AS offender FROM cmis.automation_audit_log l
          LEFT JOIN (SELECT org_id, rule_id AS id, 'rule' AS noun FROM cmis.automation_rules
                     UNION ALL SELECT org_id, job_id, 'job' FROM cmis.scheduled_jobs
                     UNION ALL SELECT org_id, campaign_id, 'campaign' FROM cmis.campaigns
                     UNION ALL SELECT org_id, workflow_id, 'workflow' FROM cmis.automation_workflows
                     UNION ALL SELECT org_id, template_id, 'workflow' FROM cmis.workflow_templates) x
            ON x.org_id = l.org_id AND x.id = l.entity_id AND x.noun = l.entity_type
         WHERE l.entity_type IN ('rule', 'job', 'campaign', 'workflow') AND x.id IS NULL
           AND l.action <> 'workflow_instantiated'""",
    "a task that its crashes used up is in the audit log": """
        SELECT t.org_id || ' ' || t.task_id AS offender FROM cmis.tasks t
         WHERE t.state = 'dead' AND NOT EXISTS (
           SELECT FROM cmis.automation_audit_log l
            WHERE l.org_id = t.org_id AND l.entity_id = t.task_id AND l.action = 'task_died')""",
}
