"""`cmis orgs limits`: how much an org may deliver and have in flight, and how its destinations are."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cli.output import emit_json, out, rows_as_dicts
from cli.session import json_option, open_org, user_option
from cli.tables import show_rows
from core.errors import InputError
from engine import org_limits

if TYPE_CHECKING:
    from engine.org_limits import Limits

_COLUMNS = ["destination", "state", "failures", "not_before", "last_success_at", "last_error"]


@click.command("limits")
@click.argument("org")
@user_option
@json_option
@click.option("--deliveries", type=int, metavar="N", help="Let the org deliver N a minute.")
@click.option("--burst", type=int, metavar="N", help="How many of them at once [default: what ten seconds bring].")
@click.option(
    "--in-flight", "given", multiple=True, metavar="QUEUE=N",
    help="Let it have N tasks of a queue published or running (QUEUE=default: the deployment's cap); repeatable.",
)  # fmt: skip
@click.option("--default", "reset", is_flag=True, help="Let the deployment's rate and caps bind it again.")
def limits_command(
    org: str,
    *,
    user_id: str | None,
    as_json: bool,
    deliveries: int | None,
    burst: int | None,
    given: tuple[str, ...],
    reset: bool,
) -> None:
    """Show how much an ORG may deliver and have in flight and how its destinations are, or change it (role admin).

    What has no room in flight waits in the database, and is published as the org's tasks end.

    Example: cmis orgs limits acme --deliveries 1200 --in-flight actions=20
    """
    if reset and (given or deliveries is not None or burst is not None):
        raise InputError.of("--default", "resets all limits", "give it alone, or set one to QUEUE=default")
    caps = org_limits.no_caps() if reset else org_limits.parse_caps(given)
    with open_org(org, user_id) as session:
        found = None
        if deliveries is not None or burst is not None or reset:
            found = org_limits.change(session.database, session.context, deliveries, burst)
        if caps:
            found = org_limits.change_caps(session.database, session.context, caps)
        found = found or org_limits.show(session.database, session.context)
    _print(found, as_json=as_json)


def _print(found: Limits, *, as_json: bool) -> None:
    rate, queues, rows = found.rate, [asdict(one) for one in found.queues], rows_as_dicts(found.destinations)
    if as_json:
        emit_json({"rate": None if rate is None else asdict(rate), "queues": queues, "destinations": rows})
        return
    said = "the deployment's rate (CMIS_ORG_DELIVERIES)" if rate is None else f"{rate.per_minute}, {rate.burst} at once"
    out.print(f"deliveries a minute: {said}", highlight=False)
    shown = [one | {"cap": one["cap"] or "the deployment's (CMIS_ORG_IN_FLIGHT)"} for one in queues]
    show_rows("In flight", shown, ["queue", "in_flight", "cap"], hint="There are no queues.")
    show_rows("Destinations", rows, _COLUMNS, hint="Nothing was delivered yet.")
