"""`cmis secrets`: values that params name as `secret://NAME`; they go in here, and come out nowhere."""

from __future__ import annotations

import sys

import click

from cli.output import emit_json, out, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import show_rows
from core.config import Settings
from engine import keep_secrets
from engine.secrets.sealing import Keys


@click.group()
def secrets() -> None:
    """Secrets of an org, encrypted at rest by CMIS_SECRET_KEYS. Params name one as secret://NAME."""


def _keys() -> Keys:
    return Keys.parse(Settings.load().secret_keys)


@secrets.command("set")
@click.argument("name")
@org_command
def set_command(name: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Give NAME a value, in place of any it has: from standard input, or asked for. Needs the role editor.

    \b
    Example: cmis secrets set slack_sales --org acme < url.txt
    A line's end after the value is not part of it.
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    keys = _keys()
    value = click.prompt("value", hide_input=True) if sys.stdin.isatty() else sys.stdin.read()
    value = value.removesuffix("\n").removesuffix("\r")
    with open_org(org_ref, user_id) as session:
        new = keep_secrets.put(session.database, session.context, keys, name, value)
    _told(name, "is set" if new else "has another value now", as_json=as_json, new=new)


@secrets.command("generate")
@click.argument("name")
@org_command
@click.option(
    "--show-once", is_flag=True, help="Print the value: who verifies signatures needs it. It is never shown again."
)
def generate_command(name: str, org_ref: str, user_id: str | None, as_json: bool, show_once: bool) -> None:
    """Make a secret to sign webhooks with (Standard Webhooks, whsec_…). Needs the role editor.

    Example: cmis secrets generate webhook_signing --org acme --show-once
    """
    keys, value = _keys(), keep_secrets.signing_secret()
    with open_org(org_ref, user_id) as session:
        new = keep_secrets.put(session.database, session.context, keys, name, value)
    if show_once and not as_json:
        out.print(value, highlight=False, soft_wrap=True)
        return
    _told(name, "is made", as_json=as_json, new=new, **({"value": value} if show_once else {}))


def _told(name: str, said: str, *, as_json: bool, **more: object) -> None:
    if as_json:
        emit_json({"name": name} | more)
    else:
        out.print(f"secret {name} {said}; name it as secret://{name}", highlight=False)


@secrets.command("list")
@org_command
def list_command(org_ref: str, user_id: str | None, as_json: bool) -> None:
    """List the secrets by name, and the key that each is encrypted by; never a value.

    Example: cmis secrets list --org acme
    """
    with open_org(org_ref, user_id) as session:
        rows = rows_as_dicts(keep_secrets.listing(session.database, session.context))
    if as_json:
        emit_json(rows)
    else:
        show_rows("Secrets", rows, ["name", "key_id", "updated_at"], hint="`cmis secrets set NAME` makes one.")


@secrets.command("delete")
@click.argument("name")
@org_command
def delete_command(name: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Erase the value of NAME; deliveries that name it fail from then on. Needs the role editor.

    Example: cmis secrets delete slack_sales --org acme
    """
    with open_org(org_ref, user_id) as session:
        keep_secrets.erase(session.database, session.context, name)
    if as_json:
        emit_json({"name": name})
    else:
        out.print(f"secret {name} is erased", highlight=False)


@secrets.command("rotate")
@org_command
def rotate_command(org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Encrypt by the first key of CMIS_SECRET_KEYS whatever another one does. Needs the role editor.

    Once no secret of any org is listed under a key, it can be taken out of the variable.

    Example: cmis secrets rotate --org acme
    """
    keys = _keys()
    with open_org(org_ref, user_id) as session:
        done = keep_secrets.rotate(session.database, session.context, keys)
    if as_json:
        emit_json({"key_id": keys.current, "rotated": done})
    else:
        out.print(f"{done} secrets are under the key {keys.current} now", highlight=False)
