"""`cmis workflows event`: tell instances that wait of what has happened."""

from __future__ import annotations

import click

from cli.arguments import parse_id, parse_json, read_json
from cli.events import tell
from cli.session import open_org, org_command
from engine import emit


@click.command("event")
@click.argument("event_type", metavar="TYPE")
@click.option("--payload", default="{}", metavar="JSON|@FILE", help="A JSON object of at most 64 KiB [default: {}].")
@click.option("--key", help="Told again with this key it is the same event; default: it is like no other.")
@click.option("--instance", metavar="ID", help="Only this instance is told, whatever value its step waits for.")
@org_command
def event_command(
    event_type: str,
    payload: str,
    key: str | None,
    instance: str | None,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
) -> None:
    """Tell of an event of a TYPE, as `cmis events emit` does; or tell only one instance, whose step waits for it.

    Example: cmis workflows event lead.replied --org acme --payload '{"lead": {"id": 17}}'
    """
    document = read_json("--payload", payload[1:]) if payload.startswith("@") else parse_json("--payload", payload)
    event = emit.read(event_type, document, idempotency_key=key, source="cli")
    instance_id = parse_id("--instance", instance)
    with open_org(org_ref, user_id) as session:
        emitted = emit.emit(session.database, session.context, event, wake=True, instance_id=instance_id)
    tell(emitted, as_json=as_json)
