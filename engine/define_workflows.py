"""Workflow templates as people define them: drafts, published versions, what a template is for, whether it is shown.

Each document is checked whole, and stored in one transaction or not. What runs is a published version, which never
changes; the draft is what was written last, and what the next version is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.db import refusing
from core.errors import ConflictError, InputError
from core.ids import uuid7
from engine.find import find_shown_template, find_template
from engine.rules.reading import Problems, shown
from engine.store import actions, audit, templates
from engine.workflow_checks import check_kinds, check_names
from engine.workflows.template import ABOUT, DEFINITION, check_definition, is_template, parse_template
from models.audit_actions import AuditAction
from models.enums import Role
from models.workflow_enums import TemplateStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from engine.workflows.steps import Placed
    from engine.workflows.template import Template

NAME: Final = "workflow_templates_org_id_name_key"
TAKEN: Final = ConflictError.of("name", "there is a workflow of this name already", "give it a name of its own")


@dataclass(frozen=True, slots=True)
class Published:
    """A template, and the version that its definition is; `new` = that version was made now."""

    row: Row[Any]
    version: int
    new: bool


def check_document(document: object, callables: Collection[str]) -> Sequence[Placed]:
    """Read a template, or a definition alone, and return its steps; raises InputError with every problem.

    Only what needs no database is looked at: the structure, the graph, actions, and `callables` by their names.
    """
    check = partial(check_kinds, callables=callables)
    if is_template(document):
        return parse_template(document, check=_check(callables)).steps
    return check_definition(document, check=lambda steps, problems: check(steps, problems=problems))


def check_in_org(
    database: Database, context: Context, document: object, callables: Collection[str]
) -> Sequence[Placed]:
    """Read a document as `check_document` does, and look for its secrets and workflows in the org; stores nothing."""
    with database.transaction(context) as connection:
        name = document.get("name") if isinstance(document, dict) else None
        own = templates.named(connection, context.org_id, [name]) if isinstance(name, str) else []
        check = _check(callables, connection, context.org_id, _own(name, own))
        if is_template(document):
            return parse_template(document, check=check).steps
        return check_definition(document, check=check)


def save_draft(database: Database, context: Context, document: object, callables: Collection[str]) -> Row[Any]:
    """Store a template, new or of this name, with its definition as a draft; what is published stays. Returns its row.

    Secrets and workflows that it names need not be there yet. Raises InputError with every problem.
    """
    template = parse_template(document, check=_check(callables))
    with refusing(NAME, TAKEN), database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        return _store(connection, context, template)


def publish(database: Database, context: Context, document: object, callables: Collection[str]) -> Published:
    """Store a template, new or of this name, and freeze its definition as the next version; it is active then.

    A definition that is the last version's makes no new one. Raises InputError with every problem; then nothing is
    stored.
    """
    with refusing(NAME, TAKEN), database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        name = document.get("name") if isinstance(document, dict) else None
        found = templates.named(connection, context.org_id, [name.strip()]) if isinstance(name, str) else []
        check = _check(callables, connection, context.org_id, _own(name, found))
        template = parse_template(document, check=check)
        return _publish(connection, context, _store(connection, context, template), len(template.steps))


def publish_draft(database: Database, context: Context, reference: UUID | str, callables: Collection[str]) -> Published:
    """Freeze the draft of one of the org's own templates, checked as it is now; see `publish`.

    Raises NotFoundError, InputError with every problem.
    """
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        row = templates.lock(connection, context.org_id, find_own(connection, context.org_id, reference).template_id)
        check = _check(callables, connection, context.org_id, _own(row.name, [row]))
        template = parse_template(document_of(row), check=check)
        return _publish(connection, context, row, len(template.steps))


def update_template(
    database: Database, context: Context, reference: UUID | str, changes: object, callables: Collection[str]
) -> Row[Any]:
    """Lay a JSON object over one of the org's own templates; null takes a field away. What is the same changes nothing.

    Another `definition` is a draft: what is published, and what runs, stays. Raises NotFoundError, InputError with
    every problem of the whole, ConflictError for a taken name or another org's template.
    """
    if not isinstance(changes, dict):
        message = f"a change must be an object, not {shown(changes)}"
        raise InputError.of("", message, "give the keys that are to be different")
    _refuse_keys(changes)
    with refusing(NAME, TAKEN), database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        row = templates.lock(connection, context.org_id, find_own(connection, context.org_id, reference).template_id)
        document = {key: value for key, value in (document_of(row) | changes).items() if value is not None}
        # a definition that stays was checked when it was written: what it names may have gone since
        check = _check(callables) if DEFINITION in changes else _unchecked
        return _change(connection, row, _columns(parse_template(document, check=check)))


def switch(
    database: Database, context: Context, references: Sequence[UUID | str], columns: Mapping[str, Any]
) -> list[Row[Any]]:
    """Archive, bring back, show or hide some of the org's own templates, all or none: `status` or `is_public`.

    `active` of one that was never published is `draft`. Instances that run go on. Raises NotFoundError, ConflictError.
    """
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        ids = {find_own(connection, context.org_id, reference).template_id: None for reference in references}
        rows = [templates.lock(connection, context.org_id, template_id) for template_id in sorted(ids)]
        return [_change(connection, row, _possible(row, columns)) for row in rows]


def find_own(connection: Connection, org_id: UUID, reference: UUID | str) -> Row[Any]:
    """Return one of the org's own templates; raises ConflictError for another org's, NotFoundError."""
    row = find_shown_template(connection, org_id, reference)
    if row.org_id != org_id:
        message = f"the workflow {row.name!r} belongs to somebody else, who alone may change and start it"
        raise ConflictError.of("workflow", message, "make it your own: `cmis workflows clone`")
    return row


def document_of(row: Row[Any]) -> dict[str, Any]:
    """Return a stored template as its document."""
    stored = row._mapping  # noqa: SLF001 - SQLAlchemy's documented accessor
    return {key: stored[key] for key in (*ABOUT, DEFINITION)}


def _check(
    callables: Collection[str],
    connection: Connection | None = None,
    org_id: UUID | None = None,
    own: Collection[str] = (),
) -> Any:
    """Return what is looked at in steps; with a connection their names in the org, too."""

    def check(steps: Sequence[Placed], problems: Problems) -> None:
        check_kinds(steps, callables, problems)
        if connection is not None and org_id is not None:
            check_names(connection, org_id, steps, problems, own=own)

    return check


def _unchecked(steps: Sequence[Placed], problems: Problems) -> None:
    del steps, problems


def _own(name: object, rows: Sequence[Row[Any]]) -> list[str]:
    named = [name.strip()] if isinstance(name, str) else []
    return [*named, *(str(row.template_id) for row in rows)]


def _refuse_keys(changes: Mapping[str, Any]) -> None:
    problems = Problems()
    problems.refuse_unknown_keys(changes, (*ABOUT, DEFINITION), "")
    problems.raise_if_any()


def _columns(template: Template) -> dict[str, Any]:
    return {
        "name": template.name,
        "description": template.description,
        "category": template.category.value,
        "tags": list(template.tags),
        "is_public": template.is_public,
        "event_type": template.event_type,
        "event_conditions": template.event_conditions,
        "definition": dict(template.definition),
    }


def _store(connection: Connection, context: Context, template: Template) -> Row[Any]:
    """Store a template under its name, whether there is one or not, and return its locked row."""
    columns = _columns(template)
    found = templates.named(connection, context.org_id, [template.name])
    there = next((row for row in found if row.name == template.name), None)
    if there is not None:
        return _change(connection, templates.lock(connection, context.org_id, there.template_id), columns)
    return insert_template(connection, context, columns, clock.now(connection))


def insert_template(connection: Connection, context: Context, columns: Mapping[str, Any], now: datetime) -> Row[Any]:
    """Insert a template of these columns, a draft, and return its locked row."""
    keys = {"org_id": context.org_id, "template_id": uuid7(now), "owner_id": context.user_id}
    templates.create(connection, dict(columns) | keys | {"created_at": now, "updated_at": now})
    return templates.lock(connection, context.org_id, keys["template_id"])


def _publish(connection: Connection, context: Context, row: Row[Any], steps: int) -> Published:
    active = {"status": TemplateStatus.ACTIVE.value}
    if row.version is not None:
        last = templates.version(connection, row.org_id, row.template_id, row.version)
        if last is not None and last.definition == row.definition:
            return Published(_change(connection, row, active), row.version, new=False)
    now, number = clock.now(connection), (row.version or 0) + 1
    version = {"org_id": row.org_id, "template_id": row.template_id, "version": number, "steps": steps}
    who = {"published_by": context.user_id, "published_at": now}
    templates.publish(connection, version | who | {"definition": row.definition})
    entry = {
        "audit_id": uuid7(now),
        "action": AuditAction.WORKFLOW_PUBLISHED.value,
        "entity_type": "workflow",
        "entity_id": row.template_id,
        "details": {"name": row.name, "version": number, "steps": steps},
    }
    audit.record(connection, row.org_id, [entry], now=now)
    return Published(_change(connection, row, active | {"version": number}), number, new=True)


def _possible(row: Row[Any], columns: Mapping[str, Any]) -> Mapping[str, Any]:
    if columns.get("status") == TemplateStatus.ACTIVE and row.version is None:
        return dict(columns) | {"status": TemplateStatus.DRAFT.value}
    return columns


def _change(connection: Connection, row: Row[Any], columns: Mapping[str, Any]) -> Row[Any]:
    differing = {name: value for name, value in columns.items() if value != row._mapping[name]}  # noqa: SLF001
    if not differing:
        return row
    values = differing | {"updated_at": clock.now(connection)}
    templates.change(connection, row.org_id, row.template_id, values)
    return find_template(connection, row.org_id, row.template_id)
