"""`cmis rules dry-run`: what a rule would do now, entity by entity, without doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import read_json
from cli.explain import change_text, print_execution
from cli.output import emit_json, err, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import show_rows
from core.errors import InputError
from engine import dry_run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLUMNS: Final = ["entity_id", "campaign", "action", "status", "change", "reason"]


@click.command("dry-run")
@click.argument("rule", required=False)
@org_command
@click.option("--file", "path", metavar="FILE", help="A rule that is not stored, as JSON; - is stdin.")
@click.option("--entity", metavar="CAMPAIGN", help="Look at this campaign alone (id or exact name).")
def dry_run_command(
    rule: str | None, org_ref: str, user_id: str | None, as_json: bool, path: str | None, entity: str | None
) -> None:
    """Show what a RULE would do now: the worker's own evaluation on live data, of which nothing is kept.

    All gates and guardrails apply, except that a draft or paused rule is tried as if it were active; the output says
    so. While it runs it waits for, and holds up, what a run would.

    \b
    Examples:
      cmis rules dry-run "Pause dear campaigns" --org acme
      cmis rules dry-run --file rule.json --entity "Spring sale" --org acme --json
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    if (rule is None) == (path is None):
        raise InputError.of("RULE", "or --file is required, and not both", "name a stored rule, or give a file")
    document = None if path is None else read_json("--file", path)
    with open_org(org_ref, user_id) as session:
        if rule is None:
            done = dry_run.try_document(session.database, session.context, document, entity=entity)
        else:
            done = dry_run.try_rule(session.database, session.context, rule, entity=entity)
    shown = document_of(done)
    if as_json:
        emit_json(shown)
    else:
        _print(shown, done.rule.name)


def document_of(done: dry_run.DryRun) -> dict[str, Any]:
    """Return a dry run in the shape of `executions show`, marked as one; a rule that is not stored has no id."""
    [execution] = rows_as_dicts([done.execution])
    current = {"rule_version_is_current": done.rule.version == done.execution.rule_version}
    marks = {"dry_run": True, "as_if_active": done.as_if_active}
    return {**execution, **current, "actions": rows_as_dicts(done.actions), **marks}


def _print(shown: Mapping[str, Any], name: str) -> None:
    print_execution(shown, name, title="Dry run")
    if shown["as_if_active"]:
        err.print("the rule is not active: it was tried as if it were", highlight=False)
    rows = _rows(shown["actions"], shown["conditions_evaluated"].get("entities", ()))
    show_rows("What would change", rows, _COLUMNS)


def _rows(actions: Sequence[Mapping[str, Any]], entities: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = {entity["entity_id"]: entity["name"] for entity in entities}
    return [
        {
            "entity_id": action["entity_id"],
            "campaign": names.get(str(action["entity_id"])),
            "action": action["type"],
            "status": action["status"],
            "change": change_text(action),
            "reason": (action["error"] or {}).get("message"),
        }
        for action in actions
    ]
