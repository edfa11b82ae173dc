"""`cmis jobs list|show|preview`: look at jobs and at their times to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import moment_at, parse_moment
from cli.job_options import when
from cli.output import emit_json, rows_as_dicts
from cli.schedules import MAX_COUNT, show_times
from cli.session import open_org, org_command
from cli.tables import show_fields, show_rows
from core import clock
from engine.find import find_job
from engine.schedule import preview, stored
from engine.schedule.failures import failures_in_a_row
from engine.schedule.past import cursor
from engine.store import campaigns, occurrences, rules, templates
from engine.store import jobs as store
from models.enums import TargetType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

_COLUMNS: Final = ["job_id", "name", "target", "when", "timezone", "status", "next_run_at"]
_NEXT: Final = 5


@click.command("list")
@org_command
def list_command(org_ref: str, user_id: str | None, as_json: bool) -> None:
    """List an org's jobs, next due first.

    Example: cmis jobs list --org acme
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        rows = rows_as_dicts(store.listing(connection, session.org.org_id))
        names = {} if as_json else _names(connection, session.org.org_id, rows)
    if as_json:
        emit_json(rows)
    else:
        shown = [{**row, "target": _target(row, names), "when": when(row)} for row in rows]
        show_rows("Jobs", shown, _COLUMNS, hint="`cmis jobs add` makes one.")


@click.command("show")
@click.argument("job")
@org_command
def show_command(job: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Show one JOB with all its columns, whether a run is open, its failures in a row, and its next times.

    Example: cmis jobs show "Pause dear campaigns" --org acme --json
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        row = find_job(connection, session.org.org_id, job, "JOB")
        document = _document(connection, row)
    if as_json:
        emit_json(document)
    else:
        times = [f"{one['local']} ({one['utc']})" for one in document["next_times"]]
        show_fields(f"Job {row.name}", {**document, "when": when(document), "next_times": "\n".join(times) or None})


@click.command("preview")
@click.argument("job")
@org_command
@click.option("--count", type=click.IntRange(1, MAX_COUNT), default=10, show_default=True, help="How many at most.")
@click.option("--from", "since", metavar="TIME", help="Only times after it; without an offset local [default: now].")
def preview_command(job: str, org_ref: str, user_id: str | None, as_json: bool, count: int, since: str | None) -> None:
    """Show when the schedule of a JOB fires next, and what changes of clocks and short months do to it.

    Times that its policies skip are left out. Whether the job is paused or at its limit is not looked at.

    Example: cmis jobs preview "Pause dear campaigns" --org acme --count 20
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        row = find_job(connection, session.org.org_id, job, "JOB")
        now = clock.now(connection)
    after = now if since is None else moment_at(parse_moment("--from", since, row.timezone), now)
    rows = preview.rows(stored.of_row(row), after, count)
    if as_json:
        emit_json(rows)
    else:
        show_times(f"Next times of {row.name} in {row.timezone}", rows)


def _names(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]]) -> dict[UUID, str]:
    """Return the names of what jobs run, of what they optimise, and of what they start."""
    optimised = [row["campaign_id"] for row in rows if row["campaign_id"] is not None]
    started = [row["template_id"] for row in rows if row["template_id"] is not None]
    of_others = campaigns.names(connection, org_id, optimised) | templates.names(connection, org_id, started)
    return rules.names(connection, org_id) | of_others


def _target(job: Mapping[str, Any], names: Mapping[UUID, str]) -> str | None:
    """Say what a job starts: its rule's name, its workflow, or what it optimises."""
    if job["target_type"] == TargetType.OPTIMIZATION:
        return f"optimise {names.get(job['campaign_id'], 'all campaigns')}"
    if job["target_type"] == TargetType.WORKFLOW:
        return f"start {names.get(job['template_id'])}"
    return names.get(job["rule_id"])


def _document(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    [document] = rows_as_dicts([row])
    schedule = stored.of_row(row)
    # One that is due and not decided yet is still to come.
    undecided = cursor(schedule, row.last_scheduled_for, row.revised_at or row.created_at)
    times = preview.rows(schedule, undecided, _NEXT) if row.status == "active" else []
    runs = occurrences.uncounted_runs(connection, row)
    return document | {
        "failures": failures_in_a_row(row.failures, [run.outcome for run in runs]),
        "run_open": any(run.outcome is None for run in runs),
        "next_times": times,
    }
