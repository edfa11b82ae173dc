"""How a rule came to be as it is: its versions, and what each changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.errors import NotFoundError
from engine.rules.difference import Difference, differences
from engine.store import rule_versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row


@dataclass(frozen=True, slots=True)
class Version:
    """One version: when and by whom it was made, and what it changed; None of the first that is kept."""

    version: int
    created_at: datetime
    user_id: UUID | None
    user: str | None
    changes: Sequence[Difference] | None


def versions(connection: Connection, org_id: UUID, rule_id: UUID, *, limit: int) -> list[Version]:
    """Return a rule's versions, newest first, each against the one before it."""
    rows = rule_versions.listing(connection, org_id, rule_id, limit=limit + 1)
    before = [*rows[1:], None]
    return [_version(row, older) for row, older in zip(rows, before, strict=True)][:limit]


def version(connection: Connection, org_id: UUID, rule: Row[Any], number: int, field: str = "version") -> Row[Any]:
    """Return one version of a rule, with its `definition`; raises NotFoundError on `field` if it is not kept."""
    found = rule_versions.some(connection, org_id, rule.rule_id, [number]).get(number)
    if found is None:
        message = f"the rule {rule.name!r} has no version {number} that is kept"
        raise NotFoundError.of(field, message, "see `cmis rules versions`")
    return found


def changes_since(connection: Connection, org_id: UUID, rule: Row[Any], number: int) -> list[Difference] | None:
    """Return how a rule is different from what it was at a version; None if that one is not kept."""
    if rule.version == number:
        return []
    found = rule_versions.some(connection, org_id, rule.rule_id, [number, rule.version])
    if number not in found or rule.version not in found:
        return None
    return differences(found[number].definition, found[rule.version].definition)


def _version(row: Row[Any], older: Row[Any] | None) -> Version:
    changes = None if older is None else differences(older.definition, row.definition)
    return Version(row.version, row.created_at, row.user_id, row.user, changes)
