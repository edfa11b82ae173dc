"""`cmis audit`: who did what to which row, before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import limit_option, moment_at, parse_id, parse_moment
from cli.output import emit_json, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import cut, show_rows
from core import clock
from core.db import CLI_ACTOR, ENGINE_ACTOR
from core.errors import InputError
from engine.find import find_rule
from engine.store import audit as store
from models.audit_actions import AuditAction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

    from cli.session import OrgSession

_COLUMNS: Final = ["created_at", "action", "entity_type", "entity_id", "by", "before", "after", "details"]

_ACTORS: Final = {ENGINE_ACTOR: "engine", CLI_ACTOR: "command line"}


@click.group()
def audit() -> None:
    """Read the audit log: who did what to which row, before and after."""


@audit.command("list")
@org_command
@click.option("--rule", "rule_ref", metavar="RULE", help="Only about this rule (id or exact name).")
@click.option("--execution", metavar="ID", help="Only about this execution.")
@click.option("--user", metavar="ID", help="Only what this user did.")
@click.option("--action", type=click.Choice([action.value for action in AuditAction]), help="Only this action.")
@click.option("--entity", metavar="ID", help="Only about this campaign, rule, job, task …")
@click.option("--since", default="30d", show_default=True, metavar="TIME", help="7d, 12h, or a date (and time).")
@click.option("--until", metavar="TIME", help="As --since [default: now].")
@limit_option(100)
def list_command(
    *,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    limit: int,
    **wanted: str | None,
) -> None:
    """List audit entries, newest first; those of the last 30 days unless --since says otherwise.

    A time without an offset is local to the org's zone. Example: cmis audit list --org acme --action action_taken
    --since 2026-03-01
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        rows = rows_as_dicts(_read(connection, session, wanted, limit + 1))
    shown = cut([{**row, "ip": None if row["ip"] is None else str(row["ip"])} for row in rows], limit)
    if as_json:
        emit_json(shown)
    else:
        named = [{**row, "by": _ACTORS.get(row["user_id"], row["user_id"])} for row in shown]
        show_rows("Audit log", named, _COLUMNS, hint="A longer --since may show some.")


def _read(connection: Connection, session: OrgSession, wanted: dict[str, str | None], limit: int) -> Sequence[Row[Any]]:
    now, zone = clock.now(connection), session.org.timezone
    since, until = (
        moment_at(parse_moment(f"--{name}", text, zone), now) if (text := wanted[name]) else now
        for name in ("since", "until")
    )
    if since > until:
        raise InputError.of("--until", "is before --since", "give a later --until or an earlier --since")
    matching = _matching(connection, session, wanted)
    return store.listing(connection, session.org.org_id, since=since, until=until, matching=matching, limit=limit)


def _matching(connection: Connection, session: OrgSession, wanted: dict[str, str | None]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "execution_id": parse_id("--execution", wanted["execution"]),
        "user_id": parse_id("--user", wanted["user"]),
        "entity_id": parse_id("--entity", wanted["entity"]),
        "action": wanted["action"],
    }
    rule = wanted["rule_ref"]
    if rule is not None:
        columns["rule_id"] = find_rule(connection, session.org.org_id, rule, "--rule").rule_id
    return {column: value for column, value in columns.items() if value is not None}
