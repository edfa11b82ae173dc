"""What locked rules are judged by besides their definitions: their org, the time, and what they did and asked before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from core import driver

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

# `asked`: what waits for approval or was rejected, of the last 28 days (`executions.HELD_SEARCH`).
_READ = text("""
SELECT o.org_id, o.name, o.timezone, o.guardrails, o.never_touch, cmis.clock() AS now, c.rule_ids, c.entity_ids,
       c.acted_at, h.asked,
       (SELECT jsonb_agg(jsonb_build_array(k.connector_id, k.platform) ORDER BY k.connector_id) FROM cmis.connectors k
         WHERE k.org_id = :org_id AND k.status = 'active') AS connectors
  FROM cmis.orgs o
 CROSS JOIN LATERAL (
   SELECT array_agg(s.rule_id) AS rule_ids, array_agg(s.entity_id) AS entity_ids, array_agg(s.last_acted_at) AS acted_at
     FROM cmis.rule_entity_state s WHERE s.org_id = :org_id AND s.rule_id = ANY (:rule_ids)) c
 CROSS JOIN LATERAL (
   SELECT jsonb_agg(jsonb_build_array(a.rule_id, a.entity_id, a.type, a.params)) AS asked FROM cmis.automation_actions a
    WHERE a.org_id = :org_id AND a.status IN ('held', 'rejected') AND a.rule_id = ANY (:rule_ids)
      AND a.action_id BETWEEN cmis.uuid_v7_floor(cmis.clock() - interval '28 days')
                          AND cmis.uuid_v7_floor(cmis.clock() + interval '5 minutes')
      AND a.error ->> 'code' <> 'MOVED_ON') h
 WHERE o.org_id = :org_id
""").bindparams(bindparam("rule_ids", type_=ARRAY(Uuid())))


def read(connection: Connection, org_id: UUID, rule_ids: Sequence[UUID]) -> Row[Any]:
    """Return zone, guardrails and time for the context's org, and of these rules what throttles and approvals remember.

    `rule_ids`, `entity_ids`, `acted_at` belong together: when each rule last acted on each entity; None where none did.
    `asked` is a list of [rule_id, entity_id, type, params], or None: what keeps a rule from asking the same again.
    `connectors` is a list of [connector_id, platform], or None: the active ones, which changes are pushed to.
    """
    row: Row[Any]
    [row] = driver.rows(connection, _READ, {"org_id": org_id, "rule_ids": list(rule_ids)})
    return row
