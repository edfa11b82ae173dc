"""What must always be true of chunks that were lost: checked by `engine.store.invariants`, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKS: Final[Mapping[str, str]] = {
    "tasks that take a chunk's place carry exactly its evaluations": """
        WITH whole AS (
          SELECT t.org_id, t.task_id, t.payload, p.part::uuid AS part
            FROM cmis.tasks t CROSS JOIN jsonb_array_elements_text(t.result -> 'split') AS p(part)
           WHERE t.kind = 'evaluate_rules' AND t.state = 'cancelled' AND t.result ? 'split'),
        carried AS (
          SELECT w.org_id, w.task_id, g ->> 'org_id' AS of_org, i ->> 'execution_id' AS execution_id
            FROM whole w JOIN cmis.tasks t ON t.task_id = w.part
           CROSS JOIN jsonb_path_query(t.payload, '$.groups[*]') g CROSS JOIN jsonb_path_query(g, '$.items[*]') i),
        had AS (
          SELECT w.org_id, w.task_id, g ->> 'org_id' AS of_org, i ->> 'execution_id' AS execution_id
            FROM (SELECT DISTINCT org_id, task_id, payload FROM whole) w
           CROSS JOIN jsonb_path_query(w.payload, '$.groups[*]') g CROSS JOIN jsonb_path_query(g, '$.items[*]') i)
        SELECT DISTINCT x.org_id || ' ' || x.task_id AS offender FROM (
          (TABLE had EXCEPT ALL TABLE carried) UNION ALL (TABLE carried EXCEPT ALL TABLE had)) x""",
    "of evaluations only one that is alone in its task dies with it": """
        SELECT t.org_id || ' ' || t.task_id AS offender FROM cmis.tasks t
         WHERE t.kind = 'evaluate_rules' AND t.state = 'dead' AND t.error ->> 'code' <> 'UNREADABLE'
           AND (SELECT count(*) FROM jsonb_path_query(t.payload, '$.groups[*].items[*]')) > 1""",
}
