"""A rule as a document: read whole, taken from a stored rule or an earlier version, and with changes laid over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from core.errors import InputError, NotFoundError
from core.ids import uuid7
from engine.actions.registry import ActionSpec, parse_actions
from engine.rules.definition import parse_rule
from engine.rules.difference import differences
from engine.rules.reading import shown
from engine.store import campaigns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from core.db import Context
    from engine.rules.definition import RuleDefinition

Document: TypeAlias = "Mapping[Any, Any]"

COLUMNS: Final = (
    "name",
    "description",
    "rule_type",
    "entity_type",
    "entity_id",
    "trigger_type",
    "conditions",
    "condition_logic",
    "actions",
    "stop_on_error",
    "delay_between_actions_seconds",
    "priority",
    "status",
    "max_executions_per_day",
    "cooldown_minutes",
    "min_sample",
    "max_data_age",
    "guardrails",
)
"""The columns of a rule that its document gives."""


@dataclass(frozen=True, slots=True)
class WantedRule:
    """A valid rule: as the language sees it, and as `COLUMNS`; conditions and actions are as they were written."""

    definition: RuleDefinition[ActionSpec]
    columns: dict[str, Any]


def read(document: object) -> WantedRule:
    """Read a whole rule; raises InputError with every problem."""
    definition = parse_rule(document, parse_actions=parse_actions)
    if not isinstance(document, dict):
        raise TypeError("a document that is no object was parsed as a rule")
    return WantedRule(definition, _columns(definition, document))


def of_row(row: Row[Any]) -> dict[str, Any]:
    """Return a stored rule's document: `read` of it gives the same columns."""
    columns = row._asdict()
    return {name: columns[name] for name in COLUMNS if columns[name] is not None} | _entity(columns["entity_id"])


def of_version(definition: Document, status: str) -> dict[str, Any]:
    """Return the document of a kept version, with a status of now: what a rule does comes back, not whether it acts."""
    kept = {name: definition[name] for name in COLUMNS if definition.get(name) is not None}
    return kept | {"status": status}


def changed(row: Row[Any], changes: object) -> dict[str, Any]:
    """Return a stored rule's document with changes laid over it; null takes a field away, so that its default holds.

    Raises InputError where the changes are no object.
    """
    if not isinstance(changes, dict):
        message = f"a change must be an object, not {shown(changes)}"
        raise InputError.of("", message, "give the keys that are to be different, such as {cooldown_minutes: 120}")
    document = of_row(row) | changes
    return {name: value for name, value in document.items() if name not in changes or value is not None}


def differing(wanted: WantedRule, row: Row[Any]) -> dict[str, Any]:
    """Return the columns that a stored rule has otherwise."""
    stored = row._asdict()
    return {name: value for name, value in wanted.columns.items() if differences({name: stored[name]}, {name: value})}


def check_entity(connection: Connection, org_id: UUID, entity_id: UUID | None) -> None:
    """Raise NotFoundError unless a rule's only entity is a campaign of the org."""
    if entity_id is not None and not campaigns.some(connection, org_id, [entity_id]):
        message = f"there is no campaign {entity_id} in this org"
        raise NotFoundError.of("entity_id", message, "see `cmis campaigns list`, or leave it out for all campaigns")


def new_row(wanted: WantedRule, context: Context, now: datetime) -> dict[str, Any]:
    """Return the row of a new rule, owned by who acts."""
    times = {"created_at": now, "updated_at": now}
    keys = {"org_id": context.org_id, "rule_id": uuid7(now), "owner_id": context.user_id}
    return wanted.columns | keys | times


def _entity(entity_id: UUID | None) -> dict[str, Any]:
    return {} if entity_id is None else {"entity_id": str(entity_id)}


def _columns(definition: RuleDefinition[ActionSpec], document: Document) -> dict[str, Any]:
    age = definition.max_data_age
    return {
        "name": definition.name,
        "description": definition.description or "",
        "rule_type": definition.rule_type,
        "entity_type": definition.entity_type.value,
        "entity_id": definition.entity_id,
        "trigger_type": definition.trigger_type.value,
        "conditions": document["conditions"],
        "condition_logic": definition.condition_logic.value,
        "actions": document["actions"],
        "stop_on_error": definition.stop_on_error,
        "delay_between_actions_seconds": definition.delay_between_actions_seconds,
        "priority": definition.priority.value,
        "status": definition.status.value,
        "max_executions_per_day": definition.max_executions_per_day,
        "cooldown_minutes": definition.cooldown_minutes,
        "min_sample": None if definition.min_sample is None else document["min_sample"],
        "max_data_age": None if age is None else round(age.total_seconds()),
        "guardrails": definition.guardrails.document(),
    }
