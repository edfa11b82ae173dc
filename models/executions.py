"""What happened: executions of rules, their effects, and notifications. The first two are partitioned by month."""

from __future__ import annotations

import datetime as dt
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonArray, JsonObject, one_of
from models.enums import ActionStatus, ExecutionStatus, TriggerType


class AutomationExecution(Base):
    """One evaluation of one rule. Its UUIDv7 is made with the occurrence, so a second execution is impossible."""

    __tablename__ = "automation_executions"
    __table_args__ = (
        one_of("status", ExecutionStatus),
        one_of("trigger", TriggerType),
        CheckConstraint("(status = 'skipped') = (skip_reason IS NOT NULL)", name="skip_reason"),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished_at"),
        Index(None, "org_id", "rule_id", "execution_id"),
        Index(None, "org_id", "status", "execution_id"),
        {"postgresql_partition_by": "RANGE (execution_id)"},
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    execution_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID]
    rule_version: Mapped[int] = mapped_column(BigInteger)
    task_id: Mapped[UUID]
    job_id: Mapped[UUID | None]
    trigger: Mapped[str]
    scheduled_for: Mapped[datetime | None]
    status: Mapped[str]
    skip_reason: Mapped[str | None]
    attempt: Mapped[int] = mapped_column(server_default=text("1"))
    """Which attempt of the item this is the result of: more than 1 = it was retried."""
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None]
    conditions_evaluated: Mapped[JsonObject]
    actions_executed: Mapped[JsonArray]
    results: Mapped[JsonObject]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    context: Mapped[JsonObject]
    acted_on: Mapped[dt.date | None]
    """The org-local day on which the execution acted; NULL = it did not, and used up neither limit nor cooldown."""


class AutomationAction(Base):
    """One effect of an execution: what was meant, what was there before, what is there after."""

    __tablename__ = "automation_actions"
    __table_args__ = (
        one_of("status", ActionStatus),
        Index(None, "org_id", "execution_id"),
        Index(None, "org_id", "entity_id", "action_id"),
        Index(None, "org_id", "status", "action_id"),
        {"postgresql_partition_by": "RANGE (action_id)"},
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    action_id: Mapped[UUID] = mapped_column(primary_key=True)
    execution_id: Mapped[UUID]
    rule_id: Mapped[UUID]
    task_id: Mapped[UUID]
    position: Mapped[int]
    """Place in the rule's list of actions, from 0."""
    type: Mapped[str]
    params: Mapped[JsonObject]
    entity_type: Mapped[str]
    entity_id: Mapped[UUID]
    before: Mapped[JsonObject]
    after: Mapped[JsonObject]
    idempotency_key: Mapped[str]
    status: Mapped[str]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class Notification(Base):
    """A message to the people of an org, in the product's own list."""

    __tablename__ = "notifications"
    __table_args__ = (Index(None, "org_id", "created_at"), Index(None, "org_id", "rule_id"))

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    notification_id: Mapped[UUID] = mapped_column(primary_key=True)
    channel: Mapped[str]
    title: Mapped[str]
    body: Mapped[str]
    rule_id: Mapped[UUID | None]
    execution_id: Mapped[UUID | None]
    action_id: Mapped[UUID | None]
    entity_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    read_at: Mapped[datetime | None]
