"""What must always be true of the effects of workflows' steps: checked by `engine.store.invariants`, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.store.kept import first_id

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKS: Final[Mapping[str, str]] = {
    "a step has one effect of its own": """
        SELECT a.org_id || ' ' || a.instance_id || ' ' || a.step_id AS offender FROM cmis.automation_actions a
         WHERE a.instance_id IS NOT NULL AND a.channel IS DISTINCT FROM 'connector'
         GROUP BY a.org_id, a.instance_id, a.step_id HAVING count(*) > 1""",
    "a step that waits for its effect waits for one that is open, or is about to be told": """
        SELECT s.org_id || ' ' || s.instance_id || ' ' || s.step_id AS offender FROM cmis.workflow_steps s
          LEFT JOIN cmis.automation_actions a ON a.org_id = s.org_id AND a.action_id = s.action_id
         WHERE s.status = 'waiting' AND s.waits_for = 'effect'
           AND (a.step_id IS DISTINCT FROM s.step_id OR a.instance_id IS DISTINCT FROM s.instance_id
                OR a.status NOT IN ('held', 'queued', 'running', 'unknown') AND NOT EXISTS (
                   SELECT FROM cmis.tasks t, jsonb_path_query(t.payload, '$.items[*]') i
                    WHERE t.org_id = s.org_id AND t.kind = 'run_workflow' AND t.state IN ('ready', 'held', 'running')
                      AND i #>> '{signal,action_id}' = s.action_id::text))""",
    "a step that was an action and is done has done what its effect says": """
        SELECT s.org_id || ' ' || s.instance_id || ' ' || s.step_id AS offender FROM cmis.workflow_steps s
          JOIN cmis.automation_actions a ON a.org_id = s.org_id AND a.instance_id = s.instance_id AND a.step_id = s.step_id
         WHERE s.type = 'action' AND s.status = 'completed' AND a.channel IS DISTINCT FROM 'connector' AND s.note IS NULL
           AND a.status NOT IN ('succeeded', 'undone') AND a.retried_at IS NULL""",
    "an instance that an action started is that action's": f"""
        SELECT i.org_id || ' ' || i.instance_id AS offender FROM cmis.workflow_instances i
         WHERE i.action_id IS NOT NULL AND (i.action_id < {first_id("automation_actions")}) IS NOT TRUE AND NOT EXISTS (
           SELECT FROM cmis.automation_actions a WHERE a.org_id = i.org_id AND a.action_id = i.action_id
              AND a.type = 'start_workflow' AND a.status = 'succeeded')""",
}
