"""The processes of the product, as they tell of themselves."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Counter, one_of
from models.process_enums import ProcessKind, ProcessState


class Process(Base):
    """One worker or scheduler, from its start to a day after it was last seen. No tenant's; written by `cmis.beat`."""

    __tablename__ = "processes"
    __table_args__ = (
        one_of("kind", ProcessKind),
        one_of("state", ProcessState),
        CheckConstraint("(state = 'stopped') = (stopped_at IS NOT NULL)", name="stopped_at"),
        CheckConstraint(
            "length(host) <= 255 AND length(version) <= 64 AND length(reason) <= 500 AND cardinality(queues) <= 16",
            name="text",
        ),
    )

    process_id: Mapped[UUID] = mapped_column(primary_key=True)
    """Made at its start: a pid comes again."""
    kind: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    version: Mapped[str]
    queues: Mapped[list[str]] = mapped_column(ARRAY(Text()))
    """What a worker serves; empty for a scheduler."""
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    """When it last took work: a worker a message, a scheduler due jobs."""
    polled_at: Mapped[datetime | None]
    """When it was last seen asking for work: a worker's loop with nothing left waiting, a scheduler's whole pass."""
    tasks: Mapped[Counter]
    """Messages taken, or jobs dispatched, since its start."""
    state: Mapped[str]
    reason: Mapped[str | None]
    """What it waits for, or why it is stuck or has stopped."""
    stopped_at: Mapped[datetime | None]
