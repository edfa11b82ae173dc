"""`cmis retention`: how many months of what happened are kept; for the owner of a deployment."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from cli.output import emit_json, out, rows_as_dicts
from cli.session import json_option
from cli.tables import show_rows
from core.config import Settings, require
from core.db import Database
from engine.retention import changed, shortened
from engine.store import retention as store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

VARIABLE = "MIGRATION_DATABASE_URL"
_COLUMNS = ("relation", "months", "kept_from", "partitions", "size")


@click.group()
def retention() -> None:
    """How many months of what happened are kept. Needs MIGRATION_DATABASE_URL."""


@retention.command("show")
@json_option
def show_command(as_json: bool) -> None:
    """Show what is kept for how long, since when nothing older may be there, and how large it is."""
    with _administrator() as connection:
        rows = rows_as_dicts(store.tables(connection))
    if as_json:
        emit_json(rows)
    else:
        show_rows("Retention", rows, _COLUMNS)


@retention.command("set")
@click.option("--work", "work_months", type=int, metavar="MONTHS", help="Executions, effects, attempts, planned times.")
@click.option("--workflows", "workflow_months", type=int, metavar="MONTHS", help="Runs of workflows, from their end.")
@click.option("--audit", "audit_months", type=int, metavar="MONTHS", help="The audit log; never less than the others.")
@click.option("--yes", is_flag=True, help="Do not ask before less is kept than was.")
@json_option
def set_command(yes: bool, as_json: bool, **wanted: int | None) -> None:
    """Change how many whole months are kept besides the present one; what is older goes with the next maintenance."""
    with _administrator() as connection:
        before = dict(store.settings(connection)._mapping)  # noqa: SLF001 - SQLAlchemy's documented accessor
        after = changed(before, wanted)
    less = shortened(before, after)
    if less and not yes:
        click.confirm(
            f"{', '.join(less)}: what is older is deleted for good within the hour. Go on?", abort=True, err=True
        )
    with _administrator() as connection:
        store.change(connection, after)
    if as_json:
        emit_json(after)
    else:
        kept = ", ".join(f"{name.removesuffix('_months')} {months}" for name, months in after.items())
        out.print(f"months kept: {kept}", highlight=False)


@contextmanager
def _administrator() -> Iterator[Connection]:
    url = require(Settings.load().migration_database_url, VARIABLE)
    database = Database(url, variable=VARIABLE, application="cmis-retention", pool_size=1)
    try:
        with database.transaction(None) as connection:
            yield connection
    finally:
        database.close()
