"""Published versions of workflow templates, as who starts and runs them reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from core import driver
from engine.store.statements import with_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection

_STARTABLE = text("""
SELECT template_id, name, status, version FROM cmis.workflow_templates
 WHERE org_id = :org_id AND template_id = ANY (:ids)
""").bindparams(bindparam("ids", type_=ARRAY(Uuid())))
_DEFINITION = text("""
SELECT definition FROM cmis.workflow_template_versions
 WHERE org_id = :org_id AND template_id = :template_id AND version = :version
""")
# Ascending by id, and last of all that a transaction locks: every run of a template writes its row.
_COUNT = with_rows("""
WITH r AS (
  SELECT t.template_id, x.started, x.ended FROM json_to_recordset(:rows) AS x(template_id uuid, started bigint, ended bigint)
    JOIN cmis.workflow_templates t ON t.org_id = :org_id AND t.template_id = x.template_id
   ORDER BY t.template_id FOR NO KEY UPDATE OF t)
UPDATE cmis.workflow_templates t
   SET usage_count = t.usage_count + r.started, active_instances = t.active_instances + r.started - r.ended,
       last_used_at = CASE WHEN r.started > 0 THEN CAST(:now AS timestamptz) ELSE t.last_used_at END
  FROM r WHERE t.org_id = :org_id AND t.template_id = r.template_id
""")


def startable(connection: Connection, org_id: UUID, template_ids: Sequence[UUID]) -> dict[UUID, Any]:
    """Return (template_id, name, status, version) of those of an org's own templates that exist, by id."""
    found = driver.rows(connection, _STARTABLE, {"org_id": org_id, "ids": list(template_ids)})
    return {row.template_id: row for row in found}


def definition(connection: Connection, org_id: UUID, template_id: UUID, version: int) -> Any | None:
    """Return the document of a published version; None if there is none."""
    key = {"org_id": org_id, "template_id": template_id, "version": version}
    return next((row.definition for row in driver.rows(connection, _DEFINITION, key)), None)


def count(connection: Connection, org_id: UUID, counts: dict[UUID, tuple[int, int]], *, now: datetime) -> None:
    """Count instances of templates that were started and that ended; the last statement of a transaction that locks."""
    if counts:
        rows = [{"template_id": key, "started": started, "ended": ended} for key, (started, ended) in counts.items()]
        driver.changed(connection, _COUNT, {"org_id": org_id, "rows": rows, "now": now})
