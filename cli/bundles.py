"""`cmis bundles`: packs of rules, an org's own and those that others show to all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import read_json
from cli.output import emit_json, err, rows_as_dicts
from cli.rule_conflicts import strict_option, warn
from cli.rule_explain import explain_document
from cli.session import open_org, org_command
from cli.tables import show_fields, show_rows
from core.db import RESERVED_ORG
from core.errors import InputError
from engine import bundles as service
from engine.find import find_bundle
from engine.store import bundles as store
from engine.store import rules
from models.enums import BundleCategory, BundleStatus

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy import Row

_COLUMNS: Final = ["workflow_id", "name", "category", "origin", "rule_count", "usage_count", "last_used_at"]


@click.group()
def bundles() -> None:
    """Bundles: packs of rules to make an org's own of. BUNDLE is an id or an exact name."""


@bundles.command("list")
@org_command
@click.option("--category", type=click.Choice([each.value for each in BundleCategory]), help="Only of this category.")
@click.option(
    "--status",
    type=click.Choice([each.value for each in BundleStatus]),
    default="active",
    show_default=True,
    help="Only of this status.",
)
def list_command(org_ref: str, user_id: str | None, as_json: bool, category: str | None, status: str) -> None:
    """List the bundles that an org may use: its own, the product's, and those that other orgs show to all.

    Example: cmis bundles list --org acme --category budget
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        found = store.listing(connection, session.org.org_id, category=category, status=status)
        rows = [_with_origin(row, session.org.org_id) for row in found]
    if as_json:
        emit_json(rows)
    else:
        show_rows("Bundles", rows, _COLUMNS, hint="`cmis bundles create` makes one.")


@bundles.command("show")
@click.argument("bundle")
@org_command
def show_command(bundle: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Show one BUNDLE: its rules in plain English, and the org's rules that were made of it.

    Example: cmis bundles show "Performance guard" --org acme --json
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        row = find_bundle(connection, session.org.org_id, bundle, "BUNDLE")
        made = rows_as_dicts(rules.made_of(connection, session.org.org_id, row.workflow_id))
        shown = _with_origin(row, session.org.org_id)
    if as_json:
        emit_json({**shown, "made": made})
        return
    _print(shown)
    show_rows("Rules made of it", made, ["rule_id", "name", "status", "created_at"])


@bundles.command("create")
@org_command
@click.option("--file", "path", required=True, metavar="FILE", help="A JSON object, up to 256 KiB; - is stdin.")
def create_command(org_ref: str, user_id: str | None, as_json: bool, path: str) -> None:
    """Create a bundle from a JSON file: name, category, and up to 50 rules as `rules create` takes them.

    A rule in it has neither status nor entity_id: these are chosen when rules are made of it. A bundle that is_public
    can be read and used by every org, and changed by its own alone.

    \b
    Example: cmis bundles create --org acme --file bundle.json, where bundle.json holds
      {"name": "Our basics", "category": "performance", "is_public": false,
       "rules": [{"name": "Pause dear campaigns",
                  "conditions": [{"field": "cpa", "operator": ">", "value": 50}],
                  "actions": [{"type": "pause_campaign"}]}]}
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    document = read_json("--file", path)
    with open_org(org_ref, user_id) as session:
        _show(service.create_bundle(session.database, session.context, document), as_json=as_json)


@bundles.command("update")
@click.argument("bundle")
@org_command
@click.option("--file", "path", required=True, metavar="FILE", help="A JSON object of what changes; - is stdin.")
def update_command(bundle: str, org_ref: str, user_id: str | None, as_json: bool, path: str) -> None:
    """Change one of the org's own BUNDLEs: what is given changes, the rest stays; null takes an optional field away.

    Rules that were made of it stay as they are. {"status": "active"} brings an archived one back.

    Example: cmis bundles update "Our basics" --org acme --file patch.json
    """
    changes = read_json("--file", path)
    with open_org(org_ref, user_id) as session:
        _show(service.update_bundle(session.database, session.context, bundle, changes), as_json=as_json)


@bundles.command("archive")
@click.argument("bundle")
@org_command
def archive_command(bundle: str, org_ref: str, user_id: str | None, as_json: bool) -> None:
    """Let no more rules be made of one of the org's own BUNDLEs; the rules that were made of it go on.

    Example: cmis bundles archive "Our basics" --org acme
    """
    with open_org(org_ref, user_id) as session:
        _show(service.archive_bundle(session.database, session.context, bundle), as_json=as_json)


@bundles.command("instantiate")
@click.argument("bundle")
@org_command
@click.option(
    "--status", type=click.Choice(["draft", "active"]), default="draft", show_default=True, help="Of the new rules."
)
@click.option("--entity", metavar="CAMPAIGN", help="For this campaign only (id or exact name); default: every one.")
@click.option("--prefix", default="", metavar="TEXT", help="Put before the name of each rule.")
@strict_option
def instantiate_command(
    *, bundle: str, org_ref: str, user_id: str | None, as_json: bool, strict: bool, **chosen: Any
) -> None:
    """Make rules of a BUNDLE: all of them in one transaction, or none. They are drafts unless told otherwise.

    Example: cmis bundles instantiate "Performance guard" --org acme --prefix "Summer: "
    """
    with open_org(org_ref, user_id) as session:
        database, context = session.database, session.context
        made = service.instantiate(database, context, bundle, service.Choices(**chosen), strict=strict)
    rows = [
        {
            "rule_id": each.row.rule_id,
            "name": each.row.name,
            "status": each.row.status,
            "conflicts": [clash.told() for clash in each.clashes],
        }
        for each in made.rules
    ]
    if as_json:
        emit_json({"workflow_id": made.bundle.workflow_id, "name": made.bundle.name, "rules": rows})
        return
    show_rows(f"Rules of {made.bundle.name}", rows, ["rule_id", "name", "status"])
    warn(clash for each in made.rules for clash in each.clashes)
    err.print("each acts once it is active and a job runs it: cmis rules activate, cmis jobs add", highlight=False)


def _with_origin(row: Row[Any], org_id: UUID) -> dict[str, Any]:
    """Say whose a bundle is; other orgs stay nameless."""
    [shown] = rows_as_dicts([row])
    shared = "product" if row.org_id == RESERVED_ORG else "shared"
    return {**shown, "origin": "own" if row.org_id == org_id else shared}


def _show(row: Row[Any], *, as_json: bool) -> None:
    [shown] = rows_as_dicts([row])
    if as_json:
        emit_json(shown)
    else:
        _print(shown)


def _print(bundle: Mapping[str, Any]) -> None:
    show_fields(f"Bundle {bundle['name']}", {key: value for key, value in bundle.items() if key != "rules"})
    show_rows("Rules", [_told(rule) for rule in bundle["rules"]], ["name", "rule"])


def _told(rule: Any) -> dict[str, Any]:
    """Say a rule in words; another org's may hold kinds of actions that are not installed here, or anything at all."""
    name = rule.get("name") if isinstance(rule, dict) else None
    try:
        return {"name": name, "rule": explain_document(rule, "and")["sentence"]}
    except InputError as error:
        return {"name": name, "rule": f"cannot be read here: {error}"}
