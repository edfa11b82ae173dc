"""Why a rule did what it did, for people: its gate, its counts, and the trace of each entity as a tree."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from rich.tree import Tree

from cli.output import out
from cli.tables import cell, plain, words
from engine.rules.gates import SkipReason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN: Final = 25
_LOGICS: Final = ("all", "any", "none")
_RESULTS: Final = {True: "[green]true[/green]", False: "[red]false[/red]", None: "[yellow]unknown[/yellow]"}
_NAMED: Final = {"true": True, "false": False, "unknown": None}
_GATES: Final = {
    SkipReason.RULE_INACTIVE: "the rule is not active",
    SkipReason.DAILY_LIMIT: "the rule has acted as often today as it may",
    SkipReason.NO_ENTITIES: "there was no campaign to look at",
    SkipReason.COOLDOWN: "the rule acted on every campaign too recently",
    SkipReason.CONDITIONS_UNKNOWN: "the conditions could not be decided for any campaign",
    SkipReason.CONDITIONS_NOT_MET: "the conditions held for no campaign",
    SkipReason.NO_CHANGE: "every campaign that met the conditions already is as the actions would make it",
    SkipReason.GUARDRAIL: "what the actions would do already waits for approval, or was rejected",
}


def print_execution(execution: Mapping[str, Any], rule_name: str, *, title: str | None = None) -> None:
    """Print an execution with its `actions`: what happened, why, and to whom. `title`: what it is, if no record."""
    heading = f"[bold]{title or 'Execution ' + str(execution['execution_id'])}[/bold] of rule {plain(rule_name)}"
    out.print("\n  ".join([heading, *_summary(execution)]), highlight=False, soft_wrap=True)
    effects = _by_entity(execution["actions"])
    seen = sorted(execution["conditions_evaluated"].get("entities", []), key=lambda entity: _place(entity, effects))
    if not seen:
        return
    tree = Tree("campaigns")
    for entity in seen[:_SHOWN]:
        _add_entity(tree, entity, effects.get(entity["entity_id"], []))
    if len(seen) > _SHOWN:
        tree.add(f"[dim]… and {len(seen) - _SHOWN} more; --json shows them[/dim]")
    out.print(tree)


def trace_tree(trace: Mapping[str, Any]) -> Tree:
    """Return the trace of one evaluation as a tree."""
    tree = Tree(_line(trace), highlight=False)
    _add_nodes(tree, trace)
    return tree


def result_text(result: bool | None) -> str:
    """Return a three-valued result as coloured text."""
    return _RESULTS[result]


def gate_text(reason: str) -> str:
    """Return what a skip reason means."""
    return _GATES[SkipReason(reason)]


def _summary(execution: Mapping[str, Any]) -> list[str]:
    counts = execution["conditions_evaluated"].get("counts", {})
    lines = [
        f"status   {execution['status']}, attempt {execution['attempt']}, rule version {execution['rule_version']}",
        f"started  {cell(execution['started_at'])} ({execution['trigger']}), took {execution['duration_ms']} ms",
    ]
    if execution["skip_reason"]:
        reason = execution["skip_reason"]
        lines.append(f"gate     {reason}: {gate_text(reason)}")
    if counts:
        lines.append("counts   " + ", ".join(f"{count} {plain(name)}" for name, count in counts.items()))
    if execution["results"]:
        lines.append("actions  " + ", ".join(f"{n} {plain(status)}" for status, n in execution["results"].items()))
    if execution["error"]:
        lines.append(f"error    {plain(str(execution['error'].get('message')))}")
    return lines


def _place(entity: Mapping[str, Any], effects: Mapping[str, object]) -> tuple[bool, bool, bool]:
    """First whatever has an effect, done or asked for; then what was missed narrowly; what nobody knows comes last."""
    return not entity["acted"], entity["entity_id"] not in effects, entity["result"] == "unknown"


def _by_entity(actions: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for action in actions:
        found.setdefault(str(action["entity_id"]), []).append(action)
    return found


def _add_entity(tree: Tree, entity: Mapping[str, Any], effects: Sequence[Mapping[str, Any]]) -> None:
    result = entity["result"]
    shown = _RESULTS[_NAMED[result]] if result in _NAMED else f"[cyan]{plain(result)}[/cyan]"
    branch = tree.add(f"{shown} [bold]{plain(entity['name'])}[/bold] [dim]{entity['entity_id']}[/dim]", highlight=False)
    if entity.get("last_acted_at"):
        acted = dt.datetime.fromisoformat(entity["last_acted_at"])
        branch.add(f"the rule last acted on it at {cell(acted)}", highlight=False)
    if "trace" in entity:
        branch.add(trace_tree(entity["trace"]))
    for effect in effects:
        branch.add(_effect(effect), highlight=False)


def change_text(effect: Mapping[str, Any]) -> str:
    """Return what an effect changes: `budget 100 → 120`; of a delivery, to whom it goes."""
    if effect.get("channel"):
        return f"{effect['channel']} to {_address(effect['after'])}"
    return ", ".join(f"{key} {words(effect['before'].get(key))} → {words(to)}" for key, to in effect["after"].items())


def _address(message: Mapping[str, Any]) -> str:
    """Return to whom a message goes; secrets in it are references."""
    to = message.get("to") or message.get("url") or f"connector {message.get('connector_id')}"
    return ", ".join(to) if isinstance(to, list) else str(to)


def _effect(effect: Mapping[str, Any]) -> str:
    reason = (effect["error"] or {}).get("message")
    told = [plain(change_text(effect)), "" if reason is None else plain(reason)]
    return f"{effect['type']} [bold]{effect['status']}[/bold] {'; '.join(filter(None, told))}".rstrip()


def _add_nodes(tree: Tree, node: Mapping[str, Any]) -> None:
    logic = next((logic for logic in _LOGICS if logic in node), None)
    for child in node[logic] if logic else ():
        _add_nodes(tree.add(_line(child), highlight=False), child)


def _line(node: Mapping[str, Any]) -> str:
    logic = next((logic for logic in _LOGICS if logic in node), None)
    result = _RESULTS[node["result"]]
    if logic:
        return f"{logic} of → {result}"
    reason = f" ({plain(node['reason'])})" if "reason" in node else ""
    if node["result"] is False and "margin_pct" in node:
        reason = f" [dim](turns at {node['margin_pct']:+.4g} %)[/dim]"
    compared = " ".join(filter(None, [_observed(node), plain(node["operator"]), _expected(node)]))
    return f"{compared} → {result}{reason}"


def _observed(node: Mapping[str, Any]) -> str:
    window = f"@{node['window']}" if node.get("window") else ""
    told = f"{plain(node['field'])}{window} = {_value(node['actual'])}"
    if "previous" in node:
        told += f" (before {_value(node['previous'])}, changed {_value(node['change_pct'])} %)"
    return told


def _expected(node: Mapping[str, Any]) -> str:
    expected = node.get("expected")
    if isinstance(expected, dict):
        return f"{_value(expected['value'])} ({_value(expected['times'])} times {_observed(expected)})"
    return "" if "expected" not in node else _value(expected)


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return f'"{cell(value)}"'
    return "unknown" if value is None else cell(value)
