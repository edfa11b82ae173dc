"""Orgs (the tenants), users, and who belongs where."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, one_of
from models.enums import Role


class Org(Base):
    """A tenant. `guardrails` holds the org's defaults for its rules; the reserved org of all zeros is never listed."""

    __tablename__ = "orgs"
    __table_args__ = (
        UniqueConstraint("name"),
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
        CheckConstraint("jsonb_typeof(guardrails) = 'object'", name="guardrails"),
        CheckConstraint("jsonb_typeof(business_hours) = 'object'", name="business_hours"),
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    timezone: Mapped[str] = mapped_column(server_default=text("'UTC'"))
    guardrails: Mapped[JsonObject]
    never_touch: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid()), server_default=text("'{}'::uuid[]"))
    """Campaigns that no automation may change."""
    business_hours: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """When it works, as engine.schedule.business stores it; NULL = the product's default."""
    created_at: Mapped[datetime]


class User(Base):
    """A person, or one of the named system actors. Not a tenant's row; visible to the orgs it belongs to."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("email"), CheckConstraint("email = lower(email)", name="email"))

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str]
    name: Mapped[str]
    is_system: Mapped[bool] = mapped_column(server_default=text("false"))
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime]


class UserOrg(Base):
    """Membership of a user in an org, with a role."""

    __tablename__ = "user_orgs"
    __table_args__ = (one_of("role", Role), Index(None, "user_id"))

    org_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.orgs.org_id"), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.users.user_id"), primary_key=True)
    role: Mapped[str]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    created_at: Mapped[datetime]
