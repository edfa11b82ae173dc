"""What is drawn of a workflow: a document's definition, a template's, or an instance's with its steps' statuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.errors import NotFoundError
from engine.clone_workflows import published_version
from engine.find import find_shown_template
from engine.published import definition as published
from engine.store import drawn
from engine.workflows.reading import KEYS, parse_definition
from engine.workflows.template import DEFINITION, is_template

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from core.db import Context, Database
    from engine.workflows.definition import Definition

UNNAMED: Final = "Workflow"


@dataclass(frozen=True, slots=True)
class Drawn:
    """A definition to draw, under a title; `statuses` by step, of an instance alone."""

    title: str
    definition: Definition
    statuses: Mapping[str, str] | None = None


def of_document(document: object) -> Drawn:
    """Return what a template's document says, or a definition alone; raises InputError with every problem."""
    if not isinstance(document, dict) or not is_template(document):
        return Drawn(UNNAMED, parse_definition(document))
    name = document.get("name")
    title = name if isinstance(name, str) and name.strip() else UNNAMED
    if document.get(DEFINITION) is not None:
        return Drawn(title, parse_definition(document[DEFINITION], path=DEFINITION))
    return Drawn(title, parse_definition({key: document[key] for key in KEYS if key in document}))


def of_template(database: Database, context: Context, reference: str, version: int | None) -> Drawn:
    """Return a published version, the last one unless told otherwise; of what was never published the draft.

    Raises NotFoundError.
    """
    with database.transaction(context) as connection:
        row = find_shown_template(connection, context.org_id, reference, "TEMPLATE")
        if version is None and row.version is None:
            return Drawn(f"{row.name}, draft", parse_definition(row.definition))
        found = published_version(connection, row, version)
    return Drawn(f"{row.name}, version {found.version}", parse_definition(found.definition))


def of_instance(database: Database, context: Context, instance_id: UUID) -> Drawn:
    """Return the version that an instance runs, and its steps' statuses as of now. Raises NotFoundError."""
    with database.transaction(context) as connection:
        row = drawn.instance(connection, context.org_id, instance_id)
        if row is None:
            message = f"there is no instance {instance_id}"
            raise NotFoundError.of("--instance", message, "see `cmis workflows instances`")
        definition = published(connection, context.org_id, row.template_id, row.version)
        statuses = drawn.statuses(connection, context.org_id, instance_id)
    return Drawn(f"{row.name}, version {row.version}: {row.status}", definition, statuses)
