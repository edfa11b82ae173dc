"""Results of optimisations: what came of all active rules of an org together."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, one_of
from models.enums import OptimizationStatus, TriggerType


class Optimization(Base):
    """One evaluation of all active rules of an org together. Its id is the execution id of its occurrence."""

    __tablename__ = "optimizations"
    __table_args__ = (
        ForeignKeyConstraint(["org_id", "job_id"], ["cmis.scheduled_jobs.org_id", "cmis.scheduled_jobs.job_id"]),
        ForeignKeyConstraint(["org_id", "campaign_id"], ["cmis.campaigns.org_id", "cmis.campaigns.campaign_id"]),
        one_of("status", OptimizationStatus),
        one_of("trigger", TriggerType),
        Index(None, "org_id", "job_id"),
        Index(None, "org_id", "campaign_id"),
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    optimization_id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID | None]
    campaign_id: Mapped[UUID | None]
    """The one campaign that it was for; NULL = all of the org."""
    trigger: Mapped[str]
    scheduled_for: Mapped[datetime | None]
    task_id: Mapped[UUID]
    status: Mapped[str]
    counts: Mapped[JsonObject]
    """Rules `evaluated` in it; of these how many `acted`, had an effect `held`, `failed`, were `skipped`; `retried`."""
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    requested_by: Mapped[UUID | None]
    """Who asked for it by hand; NULL = a schedule did."""
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
