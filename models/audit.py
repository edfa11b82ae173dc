"""The append-only audit log, partitioned by month."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, desc, text
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.audit_actions import AuditAction
from models.base import Base, Xid8, one_of


class AuditEntry(Base):
    """Who did what to which row, before and after, from where. Rows are never changed or deleted."""

    __tablename__ = "automation_audit_log"
    __table_args__ = (
        one_of("action", AuditAction),
        Index(
            "automation_audit_log_action_idx",
            "org_id",
            "action",
            desc("created_at"),
            postgresql_where=text("action <> 'rule_executed'"),
        ),
        Index("automation_audit_log_rule_idx", "org_id", "rule_id", desc("created_at")),
        Index("automation_audit_log_entity_idx", "org_id", "entity_id", desc("created_at")),
        Index(
            "automation_audit_log_user_idx",
            "org_id",
            "user_id",
            desc("created_at"),
            postgresql_where=text("user_id <> '00000000-0000-0000-0000-000000000001'"),
        ),
        Index("automation_audit_log_execution_idx", "org_id", "execution_id"),
        {"postgresql_partition_by": "RANGE (created_at)"},
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = mapped_column(primary_key=True)
    audit_id: Mapped[UUID] = mapped_column(primary_key=True)
    action: Mapped[str]
    user_id: Mapped[UUID | None]
    """Who acted; NULL = raw SQL outside any context."""
    entity_type: Mapped[str]
    entity_id: Mapped[UUID]
    rule_id: Mapped[UUID | None]
    execution_id: Mapped[UUID | None]
    action_id: Mapped[UUID | None]
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    details: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    ip: Mapped[str | None] = mapped_column(INET)
    xid: Mapped[str] = mapped_column(Xid8, server_default=text("pg_current_xact_id()"))
    """The writing transaction, by which a sealer finds a gap-free prefix without a lock."""
