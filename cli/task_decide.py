"""`cmis tasks retry` and `discard`: those that are named, or all that match; what matches is shown first."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from cli.output import emit_json, err
from cli.session import open_org, org_command
from cli.tables import show_rows
from cli.task_selection import filter_options, task_id_of, wanted_of
from core.errors import InputError
from engine.control_tasks.discard import discard
from engine.control_tasks.frame import MOST, deal
from engine.control_tasks.retry import retry
from engine.control_workflows.steering import checked_note
from engine.store import task_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from cli.session import OrgSession
    from engine.control_tasks.frame import Dealt, Verb

_REFUSED: Final = 2
_COLUMNS: Final = ["task_id", "outcome", "retried_as", "reason"]


def _selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--yes", is_flag=True, help="Do it to all that match; without, that is only shown."),
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
        filter_options,
        org_command,
        click.argument("task_ids", metavar="[TASK]...", nargs=-1),
    ):
        function = option(function)
    return function


@click.command("retry")
@_selecting
@click.option("--note", metavar="TEXT", help="Why; it stays with the task and in the audit log.")
def retry_command(*, note: str | None, **asked: Any) -> None:
    """Do dead letters' work again, once: TASKs, or all that match the filters (1,000 a call, and with --yes).

    An evaluation is made anew, as one that you asked for; a delivery is sent again under its key. A retry that waits
    for its time is made at once. What is refused is told with what to do instead, and the exit code is 2. Needs the
    role operator.

    \b
    Examples:
      cmis tasks retry 01980000-0000-7000-8000-000000000000 --org acme --note "their server is back"
      cmis tasks retry --kind deliver --since 2h --org acme --yes
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    _each(retry, checked_note(note), **asked)


@click.command("discard")
@_selecting
@click.option("--reason", required=True, metavar="TEXT", help="Why; it stays with the task and in the audit log.")
def discard_command(*, reason: str, **asked: Any) -> None:
    """Give TASKs up, or all that match the filters (1,000 a call, and with --yes).

    A dead letter is dealt with. One that waits is cancelled: its planned time, its actions or its delivery end, too.
    One at work is asked to stop. What is refused is told with what to do instead, and the exit code is 2. Needs the
    role operator.

    \b
    Examples:
      cmis tasks discard 01980000-0000-7000-8000-000000000000 --org acme --reason "the campaign is over"
      cmis tasks discard --error LOST --until 7d --org acme --reason "too old" --yes
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    _each(discard, checked_note(reason, "--reason"), **asked)


def _each(
    verb: Verb,
    note: str | None,
    *,
    task_ids: tuple[str, ...],
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    yes: bool,
    dry_run: bool,
    **filters: Any,
) -> None:
    named, filtering = [task_id_of(text) for text in task_ids], any(filters.values())
    if bool(named) == filtering:
        raise InputError.of("TASK", "needs either TASKs or filters", "give the ids, or say which: --kind, --since …")
    with open_org(org_ref, user_id) as session:
        ids = named or _matching(session, filters)
        only_told = dry_run or (filtering and not yes)
        done = deal(session.database, session.context, verb, ids[:MOST], note=note, dry_run=only_told)
    _print(done, only_told=only_told, as_json=as_json)
    if len(ids) > MOST:
        err.print(f"there are more: {MOST} were taken, call again for the others", highlight=False)
    if only_told and not dry_run and done:
        err.print("nothing was done: --yes does it", highlight=False)
    if any(one.outcome == "refused" for one in done):
        sys.exit(_REFUSED)


def _matching(session: OrgSession, filters: dict[str, Any]) -> list[UUID]:
    with session.database.transaction(session.context) as connection:
        wanted = wanted_of(connection, session, filters)
        rows = task_lists.page(connection, session.org.org_id, wanted, limit=MOST + 1)
    return [row.task_id for row in rows]


def _print(done: Sequence[Dealt], *, only_told: bool, as_json: bool) -> None:
    rows = [asdict(one) | {"retried_as": None if only_told else one.retried_as} for one in done]
    if as_json:
        emit_json([{**row, "dry_run": only_told} for row in rows])
    else:
        title = f"Would be so ({len(rows)})" if only_told else f"Tasks ({len(rows)})"
        show_rows(title, rows, _COLUMNS, hint="No task matches.")
