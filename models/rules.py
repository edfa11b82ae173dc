"""Automation rules and what their throttles remember."""

from __future__ import annotations

import datetime as dt
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Counter, JsonObject, one_of
from models.enums import ConditionLogic, EntityType, Priority, RuleStatus, TriggerType


class AutomationRule(Base):
    """Conditions → actions, with throttles. The engine writes only the counters, `acted_*` and `last_executed_at`."""

    __tablename__ = "automation_rules"
    __table_args__ = (
        one_of("status", RuleStatus),
        one_of("entity_type", EntityType),
        one_of("trigger_type", TriggerType),
        one_of("condition_logic", ConditionLogic),
        one_of("priority", Priority),
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
        CheckConstraint("(trigger_type = 'event') = (event_type IS NOT NULL)", name="event_type"),
        CheckConstraint("entity_type <> 'event' OR trigger_type = 'event' AND entity_id IS NULL", name="event_entity"),
        CheckConstraint("max_executions_per_day > 0", name="max_executions_per_day"),
        CheckConstraint("cooldown_minutes >= 0", name="cooldown_minutes"),
        CheckConstraint("jsonb_typeof(actions) = 'array' AND jsonb_array_length(actions) > 0", name="actions"),
        CheckConstraint("jsonb_typeof(conditions) IN ('array', 'object')", name="conditions"),
        CheckConstraint("jsonb_typeof(guardrails) = 'object'", name="guardrails"),
        CheckConstraint("jsonb_typeof(min_sample) = 'object'", name="min_sample"),
        CheckConstraint("max_data_age > 0", name="max_data_age"),
        CheckConstraint("delay_between_actions_seconds BETWEEN 0 AND 86400", name="delay_between_actions_seconds"),
        Index(None, "org_id", "status"),
        Index(None, "org_id", "event_type", postgresql_where=text("event_type IS NOT NULL")),
    )

    org_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.orgs.org_id"), primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    rule_type: Mapped[str] = mapped_column(server_default=text("'performance'"))
    template_id: Mapped[str | None]
    workflow_id: Mapped[UUID | None]
    """The bundle that it was made of, which may be another org's; no part of its definition."""
    entity_type: Mapped[str] = mapped_column(server_default=text("'campaign'"))
    entity_id: Mapped[UUID | None]
    trigger_type: Mapped[str] = mapped_column(server_default=text("'schedule'"))
    conditions: Mapped[Any] = mapped_column(JSONB)
    condition_logic: Mapped[str] = mapped_column(server_default=text("'and'"))
    actions: Mapped[list[Any]]
    stop_on_error: Mapped[bool] = mapped_column(server_default=text("false"))
    priority: Mapped[str] = mapped_column(server_default=text("'medium'"))
    status: Mapped[str] = mapped_column(server_default=text("'draft'"))
    max_executions_per_day: Mapped[int | None]
    cooldown_minutes: Mapped[int] = mapped_column(server_default=text("60"))
    guardrails: Mapped[JsonObject]
    min_sample: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """Metric → how much of it a window must hold; a smaller sample makes what is read from that window unknown."""
    max_data_age: Mapped[int | None]
    """In seconds: how old the newest observation in a window may be; older makes what is read from it unknown."""
    delay_between_actions_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    owner_id: Mapped[UUID]
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    success_count: Mapped[Counter]
    partial_count: Mapped[Counter]
    failure_count: Mapped[Counter]
    skipped_count: Mapped[Counter]
    failures_in_a_row: Mapped[int] = mapped_column(server_default=text("0"))
    """Executions that failed since the last that did not: what the breaker looks at."""
    acted_on: Mapped[dt.date | None]
    """The org-local day that `acted_today` counts; the daily limit compares it with today."""
    acted_today: Mapped[int] = mapped_column(server_default=text("0"))
    last_executed_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    event_type: Mapped[str | None]
    """The type of event that triggers it; set for event rules only."""


class RuleVersion(Base):
    """A rule as it was defined at one version. Only a trigger on the rules writes it, raw SQL included."""

    __tablename__ = "rule_versions"
    __table_args__ = (
        ForeignKeyConstraint(["org_id", "rule_id"], ["cmis.automation_rules.org_id", "cmis.automation_rules.rule_id"]),
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    definition: Mapped[dict[str, Any]]
    user_id: Mapped[UUID | None]
    created_at: Mapped[datetime]


class RuleEntityState(Base):
    """When a rule last acted on an entity: the memory of the cooldown."""

    __tablename__ = "rule_entity_state"
    __table_args__ = (
        ForeignKeyConstraint(["org_id", "rule_id"], ["cmis.automation_rules.org_id", "cmis.automation_rules.rule_id"]),
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    entity_id: Mapped[UUID] = mapped_column(primary_key=True)
    last_acted_at: Mapped[datetime]
    execution_id: Mapped[UUID]
