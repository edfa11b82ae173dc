"""Copy a workflow template: an org's own, or one that another org shows to all, as it was published."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.db import refusing
from core.errors import ConflictError, InputError, NotFoundError
from engine.define_workflows import NAME, TAKEN, document_of, insert_template
from engine.find import find_shown_template
from engine.rules.definition import MAX_NAME
from engine.rules.reading import shown
from engine.store import actions, templates
from models.enums import Role

if TYPE_CHECKING:
    from collections.abc import Collection
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database

_COPY: Final = re.compile(r" \(copy(?: [0-9]+)?\)$")


def clone_template(
    database: Database,
    context: Context,
    reference: UUID | str,
    *,
    version: int | None = None,
    name: str | None = None,
) -> Row[Any]:
    """Make a draft of a published version, the last one unless told otherwise, and return its row.

    It is no more public than any draft, and knows what it was copied from. What it names (secrets, campaigns, other
    workflows) is looked for once it is published. Raises NotFoundError, InputError for a name that is none,
    ConflictError for a taken one and for a template that was never published.
    """
    with refusing(NAME, TAKEN), database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        row = find_shown_template(connection, context.org_id, reference)
        published = published_version(connection, row, version)
        taken = templates.taken_names(connection, context.org_id)
        columns = document_of(row) | {
            "name": _free(row.name, taken) if name is None else _checked(name),
            "is_public": False,
            "definition": published.definition,
            "cloned_from": {
                "org_id": str(row.org_id),
                "template_id": str(row.template_id),
                "version": published.version,
            },
        }
        return insert_template(connection, context, columns, clock.now(connection))


def published_version(connection: Connection, row: Row[Any], version: int | None) -> Row[Any]:
    """Return a version of a template with its definition, the last one unless told otherwise.

    Raises NotFoundError if there is none of the number, ConflictError if the template was never published.
    """
    number = row.version if version is None else version
    if number is None:
        message = f"the workflow {row.name!r} was never published"
        raise ConflictError.of("workflow", message, "publish it first: `cmis workflows publish`")
    found = templates.version(connection, row.org_id, row.template_id, number)
    if found is None:
        message = f"the workflow {row.name!r} has no version {number}"
        raise NotFoundError.of("version", message, "see `cmis workflows show`")
    return found


def _free(name: str, taken: Collection[str]) -> str:
    """Return the name where nobody has it, else one that says that this is a copy."""
    base, copy, number = _COPY.sub("", name), name, 0
    while copy in taken:
        number += 1
        suffix = " (copy)" if number == 1 else f" (copy {number})"
        copy = base[: MAX_NAME - len(suffix)] + suffix
    return copy


def _checked(name: str) -> str:
    if not 0 < len(name.strip()) <= MAX_NAME:
        raise InputError.of("name", f"cannot be {shown(name)}", f"give a text of 1 to {MAX_NAME} characters")
    return name.strip()
