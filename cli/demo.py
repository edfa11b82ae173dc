"""`cmis demo`: the whole system on throw-away servers, run to its end."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import emit_json, err, out
from cli.session import json_option, open_database
from cli.tables import show_fields, show_rows
from dev import demo as demonstration

if TYPE_CHECKING:
    from dev.demo import Report

_SUMMARY = (
    "orgs", "campaigns", "rules", "jobs", "rules_evaluated", "retried", "actions_succeeded", "actions_held",
    "campaigns_paused", "budgets_changed", "notifications", "audit_rows", "seconds",
)  # fmt: skip


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def demo(context: click.Context, as_json: bool) -> None:
    """Run three synthetic orgs' due jobs on throw-away servers with real processes, and show what happened.

    Nothing of it stays. Exit 1 if anything was lost or doubled.
    """
    if context.invoked_subcommand is not None:
        return
    with err.status("starting servers, loading the demo orgs, running what is due …"):
        report = demonstration.run()
    if as_json:
        emit_json(report.document())
    else:
        _print(report)
    sys.exit(1 if any(check.offenders for check in report.invariants) else 0)


@demo.command()
def load() -> None:
    """Load the demo orgs into the database at DATABASE_URL; refused where they are there already."""
    with open_database() as database, tempfile.TemporaryDirectory(prefix="cmis-demo-") as directory:
        demonstration.load(database, Path(directory))
    err.print("the demo orgs are loaded; see `cmis orgs list`")


def _print(report: Report) -> None:
    rows = [
        row | {"outcome": row["skip_reason"] or row["status"], "effects": _counts(row["results"])}
        for row in report.executions
    ]
    columns = ("rule", "org", "timezone", "outcome", "attempt", "effects")
    show_rows("What each due job did", rows, columns)
    show_fields("In all", {key: report.summary[key] for key in _SUMMARY})
    show_fields("Executions", report.summary["executions"])
    show_fields("Skipped, by the gate that stopped them", report.summary["skipped"])
    broken = [check.name for check in report.invariants if check.offenders]
    if broken:
        out.print(f"[red]Broken invariants: {', '.join(broken)}[/red]")
    else:
        out.print(f"[green]All {len(report.invariants)} invariants hold.[/green]")


def _counts(results: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(results.items())) or "-"
