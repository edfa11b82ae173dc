"""Workflow templates: an org's own, and what others show to all; the policies decide which those are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import Text

from core import driver
from engine.store.statements import with_rows
from models import WorkflowTemplate, WorkflowTemplateVersion

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import ColumnElement, Connection, Row, Select

_TABLE = WorkflowTemplate.__table__
_VERSIONS = WorkflowTemplateVersion.__table__

_NAMED = text("""
SELECT template_id, name, status, version FROM cmis.workflow_templates
 WHERE org_id = :org_id AND (template_id::text = ANY (:names) OR name = ANY (:names))
""").bindparams(bindparam("names", type_=ARRAY(Text())))
# Published definitions are valid: a version in them is a whole number, or null.
_STARTED_BY = with_rows("""
SELECT v.template_id, v.version, btrim(s.config ->> 'template') AS template, (s.config ->> 'version')::integer AS wanted
  FROM json_to_recordset(:rows) AS r(template_id uuid, version integer)
  JOIN cmis.workflow_template_versions v
    ON v.org_id = :org_id AND v.template_id = r.template_id AND v.version = r.version
 CROSS JOIN LATERAL jsonb_path_query(v.definition, '$.steps[*] ? (@.type == "subworkflow").config') AS s(config)
 WHERE s.config ->> 'template' IS NOT NULL
""")


def create(connection: Connection, values: Mapping[str, Any]) -> None:
    """Insert a template."""
    connection.execute(insert(WorkflowTemplate), values)


def listing(
    connection: Connection,
    org_id: UUID,
    *,
    category: str | None = None,
    status: str | None = None,
    tag: str | None = None,
) -> Sequence[Row[Any]]:
    """Return the templates that the org may read, its own first, by name: all but the definitions.

    Without a status all but archived ones.
    """
    columns: list[ColumnElement[Any]] = [column for column in _TABLE.c if column.name != "definition"]
    query: Select[Any] = select(*columns)
    query = query.where(_TABLE.c.status != "archived" if status is None else _TABLE.c.status == status)
    if category is not None:
        query = query.where(_TABLE.c.category == category)
    if tag is not None:
        query = query.where(_TABLE.c.tags.contains(bindparam("tag", [tag], JSONB())))
    order = (_TABLE.c.org_id != org_id, _TABLE.c.org_id, _TABLE.c.name)
    return connection.execute(query.order_by(*order)).all()


def find(connection: Connection, org_id: UUID, reference: UUID | str) -> Row[Any] | None:
    """Return an org's own template with this id, or with this name (unique in its org)."""
    column = _TABLE.c.name if isinstance(reference, str) else _TABLE.c.template_id
    return connection.execute(select(_TABLE).where(_TABLE.c.org_id == org_id, column == reference)).one_or_none()


def shown(connection: Connection, reference: UUID | str) -> Sequence[Row[Any]]:
    """Return the templates with this id, or with this exact name, of any org that shows them to the context's."""
    column = _TABLE.c.name if isinstance(reference, str) else _TABLE.c.template_id
    return connection.execute(select(_TABLE).where(column == reference).order_by(_TABLE.c.org_id)).all()


def names(connection: Connection, org_id: UUID, template_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the names of templates of an org."""
    if not template_ids:
        return {}
    query = select(_TABLE.c.template_id, _TABLE.c.name).where(_TABLE.c.org_id == org_id)
    found = connection.execute(query.where(_TABLE.c.template_id.in_(template_ids)))
    return {row.template_id: row.name for row in found}


def taken_names(connection: Connection, org_id: UUID) -> set[str]:
    """Return the names that the org's own templates have."""
    return set(connection.execute(select(_TABLE.c.name).where(_TABLE.c.org_id == org_id)).scalars())


def named(connection: Connection, org_id: UUID, references: Collection[str]) -> Sequence[Row[Any]]:
    """Return (template_id, name, status, version) of the org's own templates of these ids or names."""
    return driver.rows(connection, _NAMED, {"org_id": org_id, "names": list(references)}) if references else []


def lock(connection: Connection, org_id: UUID, template_id: UUID) -> Row[Any]:
    """Lock one of the org's own templates until the transaction ends, and return it as it is then."""
    query = select(_TABLE).where(_TABLE.c.org_id == org_id, _TABLE.c.template_id == template_id)
    return connection.execute(query.with_for_update(key_share=True)).one()


def change(connection: Connection, org_id: UUID, template_id: UUID, values: Mapping[str, Any]) -> None:
    """Write columns of a locked template; the triggers audit what differs."""
    mine = (WorkflowTemplate.org_id == org_id, WorkflowTemplate.template_id == template_id)
    connection.execute(update(WorkflowTemplate).where(*mine).values(**values))


def publish(connection: Connection, values: Mapping[str, Any]) -> None:
    """Insert a version; it never changes."""
    connection.execute(insert(WorkflowTemplateVersion), values)


def version(connection: Connection, org_id: UUID, template_id: UUID, number: int) -> Row[Any] | None:
    """Return a published version of a template that the context's org may read."""
    mine = (_VERSIONS.c.org_id == org_id, _VERSIONS.c.template_id == template_id, _VERSIONS.c.version == number)
    return connection.execute(select(_VERSIONS).where(*mine)).one_or_none()


def versions(connection: Connection, org_id: UUID, template_id: UUID) -> Sequence[Row[Any]]:
    """Return (version, steps, published_at, published_by) of a template, newest first."""
    columns = [_VERSIONS.c[name] for name in ("version", "steps", "published_at", "published_by")]
    mine = (_VERSIONS.c.org_id == org_id, _VERSIONS.c.template_id == template_id)
    return connection.execute(select(*columns).where(*mine).order_by(_VERSIONS.c.version.desc())).all()


def started_by(connection: Connection, org_id: UUID, versions: Sequence[tuple[UUID, int]]) -> Sequence[Row[Any]]:
    """Return (template_id, version, template, wanted) of each step by which these versions start another workflow.

    `template` is the id or name that the step gives, `wanted` its version; NULL = the last one.
    """
    rows = [{"template_id": template_id, "version": number} for template_id, number in versions]
    return driver.rows(connection, _STARTED_BY, {"org_id": org_id, "rows": rows})
