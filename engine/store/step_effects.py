"""The effects of workflows' steps: the one of a step, what an instance has changed, whether its step still wants it.

An instance's effects are made after it: their ids are bounded by its own, which has the time at which it was made.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from core import driver
from core.ids import uuid7_floor, uuid7_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

_MARGIN: Final = timedelta(minutes=5)
"""How far the clock of whoever made an instance's id beforehand may have been ahead."""
_OF: Final = """org_id = :org_id AND instance_id = :instance_id AND action_id >= :low
   AND action_id < cmis.uuid_v7_floor(cmis.clock() + interval '5 minutes')"""
_FIRST = text(f"SELECT * FROM cmis.automation_actions WHERE {_OF} AND idempotency_key = :key")
# A campaign counts as changed as it does for the database (cmis.run_changes): also where that was undone since, and not
# where a person let it pass.
_CHANGED = text(f"""
SELECT count(DISTINCT entity_id) AS n FROM cmis.automation_actions
 WHERE {_OF} AND entity_id <> :entity_id AND status IN ('succeeded', 'undone') AND decided_at IS NULL AND before <> '{{}}'
""")
_LISTING = text(f"SELECT * FROM cmis.automation_actions WHERE {_OF} ORDER BY action_id")
_LOCK_INSTANCE = text("""
SELECT status FROM cmis.workflow_instances WHERE org_id = :org_id AND instance_id = :instance_id FOR NO KEY UPDATE
""")
_STEP = text("""
SELECT status, action_id, finished_at FROM cmis.workflow_steps
 WHERE org_id = :org_id AND instance_id = :instance_id AND step_id = :step_id
""")
_NAMES = text("""
SELECT DISTINCT i.instance_id, t.name FROM cmis.workflow_instances i
  JOIN cmis.workflow_templates t ON t.org_id = i.org_id AND t.template_id = i.template_id
 WHERE i.org_id = :org_id AND i.instance_id = ANY (CAST(:ids AS uuid[]))
""")


def first(connection: Connection, org_id: UUID, instance_id: UUID, key: str) -> Row[Any] | None:
    """Return the effect of an instance that has this idempotency key."""
    return connection.execute(_FIRST, _key(org_id, instance_id) | {"key": key}).one_or_none()


def others_changed(connection: Connection, org_id: UUID, instance_id: UUID, entity_id: UUID) -> int:
    """Return how many campaigns other than this one an instance has changed."""
    found: int = connection.execute(_CHANGED, _key(org_id, instance_id) | {"entity_id": entity_id}).scalar_one()
    return found


def listing(connection: Connection, org_id: UUID, instance_id: UUID) -> Sequence[Row[Any]]:
    """Return the effects of an instance in their order, what tells connectors of them, too."""
    return connection.execute(_LISTING, _key(org_id, instance_id)).all()


def lock_instance(connection: Connection, org_id: UUID, instance_id: UUID) -> None:
    """Lock an instance until the transaction ends, before the campaigns that its effects change."""
    connection.execute(_LOCK_INSTANCE, {"org_id": org_id, "instance_id": instance_id})


def step(connection: Connection, org_id: UUID, instance_id: UUID, step_id: str) -> Row[Any] | None:
    """Return a step's status, the effect that it waits for or waited for last (action_id), and when it was over."""
    key = {"org_id": org_id, "instance_id": instance_id, "step_id": step_id}
    return connection.execute(_STEP, key).one_or_none()


def workflows(connection: Connection, org_id: UUID, instance_ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return the name of each instance's workflow."""
    found = driver.rows(connection, _NAMES, {"org_id": org_id, "ids": list(instance_ids)}) if instance_ids else []
    return {row.instance_id: row.name for row in found}


def _key(org_id: UUID, instance_id: UUID) -> dict[str, Any]:
    low = uuid7_floor(uuid7_time(instance_id) - _MARGIN)
    return {"org_id": org_id, "instance_id": instance_id, "low": low}
