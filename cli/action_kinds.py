"""`cmis actions kinds`: what rules can do, and which package brings it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

import click

from cli.output import emit_json
from cli.session import json_option
from cli.tables import show_rows
from engine.actions.registry import kinds

if TYPE_CHECKING:
    from engine.actions.packages import Kind

_COLUMNS: Final = ["name", "aliases", "reversible", "package", "description"]


@click.command("kinds")
@json_option
def kinds_command(as_json: bool) -> None:
    """List the kinds of action that rules can use, ours and those of installed packages; no database is needed.

    Example: cmis actions kinds
    """
    rows = [_row(kind) for kind in kinds().values()]
    if as_json:
        emit_json(rows)
    else:
        shown = {True: "yes", False: "no"}
        texts = [{"aliases": ", ".join(row["aliases"]), "reversible": shown[row["reversible"]]} for row in rows]
        show_rows("Kinds of action", [row | text for row, text in zip(rows, texts, strict=True)], _COLUMNS)


def _row(kind: Kind) -> dict[str, Any]:
    action = kind.action
    return {
        "name": action.name,
        "aliases": list(action.aliases),
        "reversible": action.reversible,
        "idempotent": action.idempotent,
        "package": kind.package,
        "description": (inspect.getdoc(type(action)) or "").partition("\n")[0],
    }
