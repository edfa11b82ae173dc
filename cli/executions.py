"""`cmis executions`: what rules did, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import limit_option, moment_at, parse_id, parse_moment
from cli.explain import print_execution
from cli.output import emit_json, out, rows_as_dicts
from cli.rule_versions import changes_text
from cli.session import open_org, org_command
from cli.tables import cut, plain, show_rows
from core import clock
from core.errors import NotFoundError
from engine import rule_history
from engine.find import find_rule
from engine.store import executions as store
from engine.store import rules
from models.enums import ExecutionStatus

if TYPE_CHECKING:
    from uuid import UUID

    from cli.session import OrgSession

_COLUMNS: Final = ["execution_id", "rule", "status", "skip_reason", "results", "started_at"]


@click.group()
def executions() -> None:
    """Look into executions: each is one evaluation of one rule, with its trace and its results."""


@executions.command("list")
@org_command
@click.option("--rule", "rule_ref", metavar="RULE", help="Only of this rule (id or exact name).")
@click.option("--status", type=click.Choice([status.value for status in ExecutionStatus]), help="Only of this status.")
@click.option("--since", default="30d", show_default=True, metavar="TIME", help="7d, 12h, or a date (and time).")
@limit_option(100)
def list_command(
    *,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    rule_ref: str | None,
    status: str | None,
    since: str,
    limit: int,
) -> None:
    """List executions, newest first.

    A time without an offset is local to the org's zone. Example: cmis executions list --org acme --status failure
    --since 24h
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        start = moment_at(parse_moment("--since", since, session.org.timezone), clock.now(connection))
        org_id = session.org.org_id
        rule_id = find_rule(connection, org_id, rule_ref, "--rule").rule_id if rule_ref is not None else None
        rows = store.listing(connection, org_id, since=start, rule_id=rule_id, status=status, limit=limit + 1)
        names = {} if as_json else rules.names(connection, org_id)
    shown = cut(rows_as_dicts(rows), limit)
    if as_json:
        emit_json(shown)
    else:
        named = [{**row, "rule": names.get(row["rule_id"])} for row in shown]
        show_rows("Executions", named, _COLUMNS, hint="A longer --since may show some.")


@executions.command("show")
@click.argument("execution")
@org_command
def show_command(execution: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Show one EXECUTION (its id): the gate that stopped it, each campaign's trace, each action's effect.

    Example: cmis executions show 01980000-0000-7000-8000-000000000000 --org acme
    """
    with open_org(org_ref, user_id) as session:
        show_execution(session, parse_id("EXECUTION", execution), as_json=as_json)


def show_execution(session: OrgSession, execution_id: UUID | None, *, as_json: bool) -> None:
    """Print an execution with its `actions`, as JSON or for people; NotFoundError if there is none of this id."""
    with session.database.transaction(session.context) as connection:
        row = None if execution_id is None else store.get(connection, session.org.org_id, execution_id)
        if row is None:
            message = f"there is no execution {execution_id} in this org"
            raise NotFoundError.of(
                "EXECUTION", message, "see `cmis executions list`; an optimisation: `cmis optimizations show`"
            )
        actions = store.actions_of(connection, session.org.org_id, row.execution_id)
        rule = find_rule(connection, session.org.org_id, row.rule_id)
        since = rule_history.changes_since(connection, session.org.org_id, rule, row.rule_version)
    current = {"rule_version_is_current": rule.version == row.rule_version}
    document: dict[str, Any] = {**rows_as_dicts([row])[0], **current, "actions": rows_as_dicts(actions)}
    if as_json:
        emit_json(document)
        return
    print_execution(document, rule.name)
    if rule.version != row.rule_version:
        told = "what it was then is not kept" if since is None else changes_text(since) or "defined as it was then"
        out.print(f"the rule is at version {rule.version} now: {plain(told)}", highlight=False, soft_wrap=True)
