"""`cmis campaigns`: what rules read and change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import limit_option
from cli.output import emit_json, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import cut, show_fields, show_rows
from engine.change_campaigns import Change, change_campaign
from engine.find import find_campaign
from engine.store import campaigns as store
from models.enums import BudgetType, CampaignStatus

if TYPE_CHECKING:
    from sqlalchemy import Row

_COLUMNS: Final = ["campaign_id", "name", "platform", "status", "budget", "budget_type", "currency"]


@click.group()
def campaigns() -> None:
    """Campaigns: what rules read and change. CAMPAIGN is an id or an exact name."""


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


@campaigns.command("show")
@click.argument("campaign")
@org_command
def show_command(campaign: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Show one CAMPAIGN with all its columns.

    Example: cmis campaigns show "Spring sale" --org acme --json
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        row = find_campaign(connection, session.org.org_id, campaign, "CAMPAIGN")
    _show(row, as_json=as_json)


@campaigns.command("update")
@click.argument("campaign")
@org_command
@click.option("--status", type=click.Choice([status.value for status in CampaignStatus]), help="What it is now.")
@click.option("--budget", metavar="AMOUNT", help="In the campaign's currency; an import brings none.")
@click.option("--budget-type", type=click.Choice([one.value for one in BudgetType]), help="What the budget is for.")
@click.option("--bid", metavar="AMOUNT", help="In the campaign's currency.")
def update_command(
    campaign: str,
    *,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    status: str | None,
    budget: str | None,
    budget_type: str | None,
    bid: str | None,
) -> None:
    """Change a CAMPAIGN by hand: give what is to be different, the rest stays. Needs the role operator.

    The org's guardrails bind people, too, and the audit log has who changed what.

    Example: cmis campaigns update "Spring sale" --org acme --budget 120 --budget-type daily
    """
    wanted = Change(
        status=None if status is None else CampaignStatus(status),
        budget=budget,
        budget_type=None if budget_type is None else BudgetType(budget_type),
        bid_amount=bid,
    )
    with open_org(org_ref, user_id) as session:
        row = change_campaign(session.database, session.context, campaign, wanted)
    _show(row, as_json=as_json)


def _show(row: Row[Any], *, as_json: bool) -> None:
    [told] = rows_as_dicts([row])
    if as_json:
        emit_json(told)
    else:
        show_fields(f"Campaign {told['name']}", told)
