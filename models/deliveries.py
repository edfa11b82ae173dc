"""What effects outside the database need: destinations, limits, secrets, connectors; and events from there."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, one_of
from models.enums import BreakerState, ConnectorStatus


class Destination(Base):
    """A server that an org's deliveries go to, as that org knows it: its breaker, and what is on its way there."""

    __tablename__ = "destinations"
    __table_args__ = (
        one_of("state", BreakerState),
        CheckConstraint("state <> 'open' OR not_before IS NOT NULL", name="not_before"),
    )

    org_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.orgs.org_id"), primary_key=True)
    destination: Mapped[str] = mapped_column(primary_key=True)
    """Scheme, host and port."""
    state: Mapped[str] = mapped_column(server_default=text("'closed'"))
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    """Calls in a row that it did not answer, or answered by an error of its own."""
    openings: Mapped[int] = mapped_column(server_default=text("0"))
    """How often in a row the breaker opened: each time it stays open longer."""
    not_before: Mapped[datetime | None]
    """No call before this time: the breaker is open, or the receiver asked for it (Retry-After)."""
    in_flight: Mapped[JsonObject]
    """Task id → when its claim ends at the latest, of the calls that are being made."""
    last_success_at: Mapped[datetime | None]
    last_failure_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    updated_at: Mapped[datetime]


class TokenBucket(Base):
    """How many deliveries an org, or one of its accounts, may still make; a rate of NULL = the deployment's default."""

    __tablename__ = "token_buckets"
    __table_args__ = (
        CheckConstraint("rate_per_minute > 0", name="rate_per_minute"),
        CheckConstraint("burst > 0", name="burst"),
        CheckConstraint("(tokens IS NULL) = (refilled_at IS NULL)", name="refilled_at"),
    )

    org_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.orgs.org_id"), primary_key=True)
    bucket: Mapped[str] = mapped_column(primary_key=True)
    """`org`, or an account: `connector:<id>`, `slack:<hash>`."""
    rate_per_minute: Mapped[int | None]
    burst: Mapped[int | None]
    tokens: Mapped[float | None] = mapped_column(Double)
    refilled_at: Mapped[datetime | None]


class Secret(Base):
    """A value that params name (`secret://name`), encrypted; nothing but a worker's memory holds it in the clear."""

    __tablename__ = "secrets"
    __table_args__ = (
        CheckConstraint("name ~ '^[a-z][a-z0-9_-]{0,62}$'", name="name"),
        CheckConstraint("octet_length(nonce) = 12", name="nonce"),
        CheckConstraint(
            "(deleted_at IS NULL) = (ciphertext IS NOT NULL) AND (nonce IS NULL) = (ciphertext IS NULL)",
            name="deleted_at",
        ),
    )

    org_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.orgs.org_id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    secret_id: Mapped[UUID]
    key_id: Mapped[str]
    """Which of the deployment's keys it is encrypted with."""
    nonce: Mapped[bytes | None] = mapped_column(LargeBinary)
    ciphertext: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    """When its value was erased; the name may be given one again."""


class Connector(Base):
    """Where an org's campaign changes are pushed to: its own connection to an ad platform."""

    __tablename__ = "connectors"
    __table_args__ = (
        UniqueConstraint("org_id", "name"),
        one_of("status", ConnectorStatus),
        CheckConstraint("length(name) BETWEEN 1 AND 200", name="name"),
        CheckConstraint("rate_per_minute > 0", name="rate_per_minute"),
        CheckConstraint("burst > 0", name="burst"),
    )

    org_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.orgs.org_id"), primary_key=True)
    connector_id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    platform: Mapped[str | None]
    """Of which campaigns it takes the changes; NULL = of all."""
    url: Mapped[str]
    """The URL, or a reference to a secret that holds it."""
    signing_secret: Mapped[str]
    """Reference to the secret that signs what is pushed."""
    verifies: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether it answers whether a change arrived: GET with the idempotency key."""
    rate_per_minute: Mapped[int | None]
    burst: Mapped[int | None]
    status: Mapped[str] = mapped_column(server_default=text("'active'"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class AutomationEvent(Base):
    """Something that happened outside and was told to us once: its key is unique in its org."""

    __tablename__ = "automation_events"
    __table_args__ = (
        UniqueConstraint("org_id", "idempotency_key"),
        CheckConstraint("length(type) BETWEEN 1 AND 100", name="type"),
        CheckConstraint("jsonb_typeof(payload) = 'object'", name="payload"),
        CheckConstraint("length(idempotency_key) BETWEEN 1 AND 200", name="idempotency_key"),
        ForeignKeyConstraint(
            ["org_id", "instance_id"], ["cmis.workflow_instances.org_id", "cmis.workflow_instances.instance_id"]
        ),
        Index(None, "org_id", "type", "event_id"),
        Index(None, "created_at"),
        Index(None, "org_id", "instance_id", postgresql_where=text("instance_id IS NOT NULL")),
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    event_id: Mapped[UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    payload: Mapped[dict[str, Any]]
    source: Mapped[str | None]
    idempotency_key: Mapped[str]
    triggered: Mapped[int] = mapped_column(server_default=text("0"))
    """How many rules it triggered."""
    occurred_at: Mapped[datetime]
    created_at: Mapped[datetime]
    started: Mapped[int] = mapped_column(server_default=text("0"))
    """How many instances of workflows it started."""
    woken: Mapped[int] = mapped_column(server_default=text("0"))
    """How many steps had waited for it."""
    instance_id: Mapped[UUID | None]
    """The one instance that is told of it; NULL = all are."""
