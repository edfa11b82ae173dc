"""Bundles of rules (the field's AutomationWorkflow), an org's own and those it shows to all."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Counter, one_of
from models.enums import BundleCategory, BundleStatus


class AutomationWorkflow(Base):
    """Documents of rules, from which an org makes rules of its own. A public one is read by all, written by its org.

    The usage columns are written by `cmis.use_workflow` alone, and are no configuration.
    """

    __tablename__ = "automation_workflows"
    __table_args__ = (
        UniqueConstraint("org_id", "name"),
        one_of("category", BundleCategory),
        one_of("status", BundleStatus),
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
        CheckConstraint("jsonb_typeof(rules) = 'array' AND jsonb_array_length(rules) BETWEEN 1 AND 50", name="rules"),
    )

    org_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.orgs.org_id"), primary_key=True)
    workflow_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default=text("''"))
    category: Mapped[str]
    rules: Mapped[list[Any]]
    """As they were written; each is a document of `cmis rules create` without status and entity."""
    is_public: Mapped[bool] = mapped_column(server_default=text("false"))
    status: Mapped[str] = mapped_column(server_default=text("'active'"))
    usage_count: Mapped[Counter]
    """How often rules were made of it, by any org."""
    last_used_at: Mapped[datetime | None]
    owner_id: Mapped[UUID]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
