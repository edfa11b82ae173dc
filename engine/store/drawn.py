"""What a drawing of a run shows: of which workflow it is, and how far each step is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection, Row

_INSTANCE = text("""
SELECT i.template_id, t.name, i.version, i.status
  FROM cmis.workflow_instances i
  JOIN cmis.workflow_templates t ON t.org_id = i.org_id AND t.template_id = i.template_id
 WHERE i.org_id = :org_id AND i.instance_id = :instance_id
""")
_STATUSES = text(
    "SELECT step_id, status FROM cmis.workflow_steps WHERE org_id = :org_id AND instance_id = :instance_id"
)


def instance(connection: Connection, org_id: UUID, instance_id: UUID) -> Row[Any] | None:
    """Return (template_id, name, version, status) of an instance of the org."""
    return connection.execute(_INSTANCE, {"org_id": org_id, "instance_id": instance_id}).one_or_none()


def statuses(connection: Connection, org_id: UUID, instance_id: UUID) -> dict[str, str]:
    """Return the status of each step of an instance, by its id."""
    found = connection.execute(_STATUSES, {"org_id": org_id, "instance_id": instance_id})
    return {row.step_id: row.status for row in found}
