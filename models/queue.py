"""The durable queue: tasks, their attempts, and what is known of the broker and the clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import INTERVAL, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, JsonObject, one_of
from models.enums import Queue, TaskKind, TaskState
from models.queue_enums import AttemptOutcome, Dropped, Handling

_UNFINISHED = "state IN ('ready', 'running') AND dispatched"
"""What due jobs have made and is not done: what others of them wait for."""
_DEAD_LETTER = "state IN ('failed', 'dead') AND handled_at IS NULL"
"""What ended badly, and nobody has dealt with yet."""

_WAITING = "state = 'ready' AND published_at IS NULL"
_PUBLISHED = "state = 'ready' AND published_at IS NOT NULL"


class Task(Base):
    """Queue and outbox: one row is one Celery task, its id the Celery task id. CHECKs make illegal rows impossible."""

    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("org_id", "dedupe_key"),
        one_of("kind", TaskKind),
        one_of("queue", Queue),
        one_of("state", TaskState),
        one_of("handled_as", Handling),
        CheckConstraint("(state = 'running') = (lease_owner IS NOT NULL)", name="lease_owner"),
        CheckConstraint("(state = 'running') = (lease_expires_at IS NOT NULL)", name="lease_expires_at"),
        CheckConstraint(
            "(state IN ('succeeded', 'failed', 'dead', 'cancelled')) = (finished_at IS NOT NULL)", name="finished_at"
        ),
        CheckConstraint("state <> 'ready' OR publish_at IS NOT NULL", name="publish_at"),
        CheckConstraint("attempt BETWEEN 0 AND max_attempts AND max_attempts > 0", name="attempt"),
        CheckConstraint("priority BETWEEN 0 AND 9", name="priority"),
        CheckConstraint(
            "(handled_at IS NULL) = (handled_as IS NULL) AND (handled_at IS NULL) = (handled_by IS NULL) AND "
            "(handled_note IS NULL OR handled_at IS NOT NULL)",
            name="handled",
        ),
        CheckConstraint("handled_at IS NULL OR state IN ('failed', 'dead')", name="handled_at"),
        Index("tasks_waiting", "queue", "publish_at", postgresql_where=text(f"{_WAITING} AND finished_at IS NULL")),
        Index("tasks_turns", "queue", "org_id", "priority", "publish_at", postgresql_where=text(_WAITING)),
        Index("tasks_published", "queue", "publish_at", postgresql_where=text(_PUBLISHED)),
        Index("tasks_open", "org_id", "state", "queue", "published_at", postgresql_where=text("finished_at IS NULL")),
        Index("tasks_unfinished", "run_at", postgresql_where=text(_UNFINISHED)),
        Index("tasks_unfinished_by_org", "org_id", "run_at", postgresql_where=text(_UNFINISHED)),
        Index("tasks_lease", "lease_expires_at", postgresql_where=text("state = 'running'")),
        Index(
            "tasks_final",
            "finished_at",
            postgresql_where=text(
                "finished_at IS NOT NULL AND (state NOT IN ('failed', 'dead') OR handled_at IS NOT NULL)"
            ),
        ),
        Index("tasks_unhandled", "finished_at", postgresql_where=text(_DEAD_LETTER)),
        Index("tasks_dead_letters", "org_id", "task_id", postgresql_where=text(_DEAD_LETTER)),
        Index(None, "org_id", "state", "task_id"),
        Index(None, "org_id", "retry_of", postgresql_where=text("retry_of IS NOT NULL")),
        Index(
            "tasks_held_instance",
            "org_id",
            text("(payload #>> '{items,0,instance_id}')"),
            postgresql_where=text("state = 'held' AND kind = 'run_workflow'"),
        ),
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    queue: Mapped[str]
    payload: Mapped[JsonObject]
    state: Mapped[str] = mapped_column(server_default=text("'ready'"))
    run_at: Mapped[datetime]
    publish_at: Mapped[datetime | None]
    """When the next message is due."""
    published_at: Mapped[datetime | None]
    """When its last message was sent; NULL = since it became ready, none was."""
    delivery: Mapped[int] = mapped_column(server_default=text("0"))
    """Messages sent so far; never reset."""
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=text("4"))
    """0 is the most urgent."""
    fence: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """Counts claims; every write of a claim's owner carries it, so that a zombie writes nothing."""
    attempt: Mapped[int] = mapped_column(server_default=text("0"))
    max_attempts: Mapped[int] = mapped_column(server_default=text("5"))
    attempt_id: Mapped[UUID | None]
    """The attempt that owns the task, or owned it last: the key of its row in `task_attempts`."""
    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    cancel_requested: Mapped[bool] = mapped_column(server_default=text("false"))
    timeout_seconds: Mapped[int] = mapped_column(server_default=text("300"))
    started_at: Mapped[datetime | None]
    """When it was first claimed; what its timeout counts from."""
    dedupe_key: Mapped[str | None]
    traceparent: Mapped[str | None]
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    handled_at: Mapped[datetime | None]
    """When somebody dealt with it after it had failed for good."""
    handled_by: Mapped[UUID | None]
    handled_as: Mapped[str | None]
    handled_note: Mapped[str | None]
    retry_of: Mapped[UUID | None]
    """The task that ended badly, and whose work this one does again, because somebody wanted so."""
    dispatched: Mapped[bool] = mapped_column(server_default=text("false"))
    """Whether a scheduler made it, of due jobs."""


class TaskAttempt(Base):
    """One claim of a task. Partitioned by month on its UUIDv7 id."""

    __tablename__ = "task_attempts"
    __table_args__ = (
        one_of("outcome", AttemptOutcome),
        CheckConstraint("(outcome IS NULL) = (finished_at IS NULL)", name="finished_at"),
        Index(None, "org_id", "task_id", "fence"),
        {"postgresql_partition_by": "RANGE (attempt_id)"},
    )

    org_id: Mapped[UUID] = mapped_column(primary_key=True)
    attempt_id: Mapped[UUID] = mapped_column(primary_key=True)
    task_id: Mapped[UUID]
    fence: Mapped[int] = mapped_column(BigInteger)
    attempt: Mapped[int]
    worker: Mapped[str]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    error: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


class OrgQueueLimit(Base):
    """How much of one org may be in flight in one queue, published or running, where its admins have said so."""

    __tablename__ = "org_queue_limits"
    __table_args__ = (one_of("queue", Queue), CheckConstraint("in_flight > 0", name="in_flight"))

    org_id: Mapped[UUID] = mapped_column(ForeignKey("cmis.orgs.org_id"), primary_key=True)
    queue: Mapped[str] = mapped_column(primary_key=True)
    in_flight: Mapped[int | None]
    """NULL = as many as the deployment lets any org have (CMIS_ORG_IN_FLIGHT)."""


class BrokerEpoch(Base):
    """What the broker's random epoch was when last seen; another value there means that it lost its messages."""

    __tablename__ = "broker_epoch"
    __table_args__ = (CheckConstraint("only_row", name="only_row"),)

    only_row: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    epoch: Mapped[str]
    lost_at: Mapped[datetime]
    """Messages published before this time are taken for lost."""
    losses: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """How often a broker was found that had lost its messages."""
    republished: Mapped[int] = mapped_column(BigInteger, server_default="0")
    """How many tasks were made due again for it, in all."""


class DroppedMessages(Base):
    """How many messages workers have dropped, by reason. Written by `cmis.count_dropped` only."""

    __tablename__ = "dropped_messages"
    __table_args__ = (one_of("reason", Dropped),)

    reason: Mapped[str] = mapped_column(primary_key=True)
    messages: Mapped[int] = mapped_column(BigInteger)
    last_at: Mapped[datetime]


class LeaseWatch(Base):
    """When a scheduler last looked for leases that expired, and from when on they may be taken from their owners."""

    __tablename__ = "lease_watch"
    __table_args__ = (CheckConstraint("only_row", name="only_row"),)

    only_row: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    looked_at: Mapped[datetime]
    resumes_at: Mapped[datetime]
    """After an outage one lease later: workers could not extend theirs meanwhile."""


class ClockOffset(Base):
    """How far the product's clock is moved against the server's; other than zero only in tests."""

    __tablename__ = "clock_offset"
    __table_args__ = (CheckConstraint("only_row", name="only_row"),)

    only_row: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    shift: Mapped[timedelta] = mapped_column(INTERVAL, server_default=text("'00:00:00'::interval"))
