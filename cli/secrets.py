"""`cmis secrets`: values that rules, connectors and workflows name. They come by stdin or a hidden prompt."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from cli.output import emit_json, err, out, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import show_fields, show_rows
from core.config import Settings
from core.errors import InputError
from engine import keep_secrets
from engine.secrets.sealing import Keys

if TYPE_CHECKING:
    from sqlalchemy import Row

    from engine.keep_secrets import Kept

_NAMING: Final = ("rules", "connectors", "workflows")
_COLUMNS: Final = ["name", "key_id", "created_at", "updated_at", *_NAMING]
_REFUSED: Final = 2


@click.group()
def secrets() -> None:
    """Secrets: values that params name as secret://NAME. They are stored encrypted and never shown."""


@secrets.command("set", context_settings={"allow_extra_args": True})
@click.argument("name")
@org_command
@click.pass_context
def set_command(context: click.Context, name: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Give the secret NAME a value, new or another one: one line of 1 to 8192 bytes. Needs the role editor.

    The value is read from stdin, without the line break at its end, or asked for where stdin is a terminal. It is no
    argument: those can be read by others in the list of processes, and stay in the shell's history.

    Example: cmis secrets set slack_url --org acme < slack_url.txt
    """
    if context.args:
        message = "a value stands on the command line, where others can read it; it is to be changed at its source"
        raise InputError.of("value", message, f"give it on stdin: `cmis secrets set {name} < FILE`")
    value = _read_value()
    keys = Keys.load(Settings.load())
    with open_org(org_ref, user_id) as session:
        row = keep_secrets.set_secret(session.database, session.context, keys, name, value)
    _show(row, as_json=as_json)


@secrets.command("generate")
@click.argument("name")
@org_command
@click.option("--show-once", is_flag=True, help="Print the value, for the receiver; there is no other time.")
@click.option("--replace", is_flag=True, help="Give a secret that has a value another one.")
def generate_command(
    name: str, org_ref: str, user_id: str | None, as_json: bool, show_once: bool, replace: bool
) -> None:
    """Make a secret that signs webhooks (Standard Webhooks: whsec_..., 32 random bytes). Needs the role editor.

    Who receives the webhooks needs the value to verify the signatures: --show-once prints it, alone on stdout, or in
    the JSON. It cannot be read again. Without that nobody gets to know it, and nobody can verify.

    Example: cmis secrets generate webhook_signing --org acme --show-once
    """
    keys = Keys.load(Settings.load())
    with open_org(org_ref, user_id) as session:
        row, value = keep_secrets.generate_secret(session.database, session.context, keys, name, replace=replace)
    if not show_once:
        _show(row, as_json=as_json)
    elif as_json:
        emit_json(_told(row) | {"value": value.reveal()})
    else:
        click.echo(value.reveal())
        err.print("shown this once: give it to the receiver", highlight=False)


@secrets.command("list")
@org_command
def list_command(org_ref: str, user_id: str | None, as_json: bool) -> None:
    """List an org's secrets by name: which key encrypts each, since when it has its value, and what names it.

    Rules that are archived are left out. No value is shown.

    Example: cmis secrets list --org acme
    """
    with open_org(org_ref, user_id) as session:
        rows = [_told_whole(kept) for kept in keep_secrets.list_secrets(session.database, session.context)]
    if as_json:
        emit_json(rows)
    else:
        shown = [row | {key: ", ".join(row[key]) or None for key in _NAMING} for row in rows]
        show_rows("Secrets", shown, _COLUMNS, hint="`cmis secrets set NAME` stores one.")


@secrets.command("delete")
@click.argument("name")
@org_command
def delete_command(name: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Erase the value of the secret NAME. Needs the role editor.

    Rules, connectors and workflows that name it stay; what they deliver is refused until the name has a value again.

    Example: cmis secrets delete slack_url --org acme
    """
    with open_org(org_ref, user_id) as session:
        kept = keep_secrets.delete_secret(session.database, session.context, name)
    if as_json:
        emit_json(_told_whole(kept))
        return
    out.print(f"deleted {kept.row.name}", markup=False, highlight=False)
    for noun, names in (("rule", kept.rules), ("connector", kept.connectors), ("workflow", kept.workflows)):
        for one in names:
            err.print(f"warning: the {noun} {one!r} names it", markup=False, highlight=False)


@secrets.command("rotate")
@org_command
def rotate_command(org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Encrypt all secrets of an org with the first key of CMIS_SECRET_KEYS. Needs the role editor.

    Values stay as they are. It can be repeated; one that does not open is left, told, and makes the exit code 2.

    Example: cmis secrets rotate --org acme
    """
    keys = Keys.load(Settings.load())
    with open_org(org_ref, user_id) as session:
        rotated = keep_secrets.rotate_secrets(session.database, session.context, keys)
    if as_json:
        emit_json({"key_id": rotated.key_id, "rotated": rotated.count, "failed": rotated.failed})
    else:
        out.print(f"{rotated.count} encrypted anew with the key {rotated.key_id}", markup=False, highlight=False)
        for reason in rotated.failed.values():
            err.print(f"warning: {reason}", markup=False, highlight=False, soft_wrap=True)
    if rotated.failed:
        sys.exit(_REFUSED)


def _read_value() -> str:
    """Return the value from stdin or a prompt that shows nothing; no message holds any of it."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    content = sys.stdin.buffer.read(keep_secrets.MAX_BYTES + 3)  # a line break of two, and one byte too many
    content = content.removesuffix(b"\n").removesuffix(b"\r")
    if len(content) > keep_secrets.MAX_BYTES:
        raise InputError.of("value", f"has more than {keep_secrets.MAX_BYTES} bytes", "give a shorter one")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InputError.of("value", "is no UTF-8 text", "encode it, for example as base64") from None


def _show(row: Row[Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(_told(row))
    else:
        show_fields(f"Secret {row.name}", _told(row))


def _told(row: Row[Any]) -> dict[str, Any]:
    [told] = rows_as_dicts([row])
    return told


def _told_whole(kept: Kept) -> dict[str, Any]:
    return _told(kept.row) | {key: list(getattr(kept, key)) for key in _NAMING}
