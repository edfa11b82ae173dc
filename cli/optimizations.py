"""`cmis optimize` and `cmis optimizations`: run every active rule together, and look at what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import limit_option, moment_at, parse_id, parse_moment
from cli.output import emit_json, err, out, rows_as_dicts
from cli.running import WAIT_SECONDS, evaluate_here
from cli.session import open_org, org_command
from cli.tables import cut, show_fields, show_rows
from core import clock
from core.errors import NotFoundError, TransientError
from engine import run_now
from engine.find import find_campaign
from engine.run_rules.optimized import COUNTED
from engine.store import campaigns, rules
from engine.store import optimizations as store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from cli.session import OrgSession
    from engine.enqueue import Queued

_COLUMNS: Final = ["optimization_id", "status", "trigger", "campaign", "rules", "started_at"]
_EXECUTIONS: Final = ["execution_id", "rule", "status", "skip_reason", "results"]


@click.command("optimize")
@org_command
@click.option("--campaign", metavar="CAMPAIGN", help="Only this one (id or exact name) [default: all of the org].")
@click.option("--async", "queue_only", is_flag=True, help="Leave it to the workers; print the ids.")
def optimize_command(org_ref: str, user_id: str | None, as_json: bool, campaign: str | None, queue_only: bool) -> None:
    """Evaluate every active rule of an org now, in one transaction, and show the result.

    The rules go by priority, and a later one sees the effects of the earlier. All gates apply: a second call within
    the cooldown changes nothing twice.

    \b
    Examples:
      cmis optimize --org acme
      cmis optimize --org acme --campaign "Spring sale" --json
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    with open_org(org_ref, user_id) as session:
        campaign_id = _campaign(session, campaign)
        if queue_only:
            _print_queued(
                run_now.queue_optimization(session.database, session.context, campaign_id), campaign_id, as_json=as_json
            )
            return
        queued, row = run_now.run_optimization(
            session.database, session.context, campaign_id, evaluate_here, seconds=WAIT_SECONDS
        )
        if row is None:
            raise TransientError(f"task {queued.task_id} is with another worker and has not ended yet")
        show_optimization(session, queued.execution_id, as_json=as_json)


@click.group()
def optimizations() -> None:
    """Look into optimisations: each evaluated all active rules of an org together."""


@optimizations.command("list")
@org_command
@click.option("--since", default="30d", show_default=True, metavar="TIME", help="7d, 12h, or a date (and time).")
@limit_option(100)
def list_command(org_ref: str, user_id: str | None, as_json: bool, since: str, limit: int) -> None:
    """List an org's optimisations, newest first. A time without an offset is local to the org's zone.

    Example: cmis optimizations list --org acme --since 7d
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        start = moment_at(parse_moment("--since", since, session.org.timezone), clock.now(connection))
        rows = rows_as_dicts(store.listing(connection, session.org.org_id, since=start, limit=limit + 1))
        of_one = [] if as_json else [row["campaign_id"] for row in rows if row["campaign_id"] is not None]
        names = campaigns.names(connection, session.org.org_id, of_one) if of_one else {}
    shown = cut(rows, limit)
    if as_json:
        emit_json(shown)
    else:
        told = [{**row, "campaign": names.get(row["campaign_id"], "all"), "rules": _counted(row)} for row in shown]
        show_rows("Optimisations", told, _COLUMNS, hint="`cmis optimize` makes one.")


@optimizations.command("show")
@click.argument("optimization")
@org_command
def show_command(optimization: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Show one OPTIMIZATION (its id) and the executions that it is made of.

    Example: cmis optimizations show 01980000-0000-7000-8000-000000000000 --org acme
    """
    with open_org(org_ref, user_id) as session:
        show_optimization(session, parse_id("OPTIMIZATION", optimization), as_json=as_json)


def show_optimization(session: OrgSession, optimization_id: UUID | None, *, as_json: bool) -> None:
    """Print a result with the `executions` of its rules; NotFoundError if there is none of this id."""
    with session.database.transaction(session.context) as connection:
        row = None if optimization_id is None else store.get(connection, session.org.org_id, optimization_id)
        if row is None:
            message = f"there is no optimisation {optimization_id} in this org"
            raise NotFoundError.of("OPTIMIZATION", message, "see `cmis optimizations list`")
        made = store.executions_of(connection, row)
        names = rules.names(connection, session.org.org_id)
    [document] = rows_as_dicts([row])
    executions = [{**one, "rule": names.get(one["rule_id"])} for one in rows_as_dicts(made)]
    if as_json:
        emit_json({**document, "executions": executions})
    else:
        show_fields(f"Optimisation {row.optimization_id}", {**document, "counts": _counted(document)})
        show_rows("Executions", executions, _EXECUTIONS, hint="No rule of the org is active.")


def _counted(optimization: Mapping[str, Any]) -> str:
    counts = optimization["counts"]
    return ", ".join(f"{counts[name]} {name}" for name in COUNTED if counts.get(name))


def _campaign(session: OrgSession, reference: str | None) -> UUID | None:
    if reference is None:
        return None
    with session.database.transaction(session.context) as connection:
        found: UUID = find_campaign(connection, session.org.org_id, reference, "--campaign").campaign_id
    return found


def _print_queued(queued: Queued, campaign_id: UUID | None, *, as_json: bool) -> None:
    if as_json:
        ids = {"task_id": queued.task_id, "optimization_id": queued.execution_id, "campaign_id": campaign_id}
        emit_json({**ids, "state": "ready"})
        return
    out.print(f"queued as task {queued.task_id}", highlight=False)
    err.print(f"once a worker ran it: cmis optimizations show {queued.execution_id}", highlight=False, soft_wrap=True)
