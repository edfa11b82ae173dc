"""Bundles of rules: an org's own are made and changed here, and rules are made of any that it may read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from core import clock
from core.db import refusing
from core.errors import ConflictError, InputError
from core.ids import uuid7
from engine import rule_conflicts, rule_document
from engine.find import find_bundle, find_campaign
from engine.rule_conflicts import Saved
from engine.rules.bundle import KEYS, parse_bundle, under
from engine.rules.reading import Problems, shown
from engine.secrets.check import refuse_unknown
from engine.store import actions, audit, bundles, rules
from models.audit_actions import AuditAction
from models.enums import BundleStatus, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from engine.rule_conflicts import Party
    from engine.rule_document import WantedRule
    from engine.rules.bundle import BundleDefinition

_NAME: Final = "automation_workflows_org_id_name_key"
_TAKEN: Final = ConflictError.of("name", "there is a bundle of this name already", "give it a name of its own")


@dataclass(frozen=True, slots=True)
class Instantiated:
    """A bundle, and the rules that were made of it, in its order."""

    bundle: Row[Any]
    rules: Sequence[Saved]


@dataclass(frozen=True, slots=True)
class Choices:
    """What is chosen when rules are made of a bundle; no entity = every campaign."""

    status: Literal["draft", "active"] = "draft"
    entity: UUID | str | None = None
    prefix: str = ""


def create_bundle(database: Database, context: Context, document: object) -> Row[Any]:
    """Store a bundle of rules and return its row; raises InputError with every problem, ConflictError for its name."""
    columns = _columns(_parse(document))
    with refusing(_NAME, _TAKEN), database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        now = clock.now(connection)
        keys = {"org_id": context.org_id, "workflow_id": uuid7(now), "owner_id": context.user_id}
        bundles.create(connection, columns | keys | {"created_at": now, "updated_at": now})
        return find_bundle(connection, context.org_id, keys["workflow_id"])


def update_bundle(database: Database, context: Context, reference: UUID | str, changes: object) -> Row[Any]:
    """Lay a JSON object over one of the org's own bundles; null takes a field away. What is the same changes nothing.

    Rules that were made of it stay as they are. Raises NotFoundError, InputError with every problem of the whole,
    ConflictError for a taken name or another org's bundle.
    """
    if not isinstance(changes, dict):
        message = f"a change must be an object, not {shown(changes)}"
        raise InputError.of("", message, "give the keys that are to be different")
    with refusing(_NAME, _TAKEN), database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        row = bundles.lock(connection, context.org_id, _own(connection, context.org_id, reference).workflow_id)
        document = _document(row) | changes
        kept = {key: value for key, value in document.items() if key not in changes or value is not None}
        return _change(connection, row, _columns(_parse(kept)))


def archive_bundle(database: Database, context: Context, reference: UUID | str) -> Row[Any]:
    """Let no more rules be made of one of the org's own bundles, and return its row; others do not see it any more."""
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        row = bundles.lock(connection, context.org_id, _own(connection, context.org_id, reference).workflow_id)
        return _change(connection, row, {"status": BundleStatus.ARCHIVED.value})


def instantiate(
    database: Database, context: Context, reference: UUID | str, choices: Choices, *, strict: bool = False
) -> Instantiated:
    """Make all the rules of a bundle in one transaction, or none, and count its use.

    Raises NotFoundError for the bundle or the entity, InputError with every problem of a rule as it would be,
    ConflictError for an archived bundle and, with `strict`, if rules work against each other or against active ones.
    """
    with database.transaction(context) as connection:
        bundle = find_bundle(connection, context.org_id, reference)
        wanted = _wanted(connection, context.org_id, bundle, choices)
        now = clock.now(connection)
        others = rule_conflicts.active(connection, context.org_id)
    rows = _rows(bundle, wanted, context, now)
    found = rule_conflicts.clashes(_parties(rows, wanted), others)
    if strict:
        rule_conflicts.refuse(found)
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        made = _insert(connection, bundle, rows, now)
    saved = [Saved(made[row["rule_id"]], rule_conflicts.of_rule(found, row["rule_id"])) for row in rows]
    return Instantiated(bundle, saved)


def _parse(document: object) -> BundleDefinition:
    return parse_bundle(document, check_rule=rule_document.read)


def _document(row: Row[Any]) -> dict[str, Any]:
    return {key: row._mapping[key] for key in KEYS}  # noqa: SLF001 - SQLAlchemy's documented accessor


def _columns(definition: BundleDefinition) -> dict[str, Any]:
    return {
        "name": definition.name,
        "description": definition.description or "",
        "category": definition.category.value,
        "rules": definition.rules,
        "is_public": definition.is_public,
        "status": definition.status.value,
    }


def _own(connection: Connection, org_id: UUID, reference: UUID | str) -> Row[Any]:
    bundle = find_bundle(connection, org_id, reference)
    if bundle.org_id != org_id:
        message = f"the bundle {bundle.name!r} belongs to somebody else, who alone may change it"
        raise ConflictError.of("bundle", message, "make a bundle of your own: `cmis bundles create`")
    return bundle


def _change(connection: Connection, row: Row[Any], columns: Mapping[str, Any]) -> Row[Any]:
    differing = {name: value for name, value in columns.items() if value != row._mapping[name]}  # noqa: SLF001
    if not differing:
        return row
    values = differing | {"updated_at": clock.now(connection)}
    bundles.change(connection, row.org_id, row.workflow_id, values)
    return find_bundle(connection, row.org_id, row.workflow_id)


def _wanted(connection: Connection, org_id: UUID, bundle: Row[Any], choices: Choices) -> list[WantedRule]:
    if bundle.status != BundleStatus.ACTIVE:
        raise _not_active(bundle)
    stored = _parse(_document(bundle))  # whoever wrote it: what is no bundle is told as wrong input
    given: dict[str, Any] = {"status": choices.status}
    if choices.entity is not None:
        given["entity_id"] = str(find_campaign(connection, org_id, choices.entity, "entity").campaign_id)
    problems, wanted = Problems(), []
    for index, rule in enumerate(stored.rules):
        try:
            read = rule_document.read({**rule, **given, "name": f"{choices.prefix}{rule['name']}"})
            refuse_unknown(connection, org_id, read.definition.actions, "actions")
            wanted.append(read)
        except InputError as error:
            problems.extend(InputError(under(f"rules[{index}]", error)))
    problems.raise_if_any()
    if wanted:
        rule_document.check_entity(connection, org_id, wanted[0].definition.entity_id)
    return wanted


def _rows(bundle: Row[Any], wanted: Sequence[WantedRule], context: Context, now: datetime) -> list[dict[str, Any]]:
    """Return the rows of the new rules; their ids are in the bundle's order, which is the one in which rules apply."""
    ids = sorted(uuid7(now) for _ in wanted)
    return [
        rule_document.new_row(each, context, now) | {"rule_id": rule_id, "workflow_id": bundle.workflow_id}
        for rule_id, each in zip(ids, wanted, strict=True)
    ]


def _parties(rows: Sequence[Mapping[str, Any]], wanted: Sequence[WantedRule]) -> list[Party | None]:
    return [rule_conflicts.of_wanted(row["rule_id"], each) for row, each in zip(rows, wanted, strict=True)]


def _insert(
    connection: Connection, bundle: Row[Any], rows: Sequence[dict[str, Any]], now: datetime
) -> dict[UUID, Row[Any]]:
    org_id = rows[0]["org_id"]
    rules.create(connection, rows)
    ids = [row["rule_id"] for row in rows]
    entry = {
        "audit_id": uuid7(now),
        "action": AuditAction.WORKFLOW_INSTANTIATED.value,
        "entity_type": "workflow",
        "entity_id": bundle.workflow_id,
        "details": {"name": bundle.name, "rules": ids},
    }
    audit.record(connection, org_id, [entry], now=now)
    # Last, since it locks a row that many orgs may share.
    if not bundles.use(connection, bundle.org_id, bundle.workflow_id):
        raise _not_active(bundle)
    return rules.some(connection, org_id, ids)


def _not_active(bundle: Row[Any]) -> ConflictError:
    message = f"the bundle {bundle.name!r} is archived, or not shown to others any more"
    return ConflictError.of("bundle", message, "see `cmis bundles list`")
