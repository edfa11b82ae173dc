"""`cmis tasks retry` and `discard`: those that are named, or all that match; what matches is shown first."""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click

from cli.output import emit_json, err
from cli.session import open_org, org_command
from cli.tables import show_rows
from cli.task_selection import filter_options, task_id_of, wanted_of
from core.errors import InputError
from engine.control_tasks.discard import discard
from engine.control_tasks.frame import Dealt, deal
from engine.control_tasks.retry import retry
from engine.control_workflows.steering import checked_note
from engine.store import task_lists

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from cli.session import OrgSession
    from engine.control_tasks.frame import Verb
    from engine.store.task_lists import Wanted

PAGE: Final = 1_000
"""Tasks that are looked for at once."""
_COUNTED: Final = 10_000
"""Up to how many that match are counted."""
_FAILED: Final = 1
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
    """Do dead letters' work again, once: TASKs, or all that match the filters (with --yes).

    An evaluation is made anew, as one that you asked for; a delivery is sent again under its key. A retry that waits
    for its time is made at once. What is refused is told with what to do instead, and the exit code is 2; where one
    failed, the others are done all the same, and it is 1. Needs the role operator.

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
    """Give TASKs up, or all that match the filters (with --yes).

    A dead letter is dealt with. One that waits is cancelled: its planned time, its actions or its delivery end, too.
    One at work is asked to stop. What is refused is told with what to do instead, and the exit code is 2; where one
    failed, the others are done all the same, and it is 1. Needs the role operator.

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
    only_told = dry_run or (filtering and not yes)
    begun, done = list[UUID](), list[Dealt]()
    with open_org(org_ref, user_id) as session:
        wanted = None if named else _wanted(session, filters)
        ids = dict.fromkeys(named) if wanted is None else _matching(session, wanted, first_page=only_told)
        try:
            for one in deal(session.database, session.context, verb, _noted(ids, begun), note=note, dry_run=only_told):
                done.append(one)
            matching = 0 if wanted is None or len(done) < PAGE or not only_told else _count(session, wanted)
        except BaseException:
            _tell_broken_off(begun, done, only_told=only_told, as_json=as_json)
            raise
    _print(done, only_told=only_told, as_json=as_json)
    if matching > len(done):
        many = f"at least {_COUNTED:,}" if matching >= _COUNTED else f"{matching:,}"
        err.print(
            f"{many} match: the newest {len(done):,} are told of here, --yes means all", highlight=False, soft_wrap=True
        )
    if only_told and not dry_run and done:
        err.print("nothing was done: --yes does it", highlight=False)
    _exit(done)


def _wanted(session: OrgSession, filters: dict[str, Any]) -> Wanted:
    """Return what the filters mean; what somebody has dealt with is not among it."""
    with session.database.transaction(session.context) as connection:
        return replace(wanted_of(connection, session, filters), unhandled=True)


def _matching(session: OrgSession, wanted: Wanted, *, first_page: bool) -> Iterator[UUID]:
    """Yield what matches, newest first, read page by page; what is made meanwhile is newer than all of it."""
    last, told = None, 0
    while True:
        with session.database.transaction(session.context) as connection:
            rows = task_lists.page(connection, session.org.org_id, wanted, limit=PAGE, after=last)
        yield from (row.task_id for row in rows)
        if first_page or len(rows) < PAGE:
            return
        last, told = rows[-1].task_id, told + len(rows)
        err.print(f"{told:,} tasks were dealt with; there may be more", highlight=False)


def _noted(ids: Iterable[UUID], begun: list[UUID]) -> Iterator[UUID]:
    for task_id in ids:
        begun.append(task_id)
        yield task_id


def _count(session: OrgSession, wanted: Wanted) -> int:
    with session.database.transaction(session.context) as connection:
        return task_lists.count(connection, session.org.org_id, wanted, most=_COUNTED)


def _tell_broken_off(begun: Sequence[UUID], done: Sequence[Dealt], *, only_told: bool, as_json: bool) -> None:
    """Say what was done before an error, which is told afterwards."""
    if done:
        _print(done, only_told=only_told, as_json=as_json)
    if done and len(begun) > len(done) and not only_told:
        said = f"it ended at the task {begun[-1]}; {len(done):,} were dealt with before"
        err.print(said, highlight=False, soft_wrap=True)


def _print(done: Sequence[Dealt], *, only_told: bool, as_json: bool) -> None:
    rows = [asdict(one) | {"retried_as": None if only_told else one.retried_as} for one in done]
    if as_json:
        emit_json([{**row, "dry_run": only_told} for row in rows])
    else:
        title = f"Would be so ({len(rows)})" if only_told else f"Tasks ({len(rows)})"
        show_rows(title, rows, _COLUMNS, hint="No task matches.")


def _exit(done: Iterable[Dealt]) -> None:
    """End with the code of the worst outcome, if one is bad."""
    outcomes = {one.outcome for one in done}
    for outcome, code in (("failed", _FAILED), ("refused", _REFUSED)):
        if outcome in outcomes:
            sys.exit(code)
