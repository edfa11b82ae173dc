"""What must always be true of references that no foreign key holds: checked by `engine.store.invariants`, too.

What is never deleted must be there, in the same org. What may be gone, by its age or because it is gone for good, must not be another
org's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.store.kept import first_id

if TYPE_CHECKING:
    from collections.abc import Mapping


def _strays(what: str, table: str, column: str, target: str, key: str) -> str:
    """Return the query for rows whose reference is a row of another org."""
    return f"""
        SELECT '{what} ' || x.{column} || ' of ' || x.org_id AS offender FROM cmis.{table} x JOIN cmis.{target} y ON y.{key} = x.{column}
         WHERE y.org_id <> x.org_id"""


def _lacking(what: str, table: str, column: str, target: str, key: str) -> str:
    """Return the query for rows whose reference is no row of their org."""
    return f"""
        SELECT '{what} ' || x.{column} || ' of ' || x.org_id AS offender FROM cmis.{table} x
          LEFT JOIN cmis.{target} y ON y.org_id = x.org_id AND y.{key} = x.{column}
         WHERE x.{column} IS NOT NULL AND y.{key} IS NULL"""


_ALWAYS_THERE: Final = (
    _lacking("rule of an execution", "automation_executions", "rule_id", "automation_rules", "rule_id"),
    _lacking("job of an execution", "automation_executions", "job_id", "scheduled_jobs", "job_id"),
    _lacking("rule of an action", "automation_actions", "rule_id", "automation_rules", "rule_id"),
    _lacking("job of an occurrence", "occurrences", "job_id", "scheduled_jobs", "job_id"),
    _lacking("rule of an audit record", "automation_audit_log", "rule_id", "automation_rules", "rule_id"),
    _lacking("job of a run", "workflow_instances", "job_id", "scheduled_jobs", "job_id"),
    _lacking("rule of a notification", "notifications", "rule_id", "automation_rules", "rule_id"),
)
_MAY_BE_GONE: Final = (
    _strays("execution of an occurrence", "occurrences", "execution_id", "automation_executions", "execution_id"),
    _strays("run of an occurrence", "occurrences", "instance_id", "workflow_instances", "instance_id"),
    _strays("execution of an action", "automation_actions", "execution_id", "automation_executions", "execution_id"),
    _strays("run of an action", "automation_actions", "instance_id", "workflow_instances", "instance_id"),
    _strays(
        "execution of an audit record", "automation_audit_log", "execution_id", "automation_executions", "execution_id"
    ),
    _strays("action of an audit record", "automation_audit_log", "action_id", "automation_actions", "action_id"),
    _strays("entity of an audit record", "automation_audit_log", "entity_id", "workflow_instances", "instance_id"),
    _strays("action of a budget change", "budget_ledger", "action_id", "automation_actions", "action_id"),
    _strays("execution of a memory", "rule_entity_state", "execution_id", "automation_executions", "execution_id"),
    _strays("execution of a notification", "notifications", "execution_id", "automation_executions", "execution_id"),
    _strays("action of a notification", "notifications", "action_id", "automation_actions", "action_id"),
    _strays("action of a permit", "permits", "action_id", "automation_actions", "action_id"),
    _strays("event of a run", "workflow_instances", "event_id", "automation_events", "event_id"),
    _strays("action of a run", "workflow_instances", "action_id", "automation_actions", "action_id"),
    _strays("action of a step", "workflow_steps", "action_id", "automation_actions", "action_id"),
    _strays("part of a run", "workflow_steps", "child_instance_id", "workflow_instances", "instance_id"),
    _strays("task of an attempt", "task_attempts", "task_id", "tasks", "task_id"),
)
_OTHERS: Final = (
    f"""
        SELECT 'action ' || a.action_id AS offender FROM cmis.automation_actions a
          LEFT JOIN cmis.automation_executions e ON e.org_id = a.org_id AND e.execution_id = a.execution_id
          LEFT JOIN cmis.workflow_steps s
            ON s.org_id = a.org_id AND s.instance_id = a.instance_id AND s.step_id = a.step_id
          LEFT JOIN cmis.campaigns c ON c.org_id = a.org_id AND c.campaign_id = a.entity_id
          LEFT JOIN cmis.automation_events v ON v.event_id = a.entity_id
         WHERE a.execution_id IS NOT NULL AND e.execution_id IS NULL
           AND (a.execution_id < {first_id("automation_executions")}) IS NOT TRUE
            OR a.instance_id IS NOT NULL AND s.step_id IS NULL
           AND (a.instance_id < {first_id("workflow_instances")}) IS NOT TRUE
            OR a.entity_type = 'event' AND v.org_id <> a.org_id
            OR a.entity_type = 'instance' AND a.entity_id IS DISTINCT FROM a.instance_id
            OR a.entity_type NOT IN ('event', 'instance') AND c.campaign_id IS NULL""",
    """
        SELECT 'task ' || t.task_id FROM cmis.tasks t CROSS JOIN jsonb_path_query(t.payload, '$.groups[*]') g
         WHERE t.kind IN ('evaluate_rules', 'apply_actions') AND t.org_id <> '00000000-0000-0000-0000-000000000000'
           AND t.state NOT IN ('failed', 'dead') AND g ->> 'org_id' <> t.org_id::text""",
    """
        SELECT 'task ' || t.task_id FROM cmis.tasks t CROSS JOIN jsonb_path_query(t.payload, '$.items[*]') one
          JOIN cmis.workflow_instances i ON i.instance_id::text = one ->> 'instance_id'
         WHERE t.kind = 'run_workflow' AND i.org_id <> t.org_id""",
    """
        SELECT 'task ' || t.task_id FROM cmis.tasks t CROSS JOIN jsonb_path_query(t.payload, '$.action_ids[*]') one
          JOIN cmis.automation_actions a ON a.action_id::text = one #>> '{}'
         WHERE t.kind = 'deliver' AND a.org_id <> t.org_id""",
)

CHECKS: Final[Mapping[str, str]] = {
    "no reference crosses orgs": "\n        UNION ALL".join((*_ALWAYS_THERE, *_MAY_BE_GONE, *_OTHERS)),
}
