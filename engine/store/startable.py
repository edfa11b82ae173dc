"""Which workflows can be started, for actions that name them; and how long the chain of starts is by now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text, Uuid

from core import driver

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

# Of an org's own: what others show must be cloned first. An id that somebody gave as a name is found as an id first.
_THERE = text("""
SELECT instance_id FROM cmis.workflow_instances WHERE org_id = :org_id AND instance_id = ANY (:ids)
""").bindparams(bindparam("ids", type_=ARRAY(Uuid())))
_NAMED = text("""
SELECT t.template_id, t.name, t.status,
       (SELECT array_agg(v.version) FROM cmis.workflow_template_versions v
         WHERE v.org_id = t.org_id AND v.template_id = t.template_id) AS versions
  FROM cmis.workflow_templates t
 WHERE t.org_id = :org_id AND (t.template_id::text = ANY (:names) OR t.name = ANY (:names))
""").bindparams(bindparam("names", type_=ARRAY(Text())))
# A step's effect may start an instance, whose step may start another: each is one further from what began it all.
_DEPTH = text("""
WITH RECURSIVE chain AS (
  SELECT i.instance_id, i.action_id, i.parent_instance_id, 1 AS depth FROM cmis.workflow_instances i
   WHERE i.org_id = :org_id AND i.instance_id = :instance_id
  UNION ALL
  SELECT i.instance_id, i.action_id, i.parent_instance_id, c.depth + 1
    FROM chain c
    LEFT JOIN cmis.automation_actions a ON a.org_id = :org_id AND a.action_id = c.action_id
    JOIN cmis.workflow_instances i
      ON i.org_id = :org_id AND i.instance_id = coalesce(c.parent_instance_id, a.instance_id)
   WHERE c.depth < :most)
SELECT max(depth) AS depth FROM chain
""")


def there(connection: Connection, org_id: UUID, ids: Collection[UUID]) -> set[UUID]:
    """Return which of these instances there are."""
    return {row.instance_id for row in driver.rows(connection, _THERE, {"org_id": org_id, "ids": list(ids)})}


def named(connection: Connection, org_id: UUID, names: Collection[str]) -> Sequence[Row[Any]]:
    """Return (template_id, name, status, versions) of the org's templates of these ids or names."""
    return driver.rows(connection, _NAMED, {"org_id": org_id, "names": list(names)})


def depth(connection: Connection, org_id: UUID, instance_id: UUID, *, most: int) -> int:
    """Return how many instances started one another up to this one, itself too; `most` at the most."""
    values = {"org_id": org_id, "instance_id": instance_id, "most": most}
    found: int | None = connection.execute(_DEPTH, values).scalar_one()
    return found or 0
