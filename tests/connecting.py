"""Connectors of a test's orgs, and the pushes that are queued for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from engine.connectors import create_connector
from tests.posting import SIGNING, Desk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.world import Org, World

URL: Final = "https://bridge.example.com/changes"
_PUSHES: Final = """
SELECT * FROM cmis.automation_actions WHERE type = 'push_change'
 ORDER BY org_id, entity_id, (after ->> 'version')::bigint, params ->> 'connector_id'"""


def connect(org: Org, name: str = "bridge", **given: Any) -> UUID:
    """Make a connector that is signed with the org's secret `signing`, which is there from then on; returns its id."""
    if not org.world.rows("SELECT FROM cmis.secrets WHERE org_id = :org_id AND name = 'signing'", org_id=org.id):
        Desk(org).keep("signing", SIGNING)
    wanted = {"name": name, "url": URL, "signing_secret": "secret://signing"} | given
    row = create_connector(org.world.app, org.context, wanted)
    connector_id: UUID = row.connector_id
    return connector_id


def pushes(world: World) -> Sequence[Any]:
    """Read all pushes, by campaign in the order of their versions."""
    return world.rows(_PUSHES)


def told(row: Any) -> tuple[Any, int]:
    """Return what a push tells of a change: its columns, and the campaign's version."""
    return row.after["change"], row.after["version"]
