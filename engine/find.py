"""Find what a person names: by its id, or by its exact name. Who finds nothing is told where to look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core.errors import InputError, NotFoundError
from engine.rules.reading import shown
from engine.store import bundles, campaigns, connectors, jobs, rules, templates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

_LISTED_IDS: Final = 10
_ARCHIVED: Final = "archived"  # rules' and campaigns' alike


def find_rule(connection: Connection, org_id: UUID, reference: UUID | str, field: str = "rule") -> Row[Any]:
    """Return the rule of this id or exact name; of several with the name, the only one that is not archived.

    Raises NotFoundError on `field` if there is none, InputError that lists the ids if several have the name.
    """
    found = rules.find(connection, org_id, _as_id(reference)) or rules.find(connection, org_id, str(reference))
    if not found:
        raise NotFoundError.of(field, f"there is no rule {shown(str(reference))}", "see `cmis rules list`")
    found = _in_use(found)
    if len(found) > 1:
        ids = ", ".join(str(row.rule_id) for row in found[:_LISTED_IDS])
        message = f"{len(found)} rules are named {shown(str(reference))}"
        raise InputError.of(field, message, f"give the id of one: {ids}")
    return found[0]


def find_job(connection: Connection, org_id: UUID, reference: UUID | str, field: str = "job") -> Row[Any]:
    """Return the job of this id or exact name (unique in its org); raises NotFoundError on `field`."""
    row = jobs.find(connection, org_id, _as_id(reference)) or jobs.find(connection, org_id, str(reference))
    if row is None:
        raise NotFoundError.of(field, f"there is no job {shown(str(reference))}", "see `cmis jobs list`")
    return row


def find_campaign(connection: Connection, org_id: UUID, reference: UUID | str, field: str = "campaign") -> Row[Any]:
    """Return the campaign of this id or exact name, archived ones too if no other has the name.

    Raises NotFoundError on `field` if there is none, InputError that lists the ids if several have the name.
    """
    found = campaigns.find(connection, org_id, _as_id(reference)) or campaigns.find(connection, org_id, str(reference))
    if not found:
        raise NotFoundError.of(field, f"there is no campaign {shown(str(reference))}", "see `cmis campaigns list`")
    found = _in_use(found)
    if len(found) > 1:
        ids = ", ".join(str(row.campaign_id) for row in found[:_LISTED_IDS])
        message = f"{len(found)} campaigns are named {shown(str(reference))}"
        raise InputError.of(field, message, f"give the id of one: {ids}")
    return found[0]


def find_bundle(connection: Connection, org_id: UUID, reference: UUID | str, field: str = "bundle") -> Row[Any]:
    """Return the bundle of this id or exact name: the org's own if it has one, else one that is shown to all.

    Raises NotFoundError on `field` if there is none, InputError that lists the ids if several have the name.
    """
    found = bundles.find(connection, _as_id(reference)) or bundles.find(connection, str(reference))
    own = [row for row in found if row.org_id == org_id]
    if not found:
        raise NotFoundError.of(field, f"there is no bundle {shown(str(reference))}", "see `cmis bundles list`")
    if len(own or found) > 1:
        ids = ", ".join(str(row.workflow_id) for row in found[:_LISTED_IDS])
        message = f"{len(found)} bundles are named {shown(str(reference))}"
        raise InputError.of(field, message, f"give the id of one: {ids}")
    return (own or found)[0]


def find_connector(connection: Connection, org_id: UUID, reference: UUID | str, field: str = "connector") -> Row[Any]:
    """Return the connector of this id or exact name (unique in its org); raises NotFoundError on `field`."""
    row = connectors.find(connection, org_id, _as_id(reference)) or connectors.find(connection, org_id, str(reference))
    if row is None:
        message = f"there is no connector {shown(str(reference))}"
        raise NotFoundError.of(field, message, "see `cmis connectors list`")
    return row


def find_template(connection: Connection, org_id: UUID, reference: UUID | str, field: str = "workflow") -> Row[Any]:
    """Return the org's own workflow template of this id or exact name (unique); raises NotFoundError on `field`."""
    row = templates.find(connection, org_id, _as_id(reference)) or templates.find(connection, org_id, str(reference))
    if row is None:
        message = f"there is no workflow {shown(str(reference))}"
        raise NotFoundError.of(field, message, "see `cmis workflows list`; clone a public one first")
    return row


def find_shown_template(
    connection: Connection, org_id: UUID, reference: UUID | str, field: str = "workflow"
) -> Row[Any]:
    """Return the workflow template of this id or exact name: the org's own if it has one, else one shown to all.

    Raises NotFoundError on `field` if there is none, InputError that lists the ids if several have the name.
    """
    found = templates.shown(connection, _as_id(reference)) or templates.shown(connection, str(reference))
    own = [row for row in found if row.org_id == org_id]
    if not found:
        raise NotFoundError.of(field, f"there is no workflow {shown(str(reference))}", "see `cmis workflows list`")
    if len(own or found) > 1:
        ids = ", ".join(str(row.template_id) for row in found[:_LISTED_IDS])
        message = f"{len(found)} workflows are named {shown(str(reference))}"
        raise InputError.of(field, message, f"give the id of one: {ids}")
    return (own or found)[0]


def _in_use(found: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Leave archived ones out where others have the name: they cannot be renamed, and would keep it for ever."""
    return [row for row in found if row.status != _ARCHIVED] or found


def _as_id(reference: UUID | str) -> UUID | str:
    """Take a text for an id if it reads as one; a name may look so, too, and is then found as a name."""
    try:
        return reference if isinstance(reference, UUID) else UUID(reference)
    except ValueError:
        return reference
