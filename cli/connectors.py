"""`cmis connectors`: where an org's campaign changes are pushed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.output import emit_json, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import show_fields, show_rows
from core.errors import InputError
from engine.connectors import CLEARABLE, SIGNING_SECRET, create_connector, switch_connector, update_connector
from engine.find import find_connector
from engine.store import connectors as store
from models.enums import ConnectorStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Row

_COLUMNS: Final = ["connector_id", "name", "platform", "url", "status", "verifies", "rate_per_minute", "burst"]
_CLEARABLE: Final = {column.replace("_", "-"): column for column in CLEARABLE}


def _connector_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what a connector is made of besides its name and URL."""
    for option in (
        click.option("--burst", type=int, help="How many may be sent at once before the rate counts."),
        click.option("--rate-per-minute", type=int, help="How many changes it takes a minute [default: 60]."),
        click.option(
            "--verifies/--no-verifies", default=None, help="Whether it can be asked by GET if a change arrived."
        ),
        click.option("--platform", help="Only changes of campaigns of this platform [default: of all]."),
        click.option("--signing-secret", metavar="REFERENCE", help=f"What signs them [default: {SIGNING_SECRET}]."),
    ):
        function = option(function)
    return function


@click.group()
def connectors() -> None:
    """Connectors: where campaign changes are pushed to. CONNECTOR is an id or an exact name."""


@connectors.command("create")
@click.argument("name")
@org_command
@click.option("--url", required=True, metavar="URL", help="https://…, or secret://NAME if the URL is secret.")
@_connector_options
def create_command(*, org_ref: str, user_id: str | None, as_json: bool, **given: Any) -> None:
    """Push the org's campaign changes to a URL from now on. Needs the role editor.

    \b
    Example:
      cmis connectors create "Ads bridge" --org acme --url https://bridge.acme.example/changes --platform google
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    with open_org(org_ref, user_id) as session:
        row = create_connector(session.database, session.context, _given(given))
    _show(row, as_json=as_json)


@connectors.command("list")
@org_command
@click.option("--status", type=click.Choice([status.value for status in ConnectorStatus]), help="Only of this status.")
def list_command(org_ref: str, user_id: str | None, as_json: bool, status: str | None) -> None:
    """List an org's connectors by name; archived ones only when asked for.

    Example: cmis connectors list --org acme --status paused
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        rows = rows_as_dicts(store.listing(connection, session.org.org_id, status=status))
    if as_json:
        emit_json(rows)
    else:
        show_rows("Connectors", rows, _COLUMNS, hint="`cmis connectors create` makes one.")


@connectors.command("show")
@click.argument("connector")
@org_command
def show_command(connector: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Show one CONNECTOR with all its columns.

    Example: cmis connectors show "Ads bridge" --org acme --json
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        row = find_connector(connection, session.org.org_id, connector, "CONNECTOR")
    _show(row, as_json=as_json)


@connectors.command("update")
@click.argument("connector")
@org_command
@click.option("--name", help="What it is called.")
@click.option("--url", metavar="URL", help="https://…, or secret://NAME.")
@_connector_options
@click.option("--clear", multiple=True, type=click.Choice(list(_CLEARABLE)), help="Take this value away.")
def update_command(
    connector: str, *, org_ref: str, user_id: str | None, as_json: bool, clear: tuple[str, ...], **given: Any
) -> None:
    """Change a CONNECTOR: give what is to be different, the rest stays. Needs the role editor.

    What is on its way already goes to where it points then.

    Example: cmis connectors update "Ads bridge" --org acme --rate-per-minute 300 --clear platform
    """
    changes = _given(given)
    for name in clear:
        if _CLEARABLE[name] in changes:
            raise InputError.of("--clear", f"{name} is also given a value", "give one of them")
    cleared = {_CLEARABLE[name]: None for name in clear}
    with open_org(org_ref, user_id) as session:
        row = update_connector(session.database, session.context, connector, changes | cleared)
    _show(row, as_json=as_json)


@connectors.command("pause")
@click.argument("connector")
@org_command
def pause_command(connector: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Send a CONNECTOR nothing until it is activated again. Needs the role editor.

    What is queued for it waits, a day at most; what changes meanwhile is not pushed to it.

    Example: cmis connectors pause "Ads bridge" --org acme
    """
    _switch(connector, org_ref, user_id, ConnectorStatus.PAUSED, as_json=as_json)


@connectors.command("activate")
@click.argument("connector")
@org_command
def activate_command(connector: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Push changes to a paused CONNECTOR again: what waits, and what changes from now on. Needs the role editor.

    Example: cmis connectors activate "Ads bridge" --org acme
    """
    _switch(connector, org_ref, user_id, ConnectorStatus.ACTIVE, as_json=as_json)


@connectors.command("archive")
@click.argument("connector")
@org_command
def archive_command(connector: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Put a CONNECTOR away for good; what is queued for it is discarded. Needs the role editor.

    Example: cmis connectors archive "Ads bridge" --org acme
    """
    _switch(connector, org_ref, user_id, ConnectorStatus.ARCHIVED, as_json=as_json)


def _switch(connector: str, org_ref: str, user_id: str | None, status: ConnectorStatus, *, as_json: bool) -> None:
    with open_org(org_ref, user_id) as session:
        row = switch_connector(session.database, session.context, connector, status)
    _show(row, as_json=as_json)


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _show(row: Row[Any], *, as_json: bool) -> None:
    [told] = rows_as_dicts([row])
    if as_json:
        emit_json(told)
    else:
        show_fields(f"Connector {told['name']}", told)
