"""`cmis orgs`: the tenants."""

from __future__ import annotations

from dataclasses import asdict

import click

from cli.arguments import parse_json
from cli.org_hours import business_hours_command
from cli.org_limits import limits_command
from cli.org_members import members_command
from cli.output import emit_json, rows_as_dicts
from cli.session import json_option, open_database, open_org, user_option
from cli.tables import show_fields, show_rows
from core.db import CLI_ACTOR
from core.errors import InputError
from engine import define, org_guardrails
from engine.rules.guardrails import NAMES
from engine.rules.reading import shown
from engine.store import campaigns
from engine.store import orgs as store


@click.group()
def orgs() -> None:
    """Orgs: the tenants, to whom everything else belongs."""


orgs.add_command(business_hours_command)
orgs.add_command(limits_command)
orgs.add_command(members_command)


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


@orgs.command("guardrails")
@click.argument("org")
@user_option
@json_option
@click.option("--set", "given", metavar="NAME=VALUE", multiple=True, help=f"Bound it: {', '.join(NAMES)}.")
@click.option("--unset", metavar="NAME", multiple=True, type=click.Choice(NAMES), help="Take a bound away.")
@click.option("--never-touch", metavar="CAMPAIGN", multiple=True, help="Let no automation change it (id or name).")
@click.option("--touch", metavar="CAMPAIGN", multiple=True, help="Let automation change it again.")
def guardrails_command(
    org: str,
    user_id: str | None,
    as_json: bool,
    given: tuple[str, ...],
    unset: tuple[str, ...],
    never_touch: tuple[str, ...],
    touch: tuple[str, ...],
) -> None:
    """Show what binds all rules of an ORG, the product's defaults included, or change it. Needs the role admin.

    A rule's own guardrails can only be stricter. The database enforces them, whoever writes.

    Example: cmis orgs guardrails acme --set max_change_pct=20 --set max_daily_net_change=500 --never-touch "Brand"
    """
    bounds: dict[str, object] = dict.fromkeys(unset) | dict(map(_bound, given))
    with open_org(org, user_id) as session:
        if bounds or never_touch or touch:
            wanted = org_guardrails.Change(bounds, never_touch, touch)
            found = org_guardrails.change(session.database, session.context, wanted)
        else:
            found = org_guardrails.show(session.database, session.context)
        with session.database.transaction(session.context) as connection:
            named = campaigns.names(connection, session.org.org_id, found.never_touch)
    if as_json:
        emit_json(asdict(found))
        return
    rows = [{"guardrail": name, "bound": found.binding.get(name), "from": _origin(name, found)} for name in NAMES]
    show_rows(f"Guardrails of {session.org.name}", rows, ["guardrail", "bound", "from"])
    untouched = [{"campaign_id": one, "name": named.get(one)} for one in found.never_touch]
    show_rows("Never touched", untouched, ["campaign_id", "name"])


def _bound(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError.of("--set", f"{shown(text)} is no NAME=VALUE", "write budget_floor=5")
    return name, parse_json(f"--set {name}", value, exact=True)


def _origin(name: str, found: org_guardrails.Bounds) -> str:
    return "org" if name in found.own else "default" if name in found.binding else "-"


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
