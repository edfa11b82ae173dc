"""What happened: executions of rules and their effects (partitioned by month), notifications, permits."""

from __future__ import annotations

import datetime as dt
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonArray, JsonObject, Xid8, one_of
from models.enums import ActionStatus, Channel, ExecutionStatus, PermitVerb, TriggerType


class AutomationExecution(Base):
    """One evaluation of one rule. Its UUIDv7 is made with the occurrence, so a second execution is impossible."""

    __tablename__ = "automation_executions"
    __table_args__ = (
        one_of("status", ExecutionStatus),
        one_of("trigger", TriggerType),
        CheckConstraint("(status = 'skipped') = (skip_reason IS NOT NULL)", name="skip_reason"),
        CheckConstraint("(status = 'running') = (finished_at IS NULL)", name="finished_at"),
        Index(None, "org_id", "rule_id", "execution_id"),
        Index(None, "org_id", "status", "execution_id", postgresql_where=text("status <> 'skipped'")),
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
        one_of("channel", Channel),
        CheckConstraint("(execution_id IS NULL) = (rule_id IS NULL)", name="execution_id"),
        CheckConstraint(
            "(instance_id IS NULL) = (step_id IS NULL) AND (instance_id IS NULL OR execution_id IS NULL)",
            name="instance_id",
        ),
        CheckConstraint("waits_for IS NULL OR status = 'queued' AND channel IS NOT NULL", name="waits_for"),
        CheckConstraint("(decided_at IS NULL) = (decided_by IS NULL)", name="decided_at"),
        CheckConstraint(
            "(status = 'undone') = (undone_at IS NOT NULL) AND (undone_at IS NULL) = (undone_by IS NULL)",
            name="undone_at",
        ),
        Index(None, "org_id", "execution_id"),
        Index(None, "org_id", "entity_id", "action_id"),
        Index(None, "org_id", "status", "action_id"),
        Index(
            "automation_actions_open_pushes",
            "org_id",
            "entity_id",
            "action_id",
            postgresql_where=text("channel = 'connector' AND status IN ('queued', 'running', 'unknown')"),
        ),
        Index(None, "org_id", "instance_id", postgresql_where=text("instance_id IS NOT NULL")),
        {"postgresql_partition_by": "RANGE (action_id)"},
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    action_id: Mapped[UUID] = mapped_column(primary_key=True)
    execution_id: Mapped[UUID | None]
    """NULL = a step's effect, or a person's change, whose effect outside this is."""
    rule_id: Mapped[UUID | None]
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
    decided_by: Mapped[UUID | None]
    """Who approved or rejected it; NULL = nobody was asked, or has answered yet."""
    decided_at: Mapped[datetime | None]
    note: Mapped[str | None]
    """What they said to it."""
    undone_by: Mapped[UUID | None]
    undone_at: Mapped[datetime | None]
    channel: Mapped[str | None]
    """By which way it leaves the database; NULL = it is an effect inside."""
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    """Calls begun."""
    waits_for: Mapped[str | None]
    """Why it is not tried right now; NULL = it waits for nothing but a worker."""
    next_attempt_at: Mapped[datetime | None]
    response: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """What the receiver said last."""
    retried_at: Mapped[datetime | None]
    """When a person last had it sent again; its execution may have ended before."""
    instance_id: Mapped[UUID | None]
    """The run of a workflow one of whose steps it is an effect of; NULL = it is a rule's, or a person's change."""
    step_id: Mapped[str | None]


class Notification(Base):
    """A message to the people of an org, in the product's own list."""

    __tablename__ = "notifications"
    __table_args__ = (
        CheckConstraint("(read_at IS NULL) = (read_by IS NULL)", name="read_at"),
        CheckConstraint("entities > 0", name="entities"),
        Index(None, "org_id", "created_at"),
        Index(None, "org_id", "rule_id"),
        Index("notifications_unread", "org_id", "created_at", postgresql_where=text("read_at IS NULL")),
    )

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
    position: Mapped[int | None]
    """Place of its action in the rule's list: with rule and execution, what a digest is of."""
    read_by: Mapped[UUID | None]
    entities: Mapped[int] = mapped_column(server_default=text("1"))
    """How many entities it is about; more than one = it stands for all actions of its execution at its place."""


class Permit(Base):
    """A person's leave for one effect beyond the guardrails: these values, this transaction; a function writes it."""

    __tablename__ = "permits"
    __table_args__ = (one_of("verb", PermitVerb), Index(None, "org_id", "xid"), Index(None, "org_id", "action_id"))

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    permit_id: Mapped[UUID] = mapped_column(primary_key=True)
    action_id: Mapped[UUID]
    verb: Mapped[str]
    entity_id: Mapped[UUID]
    columns: Mapped[dict[str, Any]]
    """The columns that it lets change, and the values that they may become."""
    user_id: Mapped[UUID]
    created_at: Mapped[datetime]
    xid: Mapped[str] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))
