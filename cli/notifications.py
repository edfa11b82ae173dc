"""`cmis notifications`: what rules told the people of an org, and what they have read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import limit_option, moment_at, parse_id, parse_moment
from cli.output import emit_json, out, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import cut, show_rows
from core import clock
from core.errors import InputError
from engine import notifications as reading
from engine.store import campaigns, rules
from engine.store import notifications as store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

_DIGEST: Final = ["notification_id", "read", "count", "title", "campaigns", "rule", "last_at"]
_EACH: Final = ["notification_id", "read", "title", "body", "campaign", "rule", "created_at"]


@click.group()
def notifications() -> None:
    """Read what rules told the people of an org in the product. ID is what the list shows."""


@notifications.command("list")
@org_command
@click.option("--unread", is_flag=True, help="Only what nobody has read.")
@click.option("--each", is_flag=True, help="One by one [default: what one action of a rule told on a day in one line].")
@click.option("--since", default="30d", show_default=True, metavar="TIME", help="7d, 12h, or a date (and time).")
@limit_option(100)
def list_command(
    org_ref: str, user_id: str | None, *, as_json: bool, unread: bool, each: bool, since: str, limit: int
) -> None:
    """List notifications, newest first; a day is the org's.

    \b
    Examples: cmis notifications list --org acme --unread
              cmis notifications list --org acme --each --since 12h
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        start = moment_at(parse_moment("--since", since, session.org.timezone), clock.now(connection))
        wanted: dict[str, Any] = {"since": start, "unread": unread, "limit": limit + 1}
        if each:
            rows = rows_as_dicts(store.listing(connection, session.org.org_id, **wanted))
        else:
            rows = rows_as_dicts(reading.digest(connection, session.context, **wanted))
        told = _named(connection, session.org.org_id, cut(rows, limit))
    if as_json:
        emit_json(told)
    elif each:
        show_rows("Notifications", [{**one, "read": _yes(one["read_at"])} for one in told], _EACH, hint=_hint(unread))
    else:
        show_rows("Notifications", [_line(one) for one in told], _DIGEST, hint=_hint(unread))


@notifications.command("read")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@org_command
@click.option("--all", "everything", is_flag=True, help="All that is there.")
@click.option("--each", is_flag=True, help="Only the IDs themselves, not the lines that they stand for.")
def read_command(
    ids: tuple[str, ...], *, org_ref: str, user_id: str | None, as_json: bool, everything: bool, each: bool
) -> None:
    """Mark as read: IDs, each with all of its line in the list, or --all. What came after the list stays unread.

    \b
    Examples: cmis notifications read 01980000-0000-7000-8000-000000000000 --org acme
              cmis notifications read --all --org acme
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if bool(ids) == everything:
        raise InputError.of("ID", "needs either IDs or --all", "give the ids that the list shows, or --all")
    given = [one for one in (parse_id("ID", text) for text in ids) if one is not None]
    with open_org(org_ref, user_id) as session:
        if everything:
            count = reading.mark_all_read(session.database, session.context)
        else:
            count = reading.mark_read(session.database, session.context, given, each=each)
    if as_json:
        emit_json({"read": count})
    else:
        out.print(f"{count} marked as read", highlight=False)


def _named(connection: Connection, org_id: UUID, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add the names of the rule and, where there is one campaign, of it."""
    of_rules = rules.names(connection, org_id)
    ids = list({row["entity_id"] for row in rows if row.get("entity_id") is not None})
    of_campaigns = campaigns.names(connection, org_id, ids) if ids else {}
    return [{**row, "rule": of_rules.get(row["rule_id"]), **_campaign(row, of_campaigns)} for row in rows]


def _campaign(row: Mapping[str, Any], names: Mapping[UUID, str]) -> dict[str, Any]:
    return {"campaign": names.get(row["entity_id"])} if "entity_id" in row else {}


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a digest as a line: how many, and the first of the campaigns by name."""
    names = row["campaigns"] or []
    more = row["entities"] - len(names)
    rest = f"and {more:,} more" if names else f"{more:,} campaigns"
    told = ", ".join([*names, *([rest] if more > 0 else [])])
    return {**row, "read": "yes" if row["read"] else "no", "count": row["notifications"], "campaigns": told or None}


def _yes(read_at: object) -> str:
    return "no" if read_at is None else "yes"


def _hint(unread: bool) -> str:
    return "Leave --unread out to see what was read." if unread else "A longer --since may show some."
