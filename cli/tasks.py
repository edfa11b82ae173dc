"""`cmis tasks`: what the queue holds, what ended badly, why a task is not done yet; do it again, or give it up."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click

from cli.output import emit_json, err, out, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import plain, show_fields, show_rows, words
from cli.task_decide import discard_command, retry_command
from cli.task_selection import filter_options, task_id_of, wanted_of
from cli.task_surroundings import around
from core.config import Settings
from engine.control_tasks import look
from engine.store import task_lists

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST: Final = 200
"""Tasks of one page."""
_COLUMNS: Final = ["task_id", "kind", "queue", "state", "attempts", "created_at", "due", "said"]
_ATTEMPTS: Final = ["fence", "attempt", "worker", "started_at", "finished_at", "outcome", "error"]
_LEFT_OUT: Final = frozenset(
    {
        "org_id",
        "payload",
        "now",
        "lease_left",
        "before",
        "instances",
        "steps",
        "effect",
        "attempt_id",
        "dedupe_key",
        "traceparent",
    }
)
"""What of a task's row is not shown: what it carries is told by name, and why it is not done by `why`."""
_EVERYBODYS: Final = frozenset({"error", "result"})
"""What of a task that several orgs share tells of all of them."""


@click.group()
def tasks() -> None:
    """Tasks of the queue: what waits, runs, or has ended badly. TASK is an id, as Celery and Flower show it, too."""


for command in (retry_command, discard_command):
    tasks.add_command(command)


@tasks.command("list")
@org_command
@filter_options
@click.option("--limit", type=click.IntRange(1, MOST), default=50, show_default=True, help="Show at most so many.")
@click.option("--after", metavar="TASK", help="Go on after this one, the last of the page before.")
def list_command(
    *, org_ref: str, user_id: str | None, as_json: bool, limit: int, after: str | None, **filters: Any
) -> None:
    """List tasks, newest first: without --state the dead letters, which failed or died and wait for somebody.

    \b
    Examples:
      cmis tasks list --org acme
      cmis tasks list --state ready --state running --queue actions --org acme
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    last = None if after is None else task_id_of(after, "--after")
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        wanted = wanted_of(connection, session, filters)
        found = task_lists.page(connection, session.org.org_id, wanted, limit=limit + 1, after=last)
    rows = rows_as_dicts(found)[:limit]
    if as_json:
        emit_json(rows)
    else:
        told = [row | {"attempts": _tried(row), "due": _due(row), "said": _said(row)} for row in rows]
        show_rows("Tasks" if wanted.states else "Dead letters", told, _COLUMNS, hint="--state shows others.")
    if len(found) > limit:
        err.print(f"there are more: --after {rows[-1]['task_id']} shows them", highlight=False, soft_wrap=True)


@tasks.command("show")
@click.argument("task")
@org_command
def show_command(*, task: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Show one TASK: its row, its attempts, and what it carries.

    Example: cmis tasks show 01980000-0000-7000-8000-000000000000 --org acme
    """
    with open_org(org_ref, user_id) as session:
        seen = look.show(session.database, session.context, task_id_of(task))
    left_out = _LEFT_OUT | _EVERYBODYS if seen.shared else _LEFT_OUT
    row = {name: value for name, value in rows_as_dicts([seen.row])[0].items() if name not in left_out}
    about = row | {"shared": seen.shared}
    attempts = rows_as_dicts(seen.attempts)
    if as_json:
        emit_json(about | {"attempts": attempts, "carries": seen.carries})
        return
    show_fields(f"Task {seen.row.task_id}", {name: value for name, value in about.items() if value is not None})
    show_rows("Attempts", attempts, _ATTEMPTS, hint="Nobody has begun it.")
    if seen.carries:
        columns = list(dict.fromkeys(name for one in seen.carries for name in one))
        show_rows("Carries", seen.carries, columns)


@tasks.command("why")
@click.argument("task")
@org_command
def why_command(*, task: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Say why a TASK is not done yet, or how it ended: what holds it back most comes first.

    Example: cmis tasks why 01980000-0000-7000-8000-000000000000 --org acme
    """
    settings = Settings.load()
    limits = look.Limits(settings.org_in_flight, settings.queue_waiting)
    with open_org(org_ref, user_id) as session:
        asking = partial(around, settings)
        why = look.why(session.database, session.context, task_id_of(task), limits, asking)
    if as_json:
        emit_json(asdict(why))
        return
    out.print(f"{why.kind} in the queue {why.queue} is [bold]{why.state}[/bold]", highlight=False)
    for reason in why.reasons:
        until = "" if reason.until is None else f" (until {words(reason.until)})"
        out.print(f"  {plain(reason.message)}{until}", highlight=False, soft_wrap=True)


def _tried(row: Mapping[str, Any]) -> str:
    return f"{row['attempt']} of {row['max_attempts']}"


def _due(row: Mapping[str, Any]) -> Any:
    """Return when an unfinished task may run, or by when its lease ends."""
    return {"ready": row["run_at"], "running": row["lease_expires_at"]}.get(row["state"])


def _said(row: Mapping[str, Any]) -> str | None:
    """Return the error of a task, and how it was dealt with."""
    error = row["error"] or {}
    failed = ": ".join(str(error[key]) for key in ("code", "message") if error.get(key))
    return "; ".join(filter(None, [failed, row["handled_as"]])) or None
