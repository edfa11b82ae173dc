"""The effects of workflows' steps: the one of a step, what an instance has changed, whether its step still wants it.

An instance's effects are made after it: their ids are bounded by its own, which has the time at which it was made.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from core import driver
from core.ids import uuid7_floor, uuid7_time

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
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
# A delivery is discarded when its turn comes, before its call; what is held has no turn.
_DISCARD_HELD = text("""
WITH given_up AS (
  UPDATE cmis.automation_actions
     SET status = 'discarded', finished_at = :now, error = error || jsonb_build_object('code', 'DISCARDED', 'message', CAST(:why AS text))
   WHERE org_id = :org_id AND action_id = ANY (:ids) AND action_id BETWEEN :low AND :high AND status = 'held'
  RETURNING action_id, type, entity_type, entity_id, instance_id, step_id)
INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, user_id, entity_type, entity_id, action_id, details, ip)
SELECT :org_id, :now, cmis.uuid_v7(:now), 'action_discarded', nullif(current_setting('app.current_user_id', true), '')::uuid,
       entity_type, entity_id, action_id,
       jsonb_build_object('type', type, 'instance_id', instance_id, 'step_id', step_id, 'reason', CAST(:why AS text)),
       nullif(current_setting('app.client_ip', true), '')::inet
  FROM given_up
""").bindparams(bindparam("ids", type_=ARRAY(Uuid())))
UNWANTED: Final = "its step is not wanted any more"
"""Why an effect is discarded whose step was cancelled or skipped."""
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


def discard_held(connection: Connection, org_id: UUID, ids: Sequence[UUID], *, now: datetime) -> None:
    """Discard those of the effects that wait for approval; their instances are locked."""
    if ids:
        values = {"org_id": org_id, "ids": list(ids), "low": min(ids), "high": max(ids), "now": now, "why": UNWANTED}
        connection.execute(_DISCARD_HELD, values)


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
