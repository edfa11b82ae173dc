"""A due job as `cmis.claim_due_jobs` returns it: its columns, and what became of its earlier runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime, time
    from uuid import UUID


class ClaimedJob(NamedTuple):
    """The function's columns in their order. A tuple, since hundreds are read in each batch."""

    now: datetime
    """The time of the claim."""
    org_id: UUID
    job_id: UUID
    target_type: str
    rule_id: UUID | None
    """None = its target is an optimisation, or a workflow."""
    campaign_id: UUID | None
    template_id: UUID | None
    """The workflow that it starts."""
    priority: str | None
    """The rule's."""
    entities: int
    """How many campaigns one evaluation would look at."""
    schedule_type: str
    frequency: str | None
    interval: int
    time_of_day: time | None
    days_of_week: list[int] | None
    day_of_month: str | None
    cron_expression: str | None
    timezone: str
    start_date: datetime | None
    end_date: datetime | None
    anchor_at: datetime
    dst_gap: str
    dst_fold: str
    month_end: str
    misfire: str
    misfire_grace_seconds: int
    overlap: str
    jitter_seconds: int
    max_executions: int | None
    timeout_seconds: int | None
    pause_on_failure_count: int | None
    execution_context: dict[str, Any] | None
    """None where it is empty."""
    status: str
    revision: int
    created_at: datetime
    revised_at: datetime | None
    next_run_at: datetime | None
    last_scheduled_for: datetime | None
    last_run_for: datetime | None
    run_count: int
    open_from: datetime | None
    failures: int
    buffered_for: datetime | None
    outcomes: str | None
    """Of the runs from `open_from` to `last_run_for`, in order, each its outcome or `open`; separated by spaces."""
    first_open: datetime | None
    """The first of these that is open."""
