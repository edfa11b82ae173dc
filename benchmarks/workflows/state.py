"""Our database: an org with a published workflow, emptied of its runs between measurements, and read after each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import psycopg
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from uuid import UUID

    from psycopg import Connection

    from benchmarks.workflows.scale import Scale

_LOAD: Final = """
WITH org AS (
  INSERT INTO cmis.orgs (org_id, name, timezone, created_at) VALUES (%(org_id)s, 'bench', 'UTC', now())),
owner AS (
  INSERT INTO cmis.users (user_id, email, name, created_at) VALUES (%(user_id)s, 'bench@bench.test', 'bench', now())),
member AS (
  INSERT INTO cmis.user_orgs (org_id, user_id, role, created_at) VALUES (%(org_id)s, %(user_id)s, 'admin', now())),
template AS (
  INSERT INTO cmis.workflow_templates (org_id, template_id, name, category, tags, status, definition, version,
      owner_id, created_at, updated_at)
  VALUES (%(org_id)s, %(template_id)s, 'chain', 'campaign', '[]', 'active', %(definition)s, 1,
      %(user_id)s, now(), now()))
INSERT INTO cmis.workflow_template_versions
  (org_id, template_id, version, definition, steps, published_by, published_at)
VALUES (%(org_id)s, %(template_id)s, 1, %(definition)s, %(steps)s, %(user_id)s, now())
"""
_EMPTY: Final = (
    "TRUNCATE cmis.workflow_steps, cmis.workflow_instances, cmis.automation_audit_log CASCADE",
    "DELETE FROM cmis.tasks",
    "UPDATE cmis.workflow_templates SET usage_count = 0, active_instances = 0",
    "VACUUM (ANALYZE) cmis.workflow_steps, cmis.workflow_instances, cmis.workflow_templates, cmis.tasks",
    "CHECKPOINT",
)
# What a run must have left: everything that the engine promises of each step, once, and nothing else.
_LEFT: Final = """
SELECT (SELECT count(*) FROM cmis.workflow_instances i JOIN cmis.workflow_templates t USING (org_id, template_id)
         WHERE i.status = 'completed' AND i.steps_completed = i.steps_total AND i.finished_at IS NOT NULL
           AND t.active_instances = 0),
       (SELECT count(*) FROM cmis.workflow_instances),
       (SELECT count(*) FROM cmis.workflow_steps
         WHERE status = 'completed' AND attempt = 1 AND input_data IS NOT NULL AND output_data IS NOT NULL
           AND started_at IS NOT NULL AND finished_at >= started_at AND duration_ms IS NOT NULL),
       (SELECT count(*) FROM cmis.workflow_steps),
       (SELECT count(DISTINCT (entity_id, details ->> 'step')) FROM cmis.automation_audit_log
         WHERE action = 'step_completed'),
       (SELECT count(*) FROM cmis.automation_audit_log WHERE action LIKE 'step_%%'),
       (SELECT count(*) FROM cmis.automation_audit_log WHERE action = 'instance_completed'),
       (SELECT count(*) FROM cmis.tasks WHERE kind = 'run_workflow' AND state <> 'succeeded')
"""


class UnfinishedError(Exception):
    """We ourselves did not do all of what is measured: there is no figure."""


class State:
    """One database, as the administrator; no trigger fires for what is done to it here."""

    def __init__(self, administrator: str, scale: Scale) -> None:
        self._steps = scale.steps
        self._connection: Connection[tuple[Any, ...]] = psycopg.connect(administrator, autocommit=True)
        self._connection.execute("SET session_replication_role = replica")
        self.org_id, self.template_id = uuid4(), uuid4()
        self._load(uuid4())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def reset(self) -> None:
        """Forget all runs."""
        for statement in _EMPTY:
            self._connection.execute(statement)

    def check(self, instances: int) -> None:
        """See that since the last reset so many ran, and all of it is recorded once. Raises UnfinishedError."""
        steps = instances * self._steps
        expected = (instances, instances, steps, steps, steps, steps, instances, 0)
        found = self._connection.execute(_LEFT).fetchone()
        if found != expected:
            raise UnfinishedError(f"{found} recorded instead of {expected}")

    def _load(self, user_id: UUID) -> None:
        values = {"org_id": self.org_id, "user_id": user_id, "template_id": self.template_id, "steps": self._steps}
        self._connection.execute(_LOAD, values | {"definition": Jsonb(document(self._steps))})


def document(steps: int) -> dict[str, Any]:
    """Return the definition of a chain of so many steps that do nothing, each with a number as its input."""
    return {"steps": [_step(number, last=number == steps - 1) for number in range(steps)]}


def _step(number: int, *, last: bool) -> dict[str, Any]:
    config = {"callable": "cmis.noop", "params": {"number": number}}
    step: dict[str, Any] = {"id": f"step{number}", "type": "action", "config": config}
    return step if last else step | {"next": f"step{number + 1}"}
