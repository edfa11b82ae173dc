"""`cmis events`: tell an org of what happened outside, and look at what was told."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import limit_option, parse_id, read_json
from cli.output import emit_json, err, out, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import show_fields, show_rows
from core.errors import NotFoundError
from engine import emit
from engine.store import events as store

if TYPE_CHECKING:
    from engine.emit import Emitted

_COLUMNS: Final = ["event_id", "type", "triggered", "started", "woken", "source", "created_at"]


@click.group()
def events() -> None:
    """Events from outside: each triggers rules, starts workflows and wakes their steps, once. Kept for 90 days."""


@events.command("emit")
@click.argument("event_type", metavar="TYPE")
@click.option("--payload", required=True, metavar="FILE", help="A JSON object of at most 64 KiB; - is stdin.")
@click.option("--key", help="Told again with this key it is the same event; default: it is like no other.")
@org_command
def emit_command(
    event_type: str, payload: str, key: str | None, org_ref: str, user_id: str | None, as_json: bool
) -> None:
    """Tell of an event of a TYPE, such as lead.created; the rules and workflows of that type are left to the workers.

    Example: echo '{"score": 87}' | cmis events emit lead.created --payload - --org acme --key lead-17
    """
    event = emit.read(event_type, read_json("--payload", payload), idempotency_key=key, source="cli")
    with open_org(org_ref, user_id) as session:
        emitted = emit.emit(session.database, session.context, event, wake=True)
    tell(emitted, as_json=as_json)


@events.command("list")
@org_command
@click.option("--type", "event_type", help="Only of this type.")
@limit_option(50)
def list_command(org_ref: str, user_id: str | None, as_json: bool, event_type: str | None, limit: int) -> None:
    """List an org's events, newest first.

    Example: cmis events list --org acme --type lead.created
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        rows = rows_as_dicts(store.listing(connection, session.org.org_id, event_type=event_type, limit=limit))
    if as_json:
        emit_json(rows)
    else:
        show_rows("Events", rows, _COLUMNS, hint="`cmis events emit` tells of one.")


@events.command("show")
@click.argument("event")
@org_command
def show_command(event: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Show one EVENT (its id) with its payload, the executions that it triggered and the instances that it started.

    Example: cmis events show 01980000-0000-7000-8000-000000000000 --org acme
    """
    event_id = parse_id("EVENT", event)
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        row = None if event_id is None else store.get(connection, session.org.org_id, event_id)
        if row is None:
            message = f"there is no event {event_id} in this org"
            raise NotFoundError.of("EVENT", message, "see `cmis events list`; events are kept for 90 days")
        made = rows_as_dicts(store.executions_of(connection, session.org.org_id, row))
        started = rows_as_dicts(store.instances_of(connection, session.org.org_id, row.event_id))
    document: dict[str, Any] = rows_as_dicts([row])[0]
    if as_json:
        emit_json(document | {"executions": made, "instances": started})
        return
    show_fields("Event", document)
    show_rows("Executions", made, ["execution_id", "rule", "status", "skip_reason", "started_at"])
    show_rows("Instances", started, ["instance_id", "workflow", "status", "created_at"])


def tell(emitted: Emitted, *, as_json: bool) -> None:
    """Print what became of an event."""
    if as_json:
        emit_json(asdict(emitted))
        return
    before = ", told before" if emitted.already else ""
    done = [
        f"triggered {_many(emitted.triggered, 'rule')}",
        *([f"started {_many(emitted.started, 'workflow')}"] if emitted.started else []),
        *([f"woke {_many(emitted.woken, 'step')}"] if emitted.woken else []),
    ]
    out.print(f"event {emitted.event_id}{before}: {', '.join(done)}", highlight=False, soft_wrap=True)
    if emitted.note is not None:
        said = f"{emitted.note}: rules about campaigns were not triggered"
        err.print(said, highlight=False, markup=False, soft_wrap=True)


def _many(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"
