"""`cmis rules activate|pause|archive`: one rule, several, or all that match."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from cli.output import emit_json
from cli.rule_conflicts import strict_option, warn
from cli.rule_define import print_rule
from cli.session import open_org, org_command
from cli.tables import show_rows
from core.errors import InputError
from engine.switch_rules import Selection, switch_rule, switch_rules
from models.enums import Priority, RuleStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engine.switch_rules import Outcome

_COLUMNS: Final = ["rule_id", "name", "outcome", "status", "reason", "paused_jobs"]
_REFUSED: Final = 2


class _Asked(NamedTuple):
    """Where, as whom, and how it is told."""

    org_ref: str
    user_id: str | None
    as_json: bool


def _selecting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what selects rules: names, and filters that must all hold."""
    for option in (
        click.option("--priority", type=click.Choice([each.value for each in Priority]), help="All of this priority."),
        click.option("--type", "rule_type", metavar="RULE_TYPE", help="All of this rule_type."),
        click.option("--status", type=click.Choice([each.value for each in RuleStatus]), help="All of this status."),
        click.option("--all", "everything", is_flag=True, help="All that are not archived."),
        org_command,
        click.argument("rules", nargs=-1, metavar="[RULE]..."),
    ):
        function = option(function)
    return function


@click.command("activate")
@_selecting
@strict_option
def activate_command(
    *, rules: tuple[str, ...], org_ref: str, user_id: str | None, as_json: bool, strict: bool, **filters: Any
) -> None:
    """Let RULEs act: the named ones, and all that match the filters. All in one transaction, each once.

    Several are told in a table: changed, unchanged, or refused with the reason (then the exit code is 2).

    \b
    Examples:
      cmis rules activate "Pause dear campaigns" --org acme
      cmis rules activate --org acme --status draft --type budget
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    _switch(_Asked(org_ref, user_id, as_json), Selection(rules, **filters), RuleStatus.ACTIVE, strict=strict)


@click.command("pause")
@_selecting
def pause_command(*, rules: tuple[str, ...], org_ref: str, user_id: str | None, as_json: bool, **filters: Any) -> None:
    """Keep RULEs from acting until they are activated again; several and filters as in `activate`.

    \b
    Examples:
      cmis rules pause "Pause dear campaigns" --org acme
      cmis rules pause --org acme --all
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    _switch(_Asked(org_ref, user_id, as_json), Selection(rules, **filters), RuleStatus.PAUSED)


@click.command("archive")
@_selecting
def archive_command(
    *, rules: tuple[str, ...], org_ref: str, user_id: str | None, as_json: bool, **filters: Any
) -> None:
    """Put RULEs away for good: they never act again, and their active jobs are paused with a note.

    Several and filters as in `activate`. What they did stays on record; `duplicate` makes a draft of one again.

    Example: cmis rules archive "Pause dear campaigns" "Notify of high spend" --org acme
    """
    _switch(_Asked(org_ref, user_id, as_json), Selection(rules, **filters), RuleStatus.ARCHIVED)


def _switch(asked: _Asked, selection: Selection, status: RuleStatus, *, strict: bool = False) -> None:
    if not selection.references and not selection.filters:
        raise InputError.of("RULE", "is required", "name rules, or give --all, --status, --type or --priority")
    single = len(selection.references) == 1 and not selection.filters
    with open_org(asked.org_ref, asked.user_id) as session:
        if single:
            [reference] = selection.references
            done = switch_rule(session.database, session.context, reference, status, strict=strict)
            _print_single(done, status, as_json=asked.as_json)
            return
        outcomes = switch_rules(session.database, session.context, selection, status, strict=strict)
    _print_all(outcomes, as_json=asked.as_json)
    if any(outcome.outcome == "refused" for outcome in outcomes):
        sys.exit(_REFUSED)


def _print_single(done: Outcome, status: RuleStatus, *, as_json: bool) -> None:
    more: dict[str, Any] = {}
    if status is RuleStatus.ACTIVE:
        more = {"conflicts": [clash.told() for clash in done.clashes]}
    if status is RuleStatus.ARCHIVED:
        more = {"paused_jobs": done.paused_jobs}
    print_rule(done.row, as_json=as_json, **more)
    if not as_json:
        warn(done.clashes)


def _print_all(outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    rows = [
        {
            "rule_id": each.row.rule_id,
            "name": each.row.name,
            "outcome": each.outcome,
            "status": each.row.status,
            "reason": each.reason,
            "paused_jobs": each.paused_jobs,
            "conflicts": [clash.told() for clash in each.clashes],
        }
        for each in outcomes
    ]
    if as_json:
        emit_json(rows)
    else:
        told = [
            row | {"paused_jobs": ", ".join(each.paused_jobs) or None} for row, each in zip(rows, outcomes, strict=True)
        ]
        show_rows("Rules", told, _COLUMNS, hint="No rule matches.")
        warn(clash for each in outcomes for clash in each.clashes)
