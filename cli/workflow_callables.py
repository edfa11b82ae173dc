"""`cmis workflows callables`: the Python callables that steps can call, and which package brings each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.output import emit_json
from cli.session import json_option
from cli.tables import show_rows
from engine.callables.registry import callables

if TYPE_CHECKING:
    from engine.callables.base import Registered

_COLUMNS: Final = ["name", "runs", "package", "description"]
_RUNS: Final = {True: "in the worker", False: "in a process of its own"}


@click.command("callables")
@json_option
def callables_command(as_json: bool) -> None:
    """List the Python callables that steps can call, ours and those of installed packages; no database is needed.

    Example: cmis workflows callables
    """
    found = callables().values()
    if as_json:
        emit_json([_row(registered) for registered in found])
    else:
        rows = [{**_row(registered), "runs": _RUNS[registered.internal]} for registered in found]
        show_rows("Callables", rows, _COLUMNS)


def _row(registered: Registered) -> dict[str, Any]:
    return {
        "name": registered.name,
        "internal": registered.internal,
        "package": registered.package,
        "description": registered.doc,
    }
