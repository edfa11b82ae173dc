"""`cmis workflows archive|activate|share|clone`: who may use a template, and copies of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.output import emit_json, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import show_rows
from cli.workflow_show import print_template
from engine import clone_workflows, define_workflows
from models.workflow_enums import TemplateStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLUMNS: Final = ["template_id", "name", "status", "is_public", "version", "active_instances"]


@click.command("archive")
@click.argument("templates", nargs=-1, required=True, metavar="TEMPLATE...")
@org_command
def archive_command(templates: tuple[str, ...], org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Let no more instances be started of the org's own TEMPLATEs; those that run go on.

    Example: cmis workflows archive "Nurture leads" --org acme
    """
    _switch(templates, org_ref, user_id, {"status": TemplateStatus.ARCHIVED.value}, as_json=as_json)


@click.command("activate")
@click.argument("templates", nargs=-1, required=True, metavar="TEMPLATE...")
@org_command
def activate_command(templates: tuple[str, ...], org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Bring archived TEMPLATEs back, with the version that was published last; without one it is a draft again.

    Example: cmis workflows activate "Nurture leads" --org acme
    """
    _switch(templates, org_ref, user_id, {"status": TemplateStatus.ACTIVE.value}, as_json=as_json)


@click.command("share")
@click.argument("templates", nargs=-1, required=True, metavar="TEMPLATE...")
@org_command
@click.option("--off", is_flag=True, help="Show them to nobody else any more.")
def share_command(templates: tuple[str, ...], org_ref: str, user_id: str | None, as_json: bool, off: bool) -> None:
    """Show the org's own TEMPLATEs to all other orgs, while they are active: read-only, to be cloned.

    Secrets are named in them and never shown. Clones stay with who made them.

    Example: cmis workflows share "Nurture leads" --org acme
    """
    _switch(templates, org_ref, user_id, {"is_public": not off}, as_json=as_json)


@click.command("clone")
@click.argument("template")
@org_command
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="Copy version N; default: the last one.")
@click.option("--name", help="Of the copy; default: the same, or one that says that it is a copy.")
def clone_command(
    template: str, org_ref: str, user_id: str | None, as_json: bool, version: int | None, name: str | None
) -> None:
    """Make a draft of a published TEMPLATE: one of the org's own, or one that another org shows to all.

    Example: cmis workflows clone "Nurture leads" --org acme --name "Nurture leads in Spain"
    """
    with open_org(org_ref, user_id) as session:
        row = clone_workflows.clone_template(session.database, session.context, template, version=version, name=name)
    print_template(row, as_json=as_json)


def _switch(
    templates: tuple[str, ...], org_ref: str, user_id: str | None, columns: Mapping[str, Any], *, as_json: bool
) -> None:
    with open_org(org_ref, user_id) as session:
        rows = rows_as_dicts(define_workflows.switch(session.database, session.context, templates, columns))
    if as_json:
        emit_json(rows)
    else:
        show_rows("Workflows", rows, _COLUMNS)
