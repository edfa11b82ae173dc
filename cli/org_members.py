"""`cmis orgs members`: who belongs to an org, and as what."""

from __future__ import annotations

import click

from cli.output import emit_json, rows_as_dicts
from cli.session import json_option, open_org, user_option
from cli.tables import show_rows
from core.errors import InputError
from engine import org_members


@click.command("members")
@click.argument("org")
@user_option
@json_option
@click.option(
    "--set", "given", metavar="EMAIL=ROLE", multiple=True,
    help="Make this person, known or new, viewer, operator, editor or admin; repeatable.",
)  # fmt: skip
@click.option("--remove", metavar="EMAIL", multiple=True, help="Let this person be no member any more; repeatable.")
def members_command(
    org: str, *, user_id: str | None, as_json: bool, given: tuple[str, ...], remove: tuple[str, ...]
) -> None:
    """Show the members of an ORG with their ids (for --as) and roles, or change them (role admin).

    Each role may what those before it may: viewer, operator, editor, admin. What a member did stays on record.

    Example: cmis orgs members acme --set ben@acme.example=operator
    """
    roles = org_members.parse(given)
    if twice := sorted(set(remove) & set(roles)):
        raise InputError.of("--remove", f"{twice[0]} is given a role, too", "give one of them")
    roles |= dict.fromkeys(remove)
    with open_org(org, user_id) as session:
        if roles:
            rows = rows_as_dicts(org_members.change(session.database, session.context, roles))
        else:
            rows = rows_as_dicts(org_members.show(session.database, session.context))
    if as_json:
        emit_json(rows)
    else:
        hint = "`cmis orgs members ORG --set EMAIL=admin` makes the first."
        show_rows(f"Members of {org}", rows, ["user_id", "email", "role", "created_at"], hint=hint)
