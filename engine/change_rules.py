"""Change a stored rule, bring an earlier version of it back, and copy one. Each change is checked as a new rule is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from core import clock
from core.errors import ConflictError, Problem
from engine import rule_conflicts, rule_document, rule_history
from engine.find import find_rule
from engine.rule_conflicts import Saved
from engine.rules.definition import MAX_NAME
from engine.rules.reading import shown
from engine.secrets.check import refuse_unknown
from engine.store import actions, rules
from models.enums import Role, RuleStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context, Database
    from engine.rule_conflicts import Party
    from engine.rule_document import WantedRule

_COPY: Final = re.compile(r" \(copy(?: [0-9]+)?\)$")


def update_rule(
    database: Database,
    context: Context,
    reference: UUID | str,
    changes: object,
    *,
    if_version: int | None = None,
    strict: bool = False,
) -> Saved:
    """Lay a JSON object over a rule and store the whole; null takes a field away. What is the same changes nothing.

    Raises NotFoundError, InputError with every problem of the resulting rule, ConflictError for an archived rule, with
    `if_version` for one that is at another version (a problem for each difference), with `strict` for one that an
    active rule works against.
    """

    def wanted(connection: Connection, row: Row[Any]) -> dict[str, Any]:
        if if_version is not None and row.version != if_version:
            raise _moved_on(connection, row, if_version)
        return rule_document.changed(row, changes)

    return _save(database, context, reference, wanted, strict=strict)


def restore_rule(
    database: Database, context: Context, reference: UUID | str, number: int, *, strict: bool = False
) -> Saved:
    """Give a rule the definition of an earlier version, but not its status; that makes a new version.

    Raises as `update_rule` does, and NotFoundError for a version that is not kept.
    """

    def wanted(connection: Connection, row: Row[Any]) -> dict[str, Any]:
        kept = rule_history.version(connection, row.org_id, row, number)
        return rule_document.of_version(kept.definition, row.status)

    return _save(database, context, reference, wanted, strict=strict)


def duplicate_rule(database: Database, context: Context, reference: UUID | str, name: str | None = None) -> Row[Any]:
    """Make a draft of a rule's definition, its counters at zero, and return its row; an archived rule can be copied.

    Without a name it is `NAME (copy)`, or the next number that is free. Raises NotFoundError, InputError.
    """
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        source = find_rule(connection, context.org_id, reference)
        taken = rules.names(connection, context.org_id).values() if name is None else ()
        own = {"name": name or _copy_name(source.name, taken), "status": RuleStatus.DRAFT.value}
        wanted = rule_document.read(rule_document.of_row(source) | own)
        refuse_unknown(connection, context.org_id, wanted.definition.actions, "actions")
        row = rule_document.new_row(wanted, context, clock.now(connection))
        rules.create(connection, row)
        return find_rule(connection, context.org_id, row["rule_id"])


class _Wanted(Protocol):
    """Returns the document that a rule is to have, from its row."""

    def __call__(self, connection: Connection, row: Row[Any]) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a rule is to become, and what was seen when that was decided."""

    seen: Row[Any]
    wanted: WantedRule
    others: Sequence[Party]


def _save(database: Database, context: Context, reference: UUID | str, wanted: _Wanted, *, strict: bool) -> Saved:
    """Decide on the rule as it is, look for conflicts with no transaction open, and store it if it is still so."""
    with database.transaction(context) as connection:
        rule_id = find_rule(connection, context.org_id, reference).rule_id
    while True:
        with database.transaction(context) as connection:
            plan = _plan(connection, context.org_id, rule_id, wanted)
        found = rule_conflicts.clashes([rule_conflicts.of_wanted(rule_id, plan.wanted)], plan.others)
        if strict:
            rule_conflicts.refuse(found)
        with database.transaction(context) as connection:
            actions.require_role(connection, Role.EDITOR)
            row = _store(connection, plan)
        if row is not None:
            return Saved(row, found)


def _plan(connection: Connection, org_id: UUID, rule_id: UUID, wanted: _Wanted) -> _Plan:
    seen = find_rule(connection, org_id, rule_id)
    if seen.status == RuleStatus.ARCHIVED:
        message = f"the rule {seen.name!r} is archived and cannot be changed"
        raise ConflictError.of("status", message, "make a copy of it: `cmis rules duplicate`")
    read = rule_document.read(wanted(connection, seen))
    return _Plan(seen, read, rule_conflicts.active(connection, org_id))


def _store(connection: Connection, plan: _Plan) -> Row[Any] | None:
    """Write what differs, and return the row; None if somebody else changed the rule since it was looked at."""
    seen = plan.seen
    row = rules.lock_whole(connection, seen.org_id, seen.rule_id)
    if row.version != seen.version:
        return None
    columns = rule_document.differing(plan.wanted, row)
    if not columns:
        return row
    if "entity_id" in columns:
        rule_document.check_entity(connection, seen.org_id, columns["entity_id"])
    if "actions" in columns or columns.get("status") == RuleStatus.ACTIVE:
        refuse_unknown(connection, seen.org_id, plan.wanted.definition.actions, "actions")
    rules.change(connection, seen.org_id, seen.rule_id, columns)
    return find_rule(connection, seen.org_id, seen.rule_id)


def _moved_on(connection: Connection, row: Row[Any], expected: int) -> ConflictError:
    remedy = f"look at the difference, and repeat it with --if-version {row.version}"
    moved = Problem("version", f"the rule is at version {row.version}, not {expected}", remedy)
    since = rule_history.changes_since(connection, row.org_id, row, expected) or ()
    said = [Problem(one.path, f"was {shown(one.before)} then, and is {shown(one.after)} now") for one in since]
    return ConflictError([moved, *said])


def _copy_name(name: str, taken: Collection[str]) -> str:
    base = _COPY.sub("", name)
    number, suffix = 1, " (copy)"
    while (copy := base[: MAX_NAME - len(suffix)] + suffix) in taken:
        number += 1
        suffix = f" (copy {number})"
    return copy
