"""A rule as a document: read whole, taken from a stored rule or an earlier version, and with changes laid over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from core.errors import InputError, NotFoundError, Problem
from core.ids import uuid7
from engine.actions.registry import KINDS, ActionSpec, parse_actions
from engine.rules.definition import EntityType, parse_rule
from engine.rules.difference import differences
from engine.rules.reading import listed, shown
from engine.store import campaigns
from models.enums import TriggerType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    "event_type",
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
    if definition.entity_type == EntityType.EVENT:
        _refuse_campaign_actions(definition.actions)
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


def refuse_event_rule(trigger_type: str, field: str, deed: str) -> None:
    """Raise InputError where a rule is one that events trigger: without an event there is nothing to evaluate."""
    if trigger_type == TriggerType.EVENT:
        message = f"names a rule that events trigger, which cannot be {deed}"
        raise InputError.of(field, message, "emit such an event: `cmis events emit`")


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


def _refuse_campaign_actions(actions: Sequence[ActionSpec]) -> None:
    """Raise InputError for each action that needs a campaign: the rule is about the event itself."""
    allowed = f"allowed: {listed(name for name, kind in KINDS.items() if kind.for_events)}"
    problems = [
        Problem(f"actions[{index}].type", f"{action.kind} acts on campaigns, and the rule is about an event", allowed)
        for index, action in enumerate(actions)
        if not KINDS[action.kind].for_events
    ]
    if problems:
        raise InputError(problems)


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
        "event_type": definition.event_type,
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
