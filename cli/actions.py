"""`cmis actions`: what rules did or asked for; approve what is held, or reject it; take back what was done."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from cli.action_deliveries import confirm_command, discard_command, retry_command
from cli.action_kinds import kinds_command
from cli.action_rows import by, named, waits_or_failed
from cli.action_selection import note_option, selected, selection_options
from cli.arguments import limit_option, moment_at, parse_id, parse_moment
from cli.explain import change_text
from cli.output import emit_json, out, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import cut, show_fields, show_rows, words
from core import clock
from core.errors import InputError, Problem
from engine import approve as approving
from engine import effects
from engine import undo as undoing
from engine.find import find_campaign, find_rule
from engine.store import actions as store
from engine.store import campaigns
from models.enums import ActionStatus, Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

    from cli.session import OrgSession
    from engine.approve import Decided
    from engine.undo import Outcome

_COLUMNS: Final = ["action_id", "status", "type", "by", "campaign", "change", "why", "created_at"]
EXIT_REFUSED: Final = 2
_OUTCOMES: Final = ["action_id", "outcome", "type", "campaign", "why"]


@click.group()
def actions() -> None:
    """Effects of rules and of workflows' steps: what was done, what waits for approval. ACTION is an id."""


for command in (kinds_command, retry_command, discard_command, confirm_command):
    actions.add_command(command)


@actions.command("list")
@org_command
@click.option("--status", type=click.Choice([status.value for status in ActionStatus]), help="Only of this status.")
@click.option("--channel", type=click.Choice([channel.value for channel in Channel]), help="Only what leaves by it.")
@click.option("--rule", "rule_ref", metavar="RULE", help="Only of this rule (id or exact name).")
@click.option("--campaign", "campaign_ref", metavar="CAMPAIGN", help="Only on this campaign (id or exact name).")
@click.option("--instance", metavar="ID", help="Only of the steps of this run of a workflow.")
@click.option("--since", default="30d", show_default=True, metavar="TIME", help="7d, 12h, or a date (and time).")
@click.option("--until", metavar="TIME", help="As --since [default: now].")
@limit_option(100)
def list_command(
    org_ref: str, user_id: str | None, as_json: bool, since: str, until: str | None, limit: int, **wanted: str | None
) -> None:
    """List effects, newest first; what waits for a person is --status held, and unknown.

    A time without an offset is local to the org's zone. Example: cmis actions list --org acme --status held
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        now, zone = clock.now(connection), session.org.timezone
        start = moment_at(parse_moment("--since", since, zone), now)
        end = now if until is None else moment_at(parse_moment("--until", until, zone), now)
        if start > end:
            raise InputError.of("--until", "is before --since", "give a later --until or an earlier --since")
        matching = _matching(connection, session, wanted)
        rows = store.listing(connection, session.org.org_id, since=start, until=end, matching=matching, limit=limit + 1)
        told = named(connection, session.org.org_id, cut(rows_as_dicts(rows), limit))
    if as_json:
        emit_json(told)
    else:
        rows_told = [{**row, "by": by(row), "change": change_text(row), "why": waits_or_failed(row)} for row in told]
        show_rows("Actions", rows_told, _COLUMNS, hint="A longer --since may show some.")


def _matching(connection: Connection, session: OrgSession, wanted: dict[str, str | None]) -> dict[str, Any]:
    org_id, rule, campaign = session.org.org_id, wanted["rule_ref"], wanted["campaign_ref"]
    columns: dict[str, Any] = {"status": wanted["status"], "channel": wanted["channel"]}
    if wanted["instance"] is not None:
        columns["instance_id"] = parse_id("--instance", wanted["instance"])
    if rule is not None:
        columns["rule_id"] = find_rule(connection, org_id, rule, "--rule").rule_id
    if campaign is not None:
        columns["entity_id"] = find_campaign(connection, org_id, campaign, "--campaign").campaign_id
    return {column: value for column, value in columns.items() if value is not None}


@actions.command("show")
@click.argument("action")
@org_command
def show_command(action: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Show one ACTION with all its columns.

    Example: cmis actions show 01980000-0000-7000-8000-000000000000 --org acme
    """
    [action_id] = _ids((action,))
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        found = rows_as_dicts([effects.find(connection, session.org.org_id, action_id)])
        [row] = named(connection, session.org.org_id, found)
    if as_json:
        emit_json(row)
    else:
        show_fields(f"Action {action_id}", row)


@actions.command("approve")
@click.argument("action_ids", metavar="[ACTION]...", nargs=-1)
@org_command
@selection_options
@note_option
def approve_command(
    action_ids: tuple[str, ...],
    *,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    note: str | None,
    **wanted: str | None,
) -> None:
    """Apply held ACTIONs although a guardrail holds them: exactly what was held, if the campaign is still as it was.

    ACTIONs, or all that is held of an --execution, an --instance, a --rule or a time. What cannot be approved is told
    with the difference; the others are approved. Needs the role operator.

    \b
    Examples:
      cmis actions approve 01980000-0000-7000-8000-000000000000 --org acme --note "agreed with Ana"
      cmis actions approve --rule "Cut dear budgets" --since 1d --org acme
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    with open_org(org_ref, user_id) as session:
        ids = _held(session, _ids(action_ids), wanted)
        _decide(approving.approve, session, ids, note, as_json=as_json)


@actions.command("reject")
@click.argument("action_ids", metavar="[ACTION]...", nargs=-1)
@org_command
@selection_options
@note_option
def reject_command(
    action_ids: tuple[str, ...],
    *,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    note: str | None,
    **wanted: str | None,
) -> None:
    """Turn held ACTIONs down, or all that is held of an --execution, an --instance, a --rule or a time.

    A rule asks for the same no second time within 28 days; a workflow's step fails. Needs the role operator.

    \b
    Examples:
      cmis actions reject 01980000-0000-7000-8000-000000000000 --org acme
      cmis actions reject --execution 01980000-0000-7000-8000-000000000000 --org acme
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    with open_org(org_ref, user_id) as session:
        ids = _held(session, _ids(action_ids), wanted)
        _decide(approving.reject, session, ids, note, as_json=as_json)


def _held(session: OrgSession, action_ids: Sequence[UUID], wanted: dict[str, str | None]) -> Sequence[UUID]:
    """Return the effects to decide: those that are named, or what is held of a selection, oldest first."""
    if action_ids and not any(wanted.values()):
        return action_ids
    return selected(session, action_ids, wanted, ActionStatus.HELD)[::-1]


def _decide(
    verdict: Callable[..., Decided],
    session: OrgSession,
    action_ids: Sequence[UUID],
    note: str | None,
    *,
    as_json: bool,
) -> None:
    """Decide one action after the other; whatever is refused is told at the end, all at once."""
    decided: list[Decided] = []
    refused: list[Problem] = []
    for action_id in action_ids:
        try:
            decided.append(verdict(session.database, session.context, action_id, note=note))
        except InputError as error:
            refused.extend(error.problems)
    if as_json:
        emit_json([asdict(one) for one in decided])
    elif not action_ids:
        out.print("Nothing of that is held.")
    for one in () if as_json else decided:
        out.print(f"{one.action_id} is {one.status}{_rest(one)}", highlight=False, soft_wrap=True)
    if refused:
        raise InputError(refused)


def _rest(decided: Decided) -> str:
    if decided.already:
        return " already"
    if decided.instance_id is not None:
        return f"; its step of {decided.instance_id} goes on"
    return f"; its execution is {decided.execution_status}"


@actions.command("undo")
@click.argument("action_ids", metavar="[ACTION]...", nargs=-1)
@org_command
@selection_options
@click.option("--dry-run", is_flag=True, help="Say what would be undone, and undo nothing.")
def undo_command(
    action_ids: tuple[str, ...],
    *,
    org_ref: str,
    user_id: str | None,
    as_json: bool,
    dry_run: bool,
    **wanted: str | None,
) -> int:
    """Take effects back, newest first: ACTIONs, or all of an --execution, an --instance, a --rule or a time.

    Each is undone only if what it left is still there; else it is refused with the difference, and the rest is undone.
    Exit code 2 if any is refused. Needs the role operator.

    \b
    Examples: cmis actions undo --execution 01980000-0000-7000-8000-000000000000 --org acme --dry-run
              cmis actions undo --rule "Pause dear campaigns" --since 2h --org acme
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    with open_org(org_ref, user_id) as session:
        ids = selected(session, _ids(action_ids), wanted)
        outcomes = undoing.undo(session.database, session.context, ids, dry_run=dry_run)
        told = [
            asdict(one) | {"campaign": name} for one, name in zip(outcomes, _campaigns(session, outcomes), strict=True)
        ]
    if as_json:
        emit_json([{**one, "dry_run": dry_run} for one in told])
    else:
        _show_outcomes(told, dry_run=dry_run)
    return EXIT_REFUSED if any(one.outcome == "refused" for one in outcomes) else 0


def _campaigns(session: OrgSession, outcomes: Sequence[Outcome]) -> list[str | None]:
    """Return the name of each outcome's campaign."""
    ids = list({one.entity_id for one in outcomes})
    with session.database.transaction(session.context) as connection:
        names = campaigns.names(connection, session.org.org_id, ids)
    return [names.get(one.entity_id) for one in outcomes]


def _show_outcomes(outcomes: Sequence[Mapping[str, Any]], *, dry_run: bool) -> None:
    said = {"undone": "would be undone" if dry_run else "undone", "already": "was undone already", "refused": "refused"}
    rows = [{**one, "outcome": said[one["outcome"]], "why": _why(one)} for one in outcomes]
    show_rows("Undo", rows, _OUTCOMES, hint="Nothing matches.")


def _why(outcome: Mapping[str, Any]) -> str | None:
    differing = [
        f"{column}: it left {words(pair['expected'])}, there is {words(pair['found'])}"
        for column, pair in outcome["difference"].items()
    ]
    return "; ".join(filter(None, [outcome["reason"], *differing])) or None


def _ids(texts: Sequence[str]) -> list[UUID]:
    found = [parse_id("ACTION", text) for text in texts]
    return [one for one in found if one is not None]
