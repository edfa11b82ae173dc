"""`cmis campaigns`: what rules read and change."""

from __future__ import annotations

from typing import Final

import click

from cli.arguments import limit_option
from cli.output import emit_json, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import cut, show_rows
from engine.store import campaigns as store
from models.enums import CampaignStatus

_COLUMNS: Final = ["campaign_id", "name", "platform", "status", "budget", "budget_type", "currency"]


@click.group()
def campaigns() -> None:
    """Campaigns: what rules read and change."""


@campaigns.command("list")
@org_command
@click.option("--status", type=click.Choice([status.value for status in CampaignStatus]), help="Only of this status.")
@limit_option(1_000)
def list_command(org_ref: str, user_id: str | None, as_json: bool, status: str | None, limit: int) -> None:
    """List an org's campaigns by name.

    Example: cmis campaigns list --org acme --status paused
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        rows = store.listing(connection, session.org.org_id, status=status, limit=limit + 1)
    shown = cut(rows_as_dicts(rows), limit)
    if as_json:
        emit_json(shown)
    else:
        show_rows("Campaigns", shown, _COLUMNS, hint="`cmis metrics import` brings some in.")
