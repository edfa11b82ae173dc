"""Scheduled jobs and the ledger of their planned times."""

from __future__ import annotations

import datetime as dt
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Counter, JsonObject, one_of
from models.enums import (
    Decision,
    DstFold,
    DstGap,
    Frequency,
    JobStatus,
    Misfire,
    MonthEnd,
    Origin,
    Outcome,
    Overlap,
    ScheduleType,
    TargetType,
)


class ScheduledJob(Base):
    """When to do what. The scheduler alone writes the cursor (`next_run_at`, `last_scheduled_for`) and the counters."""

    __tablename__ = "scheduled_jobs"
    __table_args__ = (
        ForeignKeyConstraint(["org_id", "rule_id"], ["cmis.automation_rules.org_id", "cmis.automation_rules.rule_id"]),
        ForeignKeyConstraint(["org_id", "campaign_id"], ["cmis.campaigns.org_id", "cmis.campaigns.campaign_id"]),
        ForeignKeyConstraint(
            ["org_id", "template_id"], ["cmis.workflow_templates.org_id", "cmis.workflow_templates.template_id"]
        ),
        UniqueConstraint("org_id", "name"),
        one_of("target_type", TargetType),
        one_of("schedule_type", ScheduleType),
        one_of("frequency", Frequency),
        one_of("status", JobStatus),
        CheckConstraint("(target_type = 'rule') = (rule_id IS NOT NULL)", name="target"),
        CheckConstraint("campaign_id IS NULL OR target_type = 'optimization'", name="campaign_id"),
        CheckConstraint("(target_type = 'workflow') = (template_id IS NOT NULL)", name="template_id"),
        one_of("dst_gap", DstGap),
        one_of("dst_fold", DstFold),
        one_of("month_end", MonthEnd),
        one_of("misfire", Misfire),
        one_of("overlap", Overlap),
        CheckConstraint(
            "status <> 'active' OR next_run_at IS NOT NULL OR buffered_for IS NOT NULL", name="next_run_at"
        ),
        CheckConstraint("misfire_grace_seconds BETWEEN 1 AND 2592000", name="misfire_grace_seconds"),
        CheckConstraint("jitter_seconds BETWEEN 0 AND 3600", name="jitter_seconds"),
        CheckConstraint("timeout_seconds BETWEEN 1 AND 3600", name="timeout_seconds"),
        CheckConstraint("timeout_seconds IS NOT NULL OR target_type = 'workflow'", name="timeout"),
        CheckConstraint("max_executions > 0", name="max_executions"),
        CheckConstraint("pause_on_failure_count > 0", name="pause_on_failure_count"),
        CheckConstraint("jsonb_typeof(execution_context) = 'object'", name="execution_context"),
        CheckConstraint("buffered_for IS NULL OR review_at IS NOT NULL", name="review_at"),
        CheckConstraint('"interval" > 0', name="interval"),
        CheckConstraint("(schedule_type = 'cron') = (cron_expression IS NOT NULL)", name="cron_expression"),
        CheckConstraint("(schedule_type = 'recurring') = (frequency IS NOT NULL)", name="recurring"),
        CheckConstraint("schedule_type <> 'once' OR start_date IS NOT NULL", name="once"),
        CheckConstraint("end_date >= start_date", name="end_date"),
        Index("scheduled_jobs_due", "next_run_at", postgresql_where=text("status = 'active'")),
        Index("scheduled_jobs_due_by_org", "org_id", "next_run_at", postgresql_where=text("status = 'active'")),
        Index("scheduled_jobs_review", "review_at", postgresql_where=text("review_at IS NOT NULL")),
        Index(None, "org_id", "rule_id"),
        Index(None, "org_id", "campaign_id", postgresql_where=text("campaign_id IS NOT NULL")),
        Index(None, "org_id", "template_id", postgresql_where=text("template_id IS NOT NULL")),
    )

    org_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.orgs.org_id"), primary_key=True)
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    target_type: Mapped[str] = mapped_column(server_default=text("'rule'"))
    rule_id: Mapped[UUID | None]
    campaign_id: Mapped[UUID | None]
    """The one campaign that an optimisation is for; NULL = all of the org."""
    template_id: Mapped[UUID | None]
    """The workflow that it starts an instance of, of the version that is published last then."""
    schedule_type: Mapped[str]
    frequency: Mapped[str | None]
    interval: Mapped[int] = mapped_column(server_default=text("1"))
    time_of_day: Mapped[dt.time | None]
    days_of_week: Mapped[list[int] | None] = mapped_column(ARRAY(SmallInteger))
    day_of_month: Mapped[str | None]
    cron_expression: Mapped[str | None]
    timezone: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    start_date: Mapped[datetime | None]
    end_date: Mapped[datetime | None]
    anchor_at: Mapped[datetime]
    """The planned time that recurrences count from, and `previous` of the first occurrence."""
    dst_gap: Mapped[str] = mapped_column(server_default=text("'next_valid'"))
    dst_fold: Mapped[str] = mapped_column(server_default=text("'first'"))
    month_end: Mapped[str] = mapped_column(server_default=text("'last_day'"))
    misfire: Mapped[str] = mapped_column(server_default=text("'once'"))
    misfire_grace_seconds: Mapped[int] = mapped_column(server_default=text("3600"))
    overlap: Mapped[str] = mapped_column(server_default=text("'skip'"))
    jitter_seconds: Mapped[int] = mapped_column(server_default=text("0"))
    max_executions: Mapped[int | None] = mapped_column(BigInteger)
    """How many planned times may be decided `run`; then the job is completed."""
    timeout_seconds: Mapped[int | None] = mapped_column(server_default=text("300"))
    """How long a run may take from its first claim on; then it ends as failed. NULL = as long as its workflow says."""
    pause_on_failure_count: Mapped[int | None]
    execution_context: Mapped[JsonObject]
    status: Mapped[str] = mapped_column(server_default=text("'active'"))
    revision: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    next_run_at: Mapped[datetime | None]
    last_scheduled_for: Mapped[datetime | None]
    last_run_for: Mapped[datetime | None]
    """The last planned time that was decided `run`: the run that overlap looks at."""
    last_run_at: Mapped[datetime | None]
    run_count: Mapped[Counter]
    revised_at: Mapped[datetime | None]
    """When the present definition replaced another: no planned time before it is the present one's."""
    open_from: Mapped[datetime | None]
    """The first planned run whose outcome is not counted yet; those up to `last_run_for` may be open."""
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    """Failed runs in a row, as far as their outcomes are counted."""
    buffered_for: Mapped[datetime | None]
    """The planned time that is `buffered`: it runs once no run is open."""
    review_at: Mapped[datetime | None]
    """When a scheduler looks at the job for another reason than its next planned time."""
    pause_note: Mapped[str | None]
    last_error: Mapped[str | None]
    owner_id: Mapped[UUID]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __mapper_args__ = {"polymorphic_on": "target_type"}  # noqa: RUF012 - SQLAlchemy's interface


class AutomationSchedule(ScheduledJob):
    """A scheduled job whose target is a rule."""

    __mapper_args__ = {"polymorphic_identity": TargetType.RULE.value}  # noqa: RUF012 - SQLAlchemy's interface


class OptimizationSchedule(ScheduledJob):
    """A scheduled job whose target is an optimisation: every active rule of the org, on all campaigns or on one."""

    __mapper_args__ = {"polymorphic_identity": TargetType.OPTIMIZATION.value}  # noqa: RUF012 - SQLAlchemy's interface


class WorkflowSchedule(ScheduledJob):
    """A scheduled job whose target is a workflow: each run is an instance."""

    __mapper_args__ = {"polymorphic_identity": TargetType.WORKFLOW.value}  # noqa: RUF012 - SQLAlchemy's interface


class Occurrence(Base):
    """The ledger of every planned time: one row, or one row for a stretch of consecutive ones of the same fate."""

    __tablename__ = "occurrences"
    __table_args__ = (
        one_of("origin", Origin),
        one_of("decision", Decision),
        one_of("outcome", Outcome),
        CheckConstraint(
            "count > 0 AND until >= scheduled_for AND (count = 1) = (until = scheduled_for)", name="stretch"
        ),
        CheckConstraint(
            "(decision = 'run') = (num_nonnulls(execution_id, instance_id) = 1) "
            "AND (decision = 'run') = (task_id IS NOT NULL)",
            name="run",
        ),
        CheckConstraint("decision <> 'run' OR count = 1", name="run_count"),
        CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)", name="finished_at"),
        CheckConstraint("reason IS NULL OR outcome IS NOT NULL", name="reason"),
        CheckConstraint("(origin = 'schedule') = (actor_id IS NULL)", name="actor"),
        Index("occurrences_cancel", "org_id", "scheduled_for", postgresql_where=text("cancel_requested")),
        {"postgresql_partition_by": "RANGE (scheduled_for)"},
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    origin: Mapped[str] = mapped_column(primary_key=True)
    scheduled_for: Mapped[datetime] = mapped_column(primary_key=True)
    until: Mapped[datetime]
    count: Mapped[int]
    previous: Mapped[datetime | None]
    job_revision: Mapped[int] = mapped_column(BigInteger)
    decision: Mapped[str]
    execution_id: Mapped[UUID | None]
    instance_id: Mapped[UUID | None]
    """The run of a workflow that it started."""
    task_id: Mapped[UUID | None]
    actor_id: Mapped[UUID | None]
    cancel_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    """A worker that has not begun the run yet ends it as `cancelled`."""
    outcome: Mapped[str | None]
    decided_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    reason: Mapped[str | None]
    """Why a run ended that has left no result."""
