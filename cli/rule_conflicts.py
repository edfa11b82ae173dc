"""`cmis rules conflicts`, and the warnings that every verb gives that saves a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click
from rich.markup import escape

from cli.output import emit_json, err
from cli.session import open_org, org_command
from cli.tables import show_rows
from engine import rule_conflicts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from engine.rule_conflicts import Clash

strict_option: Final[Callable[[Callable[..., Any]], Callable[..., Any]]] = click.option(
    "--strict", is_flag=True, help="Refuse, and store nothing, if an active rule works against it."
)
_COLUMNS: Final = ["rule", "other_rule", "kinds", "example", "sentence"]


@click.command("conflicts")
@click.argument("rule", required=False)
@org_command
def conflicts_command(rule: str | None, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """List the active rules that work against each other, or against one RULE of any status; at most 20 of a rule.

    Two rules do if one pauses and the other resumes, or one raises and the other lowers a budget or a bid, of the same
    campaign, and their conditions can hold together; an example is given with each.

    Example: cmis rules conflicts --org acme
    """
    with open_org(org_ref, user_id) as session:
        found = rule_conflicts.standing(session.database, session.context, rule)
    rows = [_row(clash) for clash in found]
    if as_json:
        emit_json(rows)
    else:
        show_rows("Conflicts", rows, _COLUMNS)


def warn(clashes: Iterable[Clash]) -> None:
    """Tell people on stderr what works against what they saved; it was saved all the same."""
    for clash in clashes:
        err.print(f"[yellow]warning[/yellow] {escape(clash.document['sentence'])}", highlight=False, soft_wrap=True)


def _row(clash: Clash) -> dict[str, Any]:
    rule = {"rule_id": clash.rule.rule_id, "rule": clash.rule.name}
    return {**rule, "other_rule_id": clash.other.rule_id, "other_rule": clash.other.name, **clash.document}
