"""`cmis orgs`: the tenants."""

from __future__ import annotations

import click

from cli.output import emit_json, rows_as_dicts
from cli.session import json_option, open_database
from cli.tables import show_fields, show_rows
from core.db import CLI_ACTOR
from engine import define
from engine.store import orgs as store


@click.group()
def orgs() -> None:
    """Orgs: the tenants, to whom everything else belongs."""


@orgs.command("create")
@click.argument("name")
@click.option("--timezone", default="UTC", show_default=True, help="IANA zone: what the org calls a day.")
@click.option("--admin", "admin_email", metavar="EMAIL", help="Make this person, known or new, its first admin.")
@json_option
def create_command(name: str, timezone: str, admin_email: str | None, as_json: bool) -> None:
    """Create an org, with one draft rule of each template.

    Example: cmis orgs create "Acme GmbH" --timezone Europe/Berlin --admin ana@acme.example
    """
    with open_database() as database:
        row = define.create_org(database, name, timezone, admin_email, actor=CLI_ACTOR)
    [org] = rows_as_dicts([row])
    if as_json:
        emit_json(org)
    else:
        show_fields(f"Org {org['name']}", org)


@orgs.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the orgs by name.

    Example: cmis orgs list --json
    """
    with open_database() as database, database.transaction(None) as connection:
        rows = rows_as_dicts(store.list_all(connection))
    if as_json:
        emit_json(rows)
    else:
        show_rows("Orgs", rows, ["org_id", "name", "timezone", "created_at"], hint="`cmis orgs create` makes one.")
