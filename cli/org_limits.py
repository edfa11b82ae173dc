"""`cmis orgs limits`: how many deliveries an org may make, and how its destinations are."""

from __future__ import annotations

from dataclasses import asdict

import click

from cli.output import emit_json, out, rows_as_dicts
from cli.session import json_option, open_org, user_option
from cli.tables import show_rows
from engine import org_limits

_COLUMNS = ["destination", "state", "failures", "not_before", "last_success_at", "last_error"]


@click.command("limits")
@click.argument("org")
@user_option
@json_option
@click.option("--deliveries", type=int, metavar="N", help="Let the org deliver N a minute.")
@click.option("--burst", type=int, metavar="N", help="How many of them at once [default: what ten seconds bring].")
@click.option("--default", "reset", is_flag=True, help="Let the deployment's rate bind it again.")
def limits_command(
    org: str, *, user_id: str | None, as_json: bool, deliveries: int | None, burst: int | None, reset: bool
) -> None:
    """Show how many deliveries an ORG may make and how its destinations are, or change its rate (role admin).

    Example: cmis orgs limits acme --deliveries 1200
    """
    with open_org(org, user_id) as session:
        if deliveries is not None or burst is not None or reset:
            found = org_limits.change(session.database, session.context, deliveries, burst)
        else:
            found = org_limits.show(session.database, session.context)
    rows = rows_as_dicts(found.destinations)
    if as_json:
        emit_json({"rate": None if found.rate is None else asdict(found.rate), "destinations": rows})
        return
    rate = found.rate
    said = "the deployment's rate (CMIS_ORG_DELIVERIES)" if rate is None else f"{rate.per_minute}, {rate.burst} at once"
    out.print(f"deliveries a minute: {said}", highlight=False)
    show_rows("Destinations", rows, _COLUMNS, hint="Nothing was delivered yet.")
