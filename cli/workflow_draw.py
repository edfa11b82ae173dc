"""`cmis workflows draw`: a workflow as a picture, or as Mermaid's text of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli.arguments import parse_id, read_json
from cli.output import err
from cli.session import open_org, user_option
from cli.tables import plain
from cli.workflow_define import MAX_FILE
from core.errors import InputError
from engine import draw_workflows
from engine.workflows.drawing.mermaid import mermaid
from engine.workflows.drawing.svg import svg

if TYPE_CHECKING:
    from engine.draw_workflows import Drawn

_STDOUT: Final = "-"


@click.command("draw")
@click.argument("template", required=False)
@click.option("--org", "org_ref", envvar="CMIS_ORG", help="Org, by name or id; not needed for a --file.")
@user_option
@click.option("--file", "path", metavar="FILE", help="Draw the workflow, or definition, of a JSON file; - is stdin.")
@click.option(
    "--instance", metavar="ID", help="Draw what an instance runs, its steps in the colours of their statuses."
)
@click.option("--version", type=click.IntRange(min=1), metavar="N", help="Draw version N [default: the last one].")
@click.option("--svg", "picture", metavar="PATH", help="Write an SVG instead of Mermaid; - is stdout.")
def draw_command(
    template: str | None,
    org_ref: str | None,
    user_id: str | None,
    path: str | None,
    instance: str | None,
    version: int | None,
    picture: str | None,
) -> None:
    """Draw a TEMPLATE, a file or an instance: as a Mermaid flowchart on stdout, or as an SVG that stands alone.

    \b
    Examples:
      cmis workflows draw --file nurture.json
      cmis workflows draw "Nurture leads" --org acme --svg nurture.svg
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if sum(given is not None for given in (template, path, instance)) != 1:
        raise InputError.of("TEMPLATE", "or --file or --instance is required, and only one", "say what to draw")
    if version is not None and template is None:
        raise InputError.of("--version", "belongs to a TEMPLATE", "leave it out")
    drawn = _in_org(org_ref, user_id, template, instance, version) if path is None else _of_file(path)
    if picture is None:
        click.echo(mermaid(drawn.definition, drawn.statuses), nl=False)
    else:
        _write(picture, svg(drawn.definition, drawn.statuses, drawn.title))


def _of_file(path: str) -> Drawn:
    return draw_workflows.of_document(read_json("--file", path, most=MAX_FILE))


def _in_org(
    org_ref: str | None, user_id: str | None, template: str | None, instance: str | None, version: int | None
) -> Drawn:
    if org_ref is None:
        raise InputError.of("--org", "is required", "name the org, or set CMIS_ORG")
    instance_id = parse_id("--instance", instance)
    with open_org(org_ref, user_id) as session:
        if instance_id is not None:
            return draw_workflows.of_instance(session.database, session.context, instance_id)
        return draw_workflows.of_template(session.database, session.context, str(template), version)


def _write(path: str, picture: str) -> None:
    if path == _STDOUT:
        click.echo(picture, nl=False)
        return
    try:
        Path(path).write_text(picture, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError.of("--svg", f"{path} cannot be written: {reason}", "name another file") from error
    err.print(f"drawn: {plain(path)}", highlight=False, soft_wrap=True)
