"""The event that triggered an evaluation, as the planner sees it: facts of its payload, and an entity of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.actions.base import Campaign
from engine.rules.payload import value_at
from engine.run_rules.facts import Page
from models.enums import EntityType

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime
    from uuid import UUID

    from sqlalchemy import Row

    from engine.run_rules.operands import Operands


@dataclass(frozen=True, slots=True)
class Happened:
    """One event, and what the conditions of one rule read of it."""

    event_id: UUID
    type: str
    payload: Mapping[str, Any]
    facts: Mapping[str, object]
    """By `Operand.key`; None = the payload has no value there."""

    @classmethod
    def of(cls, row: Row[Any], operands: Operands) -> Happened:
        """Return the event of a row as operands read it."""
        facts = {operand.key: value_at(row.payload, operand.field) for operand in operands}
        return cls(row.event_id, row.type, row.payload, facts)

    def told(self) -> dict[str, Any]:
        """Return what actions may know of it."""
        return {"type": self.type, "payload": self.payload}

    def page(self, now: datetime, today: date) -> Page:
        """Return a page whose only entity is the event."""
        entity = Campaign(self.event_id, self.type, "", None, None, entity_type=EntityType.EVENT.value)
        return Page(now, today, {self.event_id: entity}, {})
