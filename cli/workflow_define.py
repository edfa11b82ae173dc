"""`cmis workflows validate|save|publish|update`: a template's definition, from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import read_json
from cli.output import emit_json, out, rows_as_dicts
from cli.session import json_option, open_org, org_command, user_option
from cli.workflow_show import print_template
from core.errors import InputError
from engine import define_workflows
from engine.callables.registry import CALLABLES

if TYPE_CHECKING:
    from engine.define_workflows import Published

MAX_FILE: Final = 4 * 1024 * 1024
"""Bytes of a file with its blanks; without them a definition has at most 1 MiB."""
_file_option = click.option(
    "--file", "path", required=True, metavar="FILE", help="A JSON object, up to 4 MiB; - is stdin."
)


@click.command("validate")
@_file_option
@click.option("--org", "org_ref", help="Look for secrets and other workflows in this org, too (name or id).")
@user_option
@json_option
def validate_command(path: str, org_ref: str | None, user_id: str | None, as_json: bool) -> None:
    """Check a workflow, or a definition alone, and tell everything that is wrong with it; nothing is stored.

    Without --org no database is needed: structure, graph, references, actions and callables are looked at.

    Example: cmis workflows validate --file nurture.json
    """
    document = _read(path)
    if org_ref is None:
        steps = define_workflows.check_document(document, CALLABLES)
    else:
        with open_org(org_ref, user_id) as session:
            steps = define_workflows.check_in_org(session.database, session.context, document, CALLABLES)
    if as_json:
        emit_json({"valid": True, "steps": len(steps)})
    else:
        out.print(f"valid: {len(steps)} steps", highlight=False)


@click.command("save")
@org_command
@_file_option
def save_command(org_ref: str, user_id: str | None, as_json: bool, path: str) -> None:
    """Store a workflow of a JSON file as a draft: a new one, or the next draft of the one of this name.

    Needs name, category and definition (or the definition's keys beside them). What is published stays as it is.

    \b
    Example: cmis workflows save --org acme --file nurture.json, where nurture.json holds
      {"name": "Nurture leads", "category": "lead_nurture", "tags": ["leads"],
       "definition": {"steps": [
         {"id": "wait", "type": "delay", "config": {"days": 2}, "next": "tell"},
         {"id": "tell", "type": "action",
          "config": {"action": "notify", "params": {"message": "call {{ context.lead.name }}"}}}]}}
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    document = _read(path)
    with open_org(org_ref, user_id) as session:
        row = define_workflows.save_draft(session.database, session.context, document, CALLABLES)
    print_template(row, as_json=as_json)


@click.command("publish")
@click.argument("template", required=False)
@org_command
@click.option("--file", "path", metavar="FILE", help="Publish the workflow of a JSON file; - is stdin.")
def publish_command(template: str | None, org_ref: str, user_id: str | None, as_json: bool, path: str | None) -> None:
    """Freeze a definition as the next version: a TEMPLATE's draft, or of a file as `save` takes it.

    The version never changes; instances that run keep theirs. A definition that is the last version's makes no new
    one. Of an invalid one everything that is wrong is told, and nothing is stored.

    \b
    Examples:
      cmis workflows publish --org acme --file nurture.json
      cmis workflows publish "Nurture leads" --org acme
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if (template is None) == (path is None):
        raise InputError.of("TEMPLATE", "or --file is required, and not both", "name a workflow, or give a file")
    document = None if path is None else _read(path)
    with open_org(org_ref, user_id) as session:
        database, context = session.database, session.context
        if template is None:
            published = define_workflows.publish(database, context, document, CALLABLES)
        else:
            published = define_workflows.publish_draft(database, context, template, CALLABLES)
    _print_published(published, as_json=as_json)


@click.command("update")
@click.argument("template")
@org_command
@_file_option
def update_command(template: str, org_ref: str, user_id: str | None, as_json: bool, path: str) -> None:
    """Change one of the org's own TEMPLATEs: what is given changes, the rest stays; null takes a field away.

    Keys: name, description, category, tags, is_public, event_type, event_conditions, and definition, which is a draft
    until it is published.

    Example: cmis workflows update "Nurture leads" --org acme --file patch.json
    """
    changes = read_json("--file", path, most=MAX_FILE)
    with open_org(org_ref, user_id) as session:
        row = define_workflows.update_template(session.database, session.context, template, changes, CALLABLES)
    print_template(row, as_json=as_json)


def _read(path: str) -> Any:
    return read_json("--file", path, most=MAX_FILE)


def _print_published(published: Published, *, as_json: bool) -> None:
    if as_json:
        [shown] = rows_as_dicts([published.row])
        emit_json({**shown, "new_version": published.new})
    elif published.new:
        out.print(f"published {published.row.name}, version {published.version}", markup=False, highlight=False)
    else:
        said = f"{published.row.name}: its definition is that of version {published.version} already; no new version"
        out.print(said, markup=False, highlight=False)
