"""`cmis rules versions`: what a rule was, when it changed, and who changed what."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import limit_option
from cli.output import emit_json, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import cut, show_fields, show_rows
from engine import rule_history
from engine.find import find_rule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.rule_history import Version
    from engine.rules.difference import Difference

_COLUMNS: Final = ["version", "created_at", "user", "changes"]
_FIRST: Final = "the first that is kept"


@click.command("versions")
@click.argument("rule")
@org_command
@click.option("--show", "number", type=click.IntRange(min=1), metavar="N", help="Show version N as it was defined.")
@limit_option(50)
def versions_command(
    *, rule: str, org_ref: str, user_id: str | None, as_json: bool, number: int | None, limit: int
) -> None:
    """List the versions of a RULE, newest first: when, who, and what was different from the version before.

    Each change makes one, by whatever way it came. An execution names the version that it ran.

    \b
    Examples:
      cmis rules versions "Pause dear campaigns" --org acme
      cmis rules versions "Pause dear campaigns" --org acme --show 3 --json
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        row = find_rule(connection, session.org.org_id, rule, "RULE")
        if number is not None:
            [shown] = rows_as_dicts([rule_history.version(connection, row.org_id, row, number, "--show")])
        else:
            found = rule_history.versions(connection, row.org_id, row.rule_id, limit=limit + 1)
    if number is not None:
        _print_version(shown, as_json=as_json)
    else:
        _print_versions(row.name, found, limit, as_json=as_json)


def changes_text(changes: Sequence[Difference]) -> str:
    """Return differences as text, `cooldown_minutes 60 → 120`, a line each; whoever prints it escapes it."""
    return "\n".join(f"{each.path} {_text(each.before)} → {_text(each.after)}" for each in changes)


def _text(value: object) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _print_version(version: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(version)
    else:
        definition = version.pop("definition")
        show_fields(f"Version {version['version']} of {definition['name']}", {**version, **definition})


def _print_versions(name: str, found: Sequence[Version], limit: int, *, as_json: bool) -> None:
    shown = cut([asdict(version) for version in found], limit)
    if as_json:
        emit_json(shown)
        return
    texts = [_FIRST if version.changes is None else changes_text(version.changes) for version in found]
    show_rows(
        f"Versions of {name}", [row | {"changes": text} for row, text in zip(shown, texts, strict=False)], _COLUMNS
    )
