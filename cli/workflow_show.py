"""`cmis workflows list|show|schema`: look at templates, their versions, and what a definition may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.output import emit_json, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import show_fields, show_rows
from cli.workflow_instances import show_instance
from engine.clone_workflows import published_version
from engine.find import find_shown_template
from engine.store import templates
from engine.workflows import schema
from models.workflow_enums import TemplateStatus, WorkflowCategory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy import Row

_COLUMNS: Final = [
    "template_id",
    "name",
    "category",
    "origin",
    "status",
    "version",
    "usage_count",
    "active_instances",
    "last_used_at",
]
_THEIRS: Final = frozenset(
    {
        "org_id",
        "owner_id",
        "cloned_from",
        "definition",
        "usage_count",
        "active_instances",
        "last_used_at",
        "published_by",
    }
)
"""What others are not told of a template that an org shows to them, or of its versions: draft, use, people."""
_STEPS: Final = ["id", "type", "name", "next"]


@click.command("list")
@org_command
@click.option("--category", type=click.Choice([each.value for each in WorkflowCategory]), help="Only of this category.")
@click.option("--status", type=click.Choice([each.value for each in TemplateStatus]), help="Only of this status.")
@click.option("--tag", help="Only those that have this tag.")
def list_command(org_ref: str, user_id: str | None, as_json: bool, **matching: str | None) -> None:
    """List the workflows that an org may read: its own, and those that other orgs show to all.

    Archived ones only with --status archived. One of another org must be cloned before it can be started.

    Example: cmis workflows list --org acme --category lead_nurture
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        found = templates.listing(connection, session.org.org_id, **matching)
        rows = [_with_origin(row, session.org.org_id) for row in found]
    if as_json:
        emit_json(rows)
    else:
        show_rows("Workflows", rows, _COLUMNS, hint="`cmis workflows publish` makes one.")


@click.command("show")
@click.argument("template", metavar="TEMPLATE|INSTANCE")
@org_command
@click.option(
    "--version", "number", type=click.IntRange(min=1), metavar="N", help="Show version N as it was published."
)
@click.option("--outputs", is_flag=True, help="Of an INSTANCE, show what its steps took in and put out, too.")
def show_command(
    *, template: str, org_ref: str, user_id: str | None, as_json: bool, number: int | None, outputs: bool
) -> None:
    """Show one TEMPLATE: its draft, its versions, how often it was used; or one INSTANCE (its id): how far it is.

    Of another org's TEMPLATE its last version is shown, or version N.

    \b
    Examples:
      cmis workflows show "Nurture leads" --org acme --json
      cmis workflows show 01980000-0000-7000-8000-000000000000 --org acme --outputs
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        if show_instance(connection, session.org.org_id, template, outputs=outputs, as_json=as_json):
            return
        row = find_shown_template(connection, session.org.org_id, template, "TEMPLATE")
        shown = _with_origin(row, session.org.org_id)
        versions = rows_as_dicts(templates.versions(connection, row.org_id, row.template_id))
        if shown["origin"] == "shared":
            versions = [{key: value for key, value in one.items() if key not in _THEIRS} for one in versions]
        if number is not None or shown["origin"] == "shared":
            shown["definition"] = published_version(connection, row, number).definition
    if as_json:
        emit_json({**shown, "versions": versions})
        return
    _print(shown)
    show_rows("Versions", versions, ["version", "steps", "published_at", "published_by"], hint="It is a draft.")


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a definition's structure, for editors; `validate` looks at more than that.

    Example: cmis workflows schema > workflow.schema.json
    """
    emit_json(schema.schema())


def print_template(row: Row[Any], *, as_json: bool) -> None:
    """Print a template with all its columns, and its draft's steps."""
    [shown] = rows_as_dicts([row])
    if as_json:
        emit_json(shown)
    else:
        _print(shown)


def _with_origin(row: Row[Any], org_id: UUID) -> dict[str, Any]:
    """Say whether a template is the org's own; other orgs stay nameless, and what is not published is theirs."""
    [shown] = rows_as_dicts([row])
    if row.org_id == org_id:
        return {**shown, "origin": "own"}
    return {key: value for key, value in shown.items() if key not in _THEIRS} | {"origin": "shared"}


def _print(template: Mapping[str, Any]) -> None:
    about = {key: value for key, value in template.items() if key != "definition"}
    show_fields(f"Workflow {template['name']}", about)
    show_rows("Steps", template["definition"]["steps"], _STEPS)
