"""`cmis invariants`: prove from the rows that nothing was lost, doubled or crossed."""

from __future__ import annotations

import sys

import click

from cli.output import emit_json, out
from cli.session import json_option
from core.config import Settings, require
from core.db import Database
from engine.invariants import Checked, check

VARIABLE = "READONLY_DATABASE_URL"
_SHOWN = 20


@click.command()
@click.option("--drained", is_flag=True, help="Also check that nothing is open: for a system whose work is done.")
@json_option
def invariants(drained: bool, as_json: bool) -> None:
    """Check the invariants of all orgs in one snapshot; exit 1 and the offending ids if one is broken."""
    settings = Settings.load()
    url = require(settings.readonly_database_url, VARIABLE)
    database = Database(url, variable=VARIABLE, application="cmis-invariants")
    database.check(test_clock=settings.test_clock)
    results = check(database, drained=drained)
    database.close()
    broken = [result for result in results if result.offenders]
    if as_json:
        emit_json({"ok": not broken, "checks": [_document(result) for result in results]})
    else:
        _print(results)
    sys.exit(1 if broken else 0)


def _document(result: Checked) -> dict[str, object]:
    shown = result.offenders[:_SHOWN]
    return {"name": result.name, "ok": not shown, "violations": len(result.offenders), "offenders": shown}


def _print(results: list[Checked]) -> None:
    for result in results:
        mark = "[red]BROKEN[/red]" if result.offenders else "[green]holds[/green] "
        out.print(f"{mark} {result.name}", highlight=False)
        for offender in result.offenders[:_SHOWN]:
            out.print(f"         {offender}", markup=False, highlight=False)
        if (more := len(result.offenders) - _SHOWN) > 0:
            out.print(f"         and {more} more", markup=False, highlight=False)
