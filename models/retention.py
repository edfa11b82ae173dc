"""How long what happened is kept, and what counters stand for once the rows they counted are gone."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Xid8


class Retention(Base):
    """What the owner of the deployment decided: months, counted back from the present one's first day."""

    __tablename__ = "retention"
    __table_args__ = (
        CheckConstraint("only_row", name="only_row"),
        CheckConstraint(
            "work_months BETWEEN 3 AND 1200 AND workflow_months BETWEEN 3 AND 1200 "
            "AND audit_months BETWEEN greatest(work_months, workflow_months) AND 1200",
            name="months",
        ),
    )

    only_row: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    work_months: Mapped[int] = mapped_column(server_default=text("13"))
    """Executions, their effects, attempts, planned times; whole months only."""
    workflow_months: Mapped[int] = mapped_column(server_default=text("13"))
    """Runs of workflows and their steps, from their end on."""
    audit_months: Mapped[int] = mapped_column(server_default=text("25"))


class Retained(Base):
    """How far that is carried out, by table: whatever is younger is there, what is older may be gone."""

    __tablename__ = "retained"

    relation: Mapped[str] = mapped_column(primary_key=True)
    kept_from: Mapped[datetime] = mapped_column(
        server_default=text("'1970-01-01 00:00:00+00'::timestamp with time zone")
    )


class LateChange(Base):
    """A transaction that changed rows of a month which is about to be dropped: it is counted again then."""

    __tablename__ = "late_changes"

    relation: Mapped[str] = mapped_column(primary_key=True)
    xid: Mapped[str] = mapped_column(Xid8, primary_key=True)


class RetiredExecutions(Base):
    """How many executions of a rule are gone, by how they ended."""

    __tablename__ = "retired_executions"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    success: Mapped[int] = mapped_column(BigInteger)
    partial: Mapped[int] = mapped_column(BigInteger)
    failure: Mapped[int] = mapped_column(BigInteger)
    skipped: Mapped[int] = mapped_column(BigInteger)


class RetiredEffects(Base):
    """When a rule last acted on an entity, as far as the executions that did are gone."""

    __tablename__ = "retired_effects"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[UUID] = mapped_column(primary_key=True)
    entity_id: Mapped[UUID] = mapped_column(primary_key=True)
    last_acted_at: Mapped[datetime]


class RetiredOccurrences(Base):
    """How many runs a job's schedule had that are gone, and how far the planned times that are gone reach."""

    __tablename__ = "retired_occurrences"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    job_id: Mapped[UUID] = mapped_column(primary_key=True)
    runs: Mapped[int] = mapped_column(BigInteger)
    until: Mapped[datetime]
    last_run_for: Mapped[datetime | None]


class RetiredInstances(Base):
    """How many runs of a workflow are gone."""

    __tablename__ = "retired_instances"

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    template_id: Mapped[UUID] = mapped_column(primary_key=True)
    instances: Mapped[int] = mapped_column(BigInteger)
