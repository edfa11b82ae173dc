"""`cmis actions retry`, `discard` and `confirm`: what people decide about deliveries."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from cli.action_selection import note_option, selected, selection_options
from cli.arguments import parse_id
from cli.output import emit_json, out
from cli.session import open_org, org_command
from core.errors import InputError
from engine import redeliver
from models.enums import ActionStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from core.errors import Problem
    from engine.redeliver import Redelivered

_SENDABLE = (ActionStatus.FAILED, ActionStatus.DISCARDED, ActionStatus.UNKNOWN)
_OPEN = (ActionStatus.QUEUED, ActionStatus.UNKNOWN)


@click.command("retry")
@click.argument("action_ids", metavar="[ACTION]...", nargs=-1)
@org_command
@selection_options
@note_option
def retry_command(
    action_ids: tuple[str, ...],
    *,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    note: str | None,
    **wanted: str | None,
) -> None:
    """Send deliveries again, under the same keys: ACTIONs, or all that failed, were given up or are in doubt.

    \b
    ACTIONs, or all of an --execution, a --rule or a time. Needs the role operator.
    Example: cmis actions retry --since 2h --org acme --note "their server is back"
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    _each(redeliver.retry, action_ids, _SENDABLE, (org_ref, user_id), note, wanted, as_json=as_json)


@click.command("discard")
@click.argument("action_ids", metavar="[ACTION]...", nargs=-1)
@org_command
@selection_options
@note_option
def discard_command(
    action_ids: tuple[str, ...],
    *,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    note: str | None,
    **wanted: str | None,
) -> None:
    """Give deliveries up that wait, or of which nobody knows whether they arrived.

    \b
    ACTIONs, or all of an --execution, a --rule or a time. Needs the role operator.
    Example: cmis actions discard --rule "Tell the warehouse" --org acme
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    _each(redeliver.discard, action_ids, _OPEN, (org_ref, user_id), note, wanted, as_json=as_json)


@click.command("confirm")
@click.argument("action_ids", metavar="ACTION...", nargs=-1, required=True)
@org_command
@note_option
def confirm_command(
    action_ids: tuple[str, ...], *, org_ref: str, user_id: str | None, as_json: bool, note: str | None
) -> None:
    """Say of deliveries of which nobody knew that they arrived. Needs the role operator.

    Example: cmis actions confirm 01980000-0000-7000-8000-000000000000 --org acme --note "seen in the channel"
    """
    _each(redeliver.confirm, action_ids, (), (org_ref, user_id), note, {}, as_json=as_json)


def _each(
    verdict: Callable[..., Redelivered],
    action_ids: Sequence[str],
    statuses: Sequence[ActionStatus],
    whose: tuple[str, str | None],
    note: str | None,
    wanted: dict[str, str | None],
    *,
    as_json: bool,
) -> None:
    """Decide one delivery after the other, oldest first; whatever is refused is told at the end, all at once."""
    decided: list[Redelivered] = []
    refused: list[Problem] = []
    with open_org(*whose) as session:
        ids: list[UUID] = [one for one in (parse_id("ACTION", text) for text in action_ids) if one is not None]
        if any(wanted.values()) or not ids:
            found = [row for status in statuses for row in selected(session, ids, wanted, status, deliveries_only=True)]
            ids = sorted(found)
        for action_id in ids:
            try:
                decided.append(verdict(session.database, session.context, action_id, note=note))
            except InputError as error:
                refused.extend(error.problems)
    if as_json:
        emit_json([asdict(one) for one in decided])
    elif not ids:
        out.print("No delivery is meant by that.")
    for one in () if as_json else decided:
        rest = " already" if one.already else ""
        out.print(f"{one.action_id} is {one.status}{rest}", highlight=False, soft_wrap=True)
    if refused:
        raise InputError(refused)
