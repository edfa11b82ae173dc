"""`cmis rules why`: which gate stops a rule for a campaign now, or what the rule would do to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click
from rich.tree import Tree

from cli.explain import change_text, trace_tree
from cli.output import emit_json, out, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import plain, words
from engine.why import why

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row

    from engine.why import Why

_VERDICTS: Final = {
    "would_fire": "[green]would fire[/green]",
    "would_ask": "[yellow]would only ask for approval[/yellow]",
    "stopped": "[red]would not fire[/red]",
    "would_fail": "[red]would fail[/red]",
}
_MARKS: Final = {
    "passed": "[green]passed[/green]",
    "stopped": "[red]stopped[/red]",
    "not_reached": "[dim]not reached[/dim]",
}
_WOULD: Final = {
    "succeeded": "would do",
    "held": "would ask for",
    "failed": "would fail at",
    "queued": "would do later",
    "delivered": "would deliver",
}
_RECORDS: Final = {"last_acted": "last acted on it:", "last_evaluation": "last evaluated:"}
_OWN: Final = frozenset({"gate", "result", "reason", "trace"})


@click.command("why")
@click.argument("rule")
@click.option("--entity", required=True, metavar="CAMPAIGN", help="The campaign, by id or exact name.")
@org_command
def why_command(rule: str, entity: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Say which gate or comparison stops a RULE for a campaign now, and the nearest miss; or what it would do.

    The rule is evaluated as a worker would now, and nothing of it is kept.

    Example: cmis rules why "Pause dear campaigns" --entity "Spring sale" --org acme
    """
    with open_org(org_ref, user_id) as session:
        found = why(session.database, session.context, rule, entity)
    document = document_of(found)
    if as_json:
        emit_json(document)
    else:
        _print(document)


def document_of(found: Why) -> dict[str, Any]:
    """Return the answer as JSON: verdict, gates, effects, nearest miss, and what is on record."""
    evaluated, stop, miss = found.evaluated, found.stopped_by, found.nearest_miss
    return {
        "rule_id": evaluated.rule.rule_id,
        "rule": evaluated.rule.name,
        "entity_id": evaluated.campaign.campaign_id,
        "campaign": evaluated.campaign.name,
        "at": evaluated.org.now,
        "verdict": found.verdict,
        "stopped_by": None if stop is None else stop.gate,
        "reason": found.error["message"] if found.error else None if stop is None else stop.reason,
        "gates": [gate.document() for gate in found.gates],
        "actions": [] if found.error else rows_as_dicts(evaluated.actions),
        "nearest_miss": None if miss is None else miss.document(),
        "error": found.error,
        "last_acted": _record(found.last_acted),
        "last_evaluation": _record(found.last_evaluation),
    }


def _record(execution: Row[Any] | None) -> dict[str, Any] | None:
    if execution is None:
        return None
    return {name: getattr(execution, name) for name in ("execution_id", "status", "skip_reason", "started_at")}


def _print(document: Mapping[str, Any]) -> None:
    verdict = _VERDICTS[document["verdict"]]
    lines = [f"{plain(document['rule'])} [bold]{verdict}[/bold] for {plain(document['campaign'])}"]
    if document["reason"]:
        lines.append(plain(document["reason"]))
    lines += [
        f"{_would(action)} {action['type']}: {plain(change_text(action))}".rstrip(": ")
        for action in document["actions"]
    ]
    lines += [f"{_RECORDS[name]} {plain(_recorded(document[name]))}" for name in _RECORDS]
    out.print("\n  ".join(lines), highlight=False, soft_wrap=True)
    if document["gates"]:
        tree = Tree("gates")
        for gate in document["gates"]:
            _add_gate(tree, gate)
        out.print(tree)


def _would(action: Mapping[str, Any]) -> str:
    return _WOULD["delivered" if action["channel"] else action["status"]]


def _add_gate(tree: Tree, gate: Mapping[str, Any]) -> None:
    told = ", ".join(f"{name} {words(value)}" for name, value in gate.items() if name not in _OWN)
    branch = tree.add(f"{gate['gate']} {_MARKS[gate['result']]} {plain(told)}".rstrip(), highlight=False)
    if gate.get("trace"):
        branch.add(trace_tree(gate["trace"]))


def _recorded(record: Mapping[str, Any] | None) -> str:
    if record is None:
        return "never"
    reason = f" ({record['skip_reason']})" if record["skip_reason"] else ""
    return f"{words(record['started_at'])} {record['status']}{reason}, execution {record['execution_id']}"
