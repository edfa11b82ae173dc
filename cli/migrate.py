"""`cmis migrate`: bring the schema up to date."""

from __future__ import annotations

import click

from cli.output import out
from core.config import Settings, require
from migrations import migrate as migrations


@click.command()
@click.option("--to", "revision", default="head", show_default=True, help="Revision to upgrade to.")
@click.option("--down", help="Downgrade to this revision instead (`base` empties the schema).")
def migrate(revision: str, down: str | None) -> None:
    """Upgrade the schema at MIGRATION_DATABASE_URL, under a lock and with timeouts; safe to run twice."""
    url = require(Settings.load().migration_database_url, "MIGRATION_DATABASE_URL")
    reached = migrations.downgrade(url, down) if down else migrations.upgrade(url, revision)
    out.print(f"schema at revision {reached}")
