"""`cmis rules create|update|restore|duplicate`: a rule's definition, from a file or from a version of before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.arguments import read_json
from cli.output import emit_json, rows_as_dicts
from cli.rule_conflicts import strict_option, warn
from cli.session import open_org, org_command
from cli.tables import show_fields
from engine import change_rules, define

if TYPE_CHECKING:
    from sqlalchemy import Row

    from engine.rule_conflicts import Saved


@click.command("create")
@org_command
@click.option("--file", "path", required=True, metavar="FILE", help="A JSON object, up to 256 KiB; - is stdin.")
@strict_option
def create_command(org_ref: str, user_id: str | None, as_json: bool, path: str, strict: bool) -> None:
    """Create a rule from a JSON file.

    Needs name, conditions and actions; everything else has a default: status (draft), priority (medium),
    condition_logic (and), cooldown_minutes (60), max_executions_per_day, entity_id (every campaign), guardrails ...

    \b
    Example: cmis rules create --org acme --file rule.json, where rule.json holds
      {"name": "Pause dear campaigns", "status": "active",
       "conditions": [{"field": "cpa", "window": "lifetime", "operator": ">", "value": 50}],
       "actions": [{"type": "pause_campaign"}]}
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    document = read_json("--file", path)
    with open_org(org_ref, user_id) as session:
        print_saved(define.create_rule(session.database, session.context, document, strict=strict), as_json=as_json)


@click.command("update")
@click.argument("rule")
@org_command
@click.option("--file", "path", required=True, metavar="FILE", help="A JSON object of what changes; - is stdin.")
@click.option("--if-version", type=click.IntRange(min=1), help="Refuse, and show the difference, at another version.")
@strict_option
def update_command(
    *, rule: str, org_ref: str, user_id: str | None, as_json: bool, path: str, if_version: int | None, strict: bool
) -> None:
    """Change a RULE: give what is to be different, the rest stays; null takes an optional field away.

    The whole is checked as a new rule is. The status may change, too; archived rules stay as they are.

    \b
    Example: cmis rules update "Pause dear campaigns" --org acme --file patch.json, where patch.json holds
      {"cooldown_minutes": 1440, "max_executions_per_day": null}
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    changes = read_json("--file", path)
    with open_org(org_ref, user_id) as session:
        database, context = session.database, session.context
        saved = change_rules.update_rule(database, context, rule, changes, if_version=if_version, strict=strict)
        print_saved(saved, as_json=as_json)


@click.command("restore")
@click.argument("rule")
@org_command
@click.option("--version", type=click.IntRange(min=1), required=True, help="The version whose definition comes back.")
@strict_option
def restore_command(rule: str, org_ref: str, user_id: str | None, as_json: bool, version: int, strict: bool) -> None:
    """Give a RULE the definition that it had at an earlier version; its status stays. That makes a new version.

    Example: cmis rules restore "Pause dear campaigns" --org acme --version 3
    """
    with open_org(org_ref, user_id) as session:
        saved = change_rules.restore_rule(session.database, session.context, rule, version, strict=strict)
        print_saved(saved, as_json=as_json)


@click.command("duplicate")
@click.argument("rule")
@org_command
@click.option("--name", help="Name of the copy; default: NAME (copy), or the next number that is free.")
def duplicate_command(rule: str, org_ref: str, user_id: str | None, as_json: bool, name: str | None) -> None:
    """Copy a RULE, archived ones too: a draft of the same definition, its counters at zero.

    Example: cmis rules duplicate "Pause dear campaigns" --org acme --name "Pause dear campaigns, stricter"
    """
    with open_org(org_ref, user_id) as session:
        print_rule(change_rules.duplicate_rule(session.database, session.context, rule, name), as_json=as_json)


def print_saved(saved: Saved, *, as_json: bool) -> None:
    """Print a rule that was stored, with what works against it: under `conflicts`, or as warnings."""
    print_rule(saved.row, as_json=as_json, conflicts=[clash.told() for clash in saved.clashes])
    if not as_json:
        warn(saved.clashes)


def print_rule(row: Row[Any], *, as_json: bool, **more: Any) -> None:
    """Print a rule with all its columns, in JSON with what there is to tell beside."""
    [rule] = rows_as_dicts([row])
    if as_json:
        emit_json(rule | more)
    else:
        show_fields(f"Rule {rule['name']}", rule)
