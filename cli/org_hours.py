"""`cmis orgs business-hours`: when an org works."""

from __future__ import annotations

import click

from cli.output import emit_json, out
from cli.session import json_option, open_org, user_option
from core.errors import InputError
from engine import org_hours
from engine.schedule import business


@click.command("business-hours")
@click.argument("org")
@user_option
@json_option
@click.option("--set", "text", metavar="HOURS", help="Days and hours, such as 'mon-fri 09:00-17:00, sat 10:00-14:00'.")
@click.option("--default", "reset", is_flag=True, help="Monday to Friday, 09:00 to 17:00, again.")
def business_hours_command(org: str, *, user_id: str | None, as_json: bool, text: str | None, reset: bool) -> None:
    """Show when an ORG works, by the clock of its time zone, or change it (role admin).

    Delays of workflows that wait for business hours go by it. Days that are not named are closed.

    Example: cmis orgs business-hours acme --set "mon-thu 08:30-17:00, fri 08:30-15:00"
    """
    if text is not None and reset:
        raise InputError.of("--default", "contradicts --set", "give one of them")
    wanted = None if text is None else business.parse(text, "--set")
    with open_org(org, user_id) as session:
        if wanted is not None or reset:
            found = org_hours.change(session.database, session.context, wanted)
        else:
            found = org_hours.show(session.database, session.context)
    if as_json:
        emit_json({"business_hours": found.hours.document(), "timezone": found.timezone, "own": found.own})
    else:
        origin = "" if found.own else ", the default"
        out.print(f"{found.hours} ({found.timezone}{origin})", highlight=False)
