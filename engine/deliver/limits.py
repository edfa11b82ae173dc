"""The rows behind an admission: a destination's breaker and the buckets, locked, read, and written back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from core.ids import uuid7
from engine.deliver.admission import Admitted, Limit, admit
from engine.deliver.answers import Delivered, Later, Refused, Unclear
from engine.deliver.breaker import Destination
from engine.deliver.bucket import Bucket
from engine.deliver.post import ORG
from engine.store import audit, destinations
from engine.store.tasks import LEASE_SECONDS
from models.audit_actions import AuditAction
from models.enums import BreakerState

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

    from engine.deliver.admission import Admission
    from engine.deliver.answers import Answer
    from engine.deliver.post import Post

_CLAIM: Final = timedelta(seconds=LEASE_SECONDS)


@dataclass(frozen=True, slots=True)
class Way:
    """Where a delivery goes: the server that is called, and the bucket of the account there, if it has one."""

    destination: str
    account: str | None


def ask(
    connection: Connection, org_id: UUID, task_id: UUID, way: Way, post: Post, *, reserved: bool, now: datetime
) -> Admission:
    """Decide whether a delivery may be tried now, and note that it is, or that its turn is reserved."""
    destination = _read(destinations.lock(connection, org_id, way.destination, now=now))
    limits = {} if reserved else _limits(connection, org_id, way, post)
    admission = admit(way.destination, destination, list(limits.values()), task_id, now=now)
    if isinstance(admission, Admitted) or admission.reserved:
        for name, limit in limits.items():
            left = limit.bucket.take(limit.rate, now)
            destinations.write_bucket(connection, org_id, name, left.tokens or 0.0, now)
    if isinstance(admission, Admitted):
        begun = destination.begin(task_id, now=now, until=now + _CLAIM)
        destinations.write(connection, org_id, way.destination, _columns(begun), now=now)
    return admission


def note(
    connection: Connection, org_id: UUID, task_id: UUID, way: Way, answer: Answer | None, *, now: datetime
) -> None:
    """Write what a call's end says of its destination; None: no call was made after all."""
    before = _read(destinations.lock(connection, org_id, way.destination, now=now)).end(task_id)
    after, said = before, None
    match answer:
        case None:
            pass
        case Later(blames=True, reason=reason) | Unclear(reason=reason):
            after, said = before.failed(now), reason
        case Refused(status=None):  # it was not even asked
            pass
        case _:
            after = before.answered()
    if isinstance(answer, Later) and answer.retry_after:
        after = after.asked_for_rest(now + answer.retry_after)
    columns = _columns(after)
    succeeded = isinstance(answer, Delivered)
    destinations.write(connection, org_id, way.destination, columns, now=now, succeeded=succeeded, said=said)
    _tell(connection, org_id, way, before, after, now)


def _tell(
    connection: Connection, org_id: UUID, way: Way, before: Destination, after: Destination, now: datetime
) -> None:
    """Put on record that a breaker opened or closed."""
    if (before.state is BreakerState.CLOSED) == (after.state is BreakerState.CLOSED):
        return
    closed = after.state is BreakerState.CLOSED
    entry = {
        "audit_id": uuid7(now),
        "action": (AuditAction.DESTINATION_CLOSED if closed else AuditAction.DESTINATION_OPENED).value,
        "entity_type": "destination",
        "entity_id": org_id,
        "details": {"destination": way.destination, "failures": after.failures},
    }
    audit.record(connection, org_id, [entry], now=now)


def _limits(connection: Connection, org_id: UUID, way: Way, post: Post) -> dict[str, Limit]:
    wanted = [ORG] if way.account is None else [ORG, way.account]
    rows = destinations.lock_buckets(connection, org_id, wanted)
    return {name: Limit(_whose(name), post.rate(row), _bucket(row)) for name, row in rows.items()}


def _whose(bucket: str) -> str:
    return "the org" if bucket == ORG else f"the account {bucket}"


def _bucket(row: Row[Any]) -> Bucket:
    return Bucket(row.tokens, row.refilled_at)


def _read(row: Row[Any]) -> Destination:
    return Destination(
        state=BreakerState(row.state),
        failures=row.failures,
        openings=row.openings,
        not_before=row.not_before,
        answers=row.last_success_at is not None,
        in_flight={UUID(task): datetime.fromisoformat(ends) for task, ends in row.in_flight.items()},
    )


def _columns(destination: Destination) -> dict[str, Any]:
    return {
        "state": destination.state.value,
        "failures": destination.failures,
        "openings": destination.openings,
        "not_before": destination.not_before,
        "in_flight": {str(task): ends.isoformat() for task, ends in destination.in_flight.items()},
    }
