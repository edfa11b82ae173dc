"""Campaigns, their daily metrics, and the ledger of their budgets."""

from __future__ import annotations

import datetime as dt
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonArray, Measure, Money, one_of
from models.enums import BudgetType, CampaignStatus


class Campaign(Base):
    """What rules read and change. `version` moves with every change, so that a plan made on old facts is made anew."""

    __tablename__ = "campaigns"
    __table_args__ = (
        UniqueConstraint("org_id", "platform", "external_id"),
        one_of("status", CampaignStatus),
        one_of("budget_type", BudgetType),
        CheckConstraint("budget >= 0 AND budget < 'NaN'", name="budget"),
        CheckConstraint("bid_amount >= 0 AND bid_amount < 'NaN'", name="bid_amount"),
        CheckConstraint("jsonb_typeof(tags) = 'array'", name="tags"),
        Index(None, "org_id", "status"),
    )

    org_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.orgs.org_id"), primary_key=True)
    campaign_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    platform: Mapped[str] = mapped_column(server_default=text("'generic'"))
    objective: Mapped[str | None]
    status: Mapped[str] = mapped_column(server_default=text("'draft'"))
    budget: Mapped[Money | None]
    budget_type: Mapped[str] = mapped_column(server_default=text("'daily'"))
    currency: Mapped[str | None]
    bid_amount: Mapped[Money | None]
    tags: Mapped[JsonArray]
    external_id: Mapped[str | None]
    start_date: Mapped[dt.date | None]
    end_date: Mapped[dt.date | None]
    last_action_id: Mapped[UUID | None]
    """The automation action that changed the row last; the audit trigger leaves such a change to its `action_taken`."""
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CampaignMetric(Base):
    """Metrics of one campaign on one day as observed at one time; NULL = the source did not report it (unknown)."""

    __tablename__ = "campaign_metrics"
    __table_args__ = (
        ForeignKeyConstraint(["org_id", "campaign_id"], ["cmis.campaigns.org_id", "cmis.campaigns.campaign_id"]),
        Index(
            "campaign_metrics_current",
            "org_id",
            "campaign_id",
            "date",
            unique=True,
            postgresql_where=text("superseded_at IS NULL"),
            postgresql_include=["observed_at", "impressions", "clicks", "spend", "conversions", "revenue"],
        ),
        CheckConstraint(
            "impressions >= 0 AND clicks >= 0 AND spend >= 0 AND conversions >= 0 AND revenue >= 0", name="nonnegative"
        ),
        CheckConstraint("spend < 'NaN' AND conversions < 'NaN' AND revenue < 'NaN'", name="numbers"),
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    campaign_id: Mapped[UUID] = mapped_column(primary_key=True)
    date: Mapped[dt.date] = mapped_column(primary_key=True)
    observed_at: Mapped[datetime] = mapped_column(primary_key=True)
    superseded_at: Mapped[datetime | None]
    """When a restatement replaced the row; NULL = the current row."""
    impressions: Mapped[int | None] = mapped_column(BigInteger)
    clicks: Mapped[int | None] = mapped_column(BigInteger)
    spend: Mapped[Measure | None]
    conversions: Mapped[Measure | None]
    revenue: Mapped[Measure | None]


class BudgetLedgerEntry(Base):
    """One change of one campaign's budget. Only the trigger on `campaigns.budget` writes it, raw SQL included."""

    __tablename__ = "budget_ledger"
    __table_args__ = (
        ForeignKeyConstraint(["org_id", "campaign_id"], ["cmis.campaigns.org_id", "cmis.campaigns.campaign_id"]),
        Index(None, "org_id", "day"),
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    campaign_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    """1 for the campaign's creation, then without a hole; each `before` is its predecessor's `after`."""
    user_id: Mapped[UUID | None]
    action_id: Mapped[UUID | None]
    before: Mapped[Money | None]
    after: Mapped[Money | None]
    day: Mapped[dt.date]
    """The day in the org's time zone."""
    created_at: Mapped[datetime]


class RunChange(Base):
    """A campaign that a run changed, with what it had before: what the database counts a run's changes by."""

    __tablename__ = "run_changes"
    __table_args__ = (Index(None, "created_at"),)

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    run_id: Mapped[UUID] = mapped_column(primary_key=True)
    """The execution; of changes by hand, a number made of the transaction's."""
    campaign_id: Mapped[UUID] = mapped_column(primary_key=True)
    budget: Mapped[Money | None]
    bid_amount: Mapped[Money | None]
    created_at: Mapped[datetime]
