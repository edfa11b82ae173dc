"""Workflows: templates and their published versions, the runs of versions, and the steps of runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Counter, JsonArray, JsonObject, one_of
from models.enums import Origin
from models.workflow_enums import (
    InstanceStatus,
    InstanceTrigger,
    StepStatus,
    StepType,
    TemplateStatus,
    WorkflowCategory,
)

_ENDED = "status IN ('completed', 'failed', 'cancelled')"
_STEP_ENDED = "status IN ('completed', 'failed', 'skipped', 'cancelled')"


class WorkflowTemplate(Base):
    """A step graph with its name and its draft. What runs is a published version of it.

    The usage columns are written by the engine's own statements, and are no configuration.
    """

    __tablename__ = "workflow_templates"
    __table_args__ = (
        UniqueConstraint("org_id", "name"),
        one_of("category", WorkflowCategory),
        one_of("status", TemplateStatus),
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
        CheckConstraint("jsonb_typeof(definition) = 'object'", name="definition"),
        CheckConstraint("status <> 'active' OR version IS NOT NULL", name="version"),
        CheckConstraint("event_conditions IS NULL OR event_type IS NOT NULL", name="event_conditions"),
        CheckConstraint("active_instances >= 0 AND usage_count >= 0", name="counts"),
        Index(None, "org_id", "status"),
        Index(None, "org_id", "event_type", postgresql_where=text("event_type IS NOT NULL")),
    )

    org_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.orgs.org_id"), primary_key=True)
    template_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    category: Mapped[str]
    tags: Mapped[JsonArray]
    status: Mapped[str] = mapped_column(server_default=text("'draft'"))
    is_public: Mapped[bool] = mapped_column(server_default=text("false"))
    definition: Mapped[dict[str, Any]]
    """As it was written last; the next version is made of it."""
    version: Mapped[int | None]
    """The version published last; NULL = none is."""
    event_type: Mapped[str | None]
    """Events of this type start an instance each."""
    event_conditions: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    """A condition tree over the event's payload; NULL = every event of the type."""
    usage_count: Mapped[Counter]
    active_instances: Mapped[Counter]
    last_used_at: Mapped[datetime | None]
    cloned_from: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """`{org_id, template_id, version}` of what it was copied from, which may be another org's: no reference."""
    owner_id: Mapped[UUID]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class WorkflowTemplateVersion(Base):
    """A published definition; it never changes."""

    __tablename__ = "workflow_template_versions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["org_id", "template_id"], ["cmis.workflow_templates.org_id", "cmis.workflow_templates.template_id"]
        ),
        CheckConstraint("version > 0", name="version"),
        CheckConstraint("steps > 0", name="steps"),
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    template_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    definition: Mapped[dict[str, Any]]
    steps: Mapped[int]
    published_by: Mapped[UUID]
    published_at: Mapped[datetime]


class WorkflowInstance(Base):
    """One run of one version. Guards hold its transitions to `models.transitions.INSTANCE`; its end is final."""

    __tablename__ = "workflow_instances"
    __table_args__ = (
        ForeignKeyConstraint(
            ["org_id", "template_id", "version"],
            [
                "cmis.workflow_template_versions.org_id",
                "cmis.workflow_template_versions.template_id",
                "cmis.workflow_template_versions.version",
            ],
        ),
        ForeignKeyConstraint(
            ["org_id", "parent_instance_id"],
            ["cmis.workflow_instances.org_id", "cmis.workflow_instances.instance_id"],
        ),
        ForeignKeyConstraint(
            ["org_id", "forked_from"], ["cmis.workflow_instances.org_id", "cmis.workflow_instances.instance_id"]
        ),
        one_of("status", InstanceStatus),
        one_of("trigger_type", InstanceTrigger),
        one_of("origin", Origin),
        CheckConstraint(f"({_ENDED}) = (finished_at IS NOT NULL)", name="finished_at"),
        CheckConstraint(
            "status IN ('pending', 'paused', 'cancelled', 'failed') OR started_at IS NOT NULL", name="started_at"
        ),
        CheckConstraint("(parent_instance_id IS NULL) = (parent_step_id IS NULL)", name="parent"),
        CheckConstraint(
            "(job_id IS NULL) = (scheduled_for IS NULL) AND (job_id IS NULL) = (origin IS NULL)", name="job"
        ),
        CheckConstraint(
            "steps_completed >= 0 AND steps_failed >= 0 AND steps_skipped >= 0 AND steps_cancelled >= 0 AND "
            "steps_completed + steps_failed + steps_skipped + steps_cancelled <= steps_total",
            name="steps",
        ),
        CheckConstraint(
            "status <> 'completed' OR steps_completed + steps_failed + steps_skipped + steps_cancelled = steps_total",
            name="completed",
        ),
        CheckConstraint("jsonb_typeof(context_data) = 'object'", name="context_data"),
        CheckConstraint("length(idempotency_key) BETWEEN 1 AND 200", name="idempotency_key"),
        Index(None, "org_id", "template_id", "status"),
        Index(None, "org_id", "status"),
        Index(
            "workflow_instances_idempotency_key",
            "org_id",
            "template_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
        Index(None, "org_id", "parent_instance_id", postgresql_where=text("parent_instance_id IS NOT NULL")),
        Index(None, "org_id", "forked_from", postgresql_where=text("forked_from IS NOT NULL")),
        Index(None, "org_id", "job_id", "scheduled_for", postgresql_where=text("job_id IS NOT NULL")),
        Index("workflow_instances_ended", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index(None, "org_id", "template_id", "version"),
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    instance_id: Mapped[UUID] = mapped_column(primary_key=True)
    template_id: Mapped[UUID]
    version: Mapped[int]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    trigger_type: Mapped[str]
    triggered_by: Mapped[UUID | None]
    """The person who started it; NULL = none did."""
    event_id: Mapped[UUID | None]
    job_id: Mapped[UUID | None]
    origin: Mapped[str | None]
    scheduled_for: Mapped[datetime | None]
    action_id: Mapped[UUID | None]
    """The effect (`start_workflow`) that started it."""
    parent_instance_id: Mapped[UUID | None]
    parent_step_id: Mapped[str | None]
    forked_from: Mapped[UUID | None]
    idempotency_key: Mapped[str | None]
    context_data: Mapped[JsonObject]
    output_data: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """By step, what the steps put out that lead nowhere; once it is completed."""
    current_step: Mapped[str | None]
    """The step that began last."""
    steps_total: Mapped[int]
    steps_completed: Mapped[int] = mapped_column(server_default=text("0"))
    steps_failed: Mapped[int] = mapped_column(server_default=text("0"))
    steps_skipped: Mapped[int] = mapped_column(server_default=text("0"))
    steps_cancelled: Mapped[int] = mapped_column(server_default=text("0"))
    revision: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Counts the writes under its lock: who finds another one than he left reads the steps again."""
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    pause_note: Mapped[str | None]
    timeout_at: Mapped[datetime | None]
    timeout_task_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)


class WorkflowStep(Base):
    """One step of one run. Guards hold its transitions to `models.transitions.STEP`."""

    __tablename__ = "workflow_steps"
    __table_args__ = (
        ForeignKeyConstraint(
            ["org_id", "instance_id"], ["cmis.workflow_instances.org_id", "cmis.workflow_instances.instance_id"]
        ),
        one_of("type", StepType),
        one_of("status", StepStatus),
        CheckConstraint(f"({_STEP_ENDED}) = (finished_at IS NOT NULL)", name="finished_at"),
        CheckConstraint("status NOT IN ('queued', 'running', 'retrying') OR task_id IS NOT NULL", name="task_id"),
        CheckConstraint("status <> 'retrying' OR wake_at IS NOT NULL", name="wake_at"),
        CheckConstraint("(status = 'waiting') = (waits_for IS NOT NULL)", name="waits_for"),
        CheckConstraint("status <> 'running' OR started_at IS NOT NULL", name="started_at"),
        CheckConstraint("attempt >= 0", name="attempt"),
        CheckConstraint("correlation IS NULL OR event_type IS NOT NULL", name="correlation"),
        Index(None, "org_id", "waits_for", postgresql_where=text("status = 'waiting'")),
        Index(
            "workflow_steps_events",
            "org_id",
            "event_type",
            "correlation",
            postgresql_where=text("status = 'waiting' AND event_type IS NOT NULL"),
        ),
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    instance_id: Mapped[UUID] = mapped_column(primary_key=True)
    step_id: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    """Place in the definition, from 0."""
    type: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=text("'pending'"))
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    """Attempts begun."""
    branch_taken: Mapped[str | None]
    """The label by which it was left."""
    task_id: Mapped[UUID | None]
    """The task that executes it, or wakes it: what another task says of it is out of date."""
    input_data: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    output_data: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    note: Mapped[str | None]
    """What a person said who skipped, retried or answered it."""
    decided_by: Mapped[UUID | None]
    wake_at: Mapped[datetime | None]
    waits_for: Mapped[str | None]
    """`delay`, `event`, `approval`, `effect` (a delivery, or what a guardrail holds), `instance` (a subworkflow)."""
    event_type: Mapped[str | None]
    correlation: Mapped[str | None]
    """`field=value` of the payload, as engine.workflows.correlation writes it; NULL = any event of the type."""
    action_id: Mapped[UUID | None]
    """The effect whose end it waits for."""
    child_instance_id: Mapped[UUID | None]
    started_at: Mapped[datetime | None]
    """When its first attempt began."""
    finished_at: Mapped[datetime | None]
    duration_ms: Mapped[int | None] = mapped_column(BigInteger)
