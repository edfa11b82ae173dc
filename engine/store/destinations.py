"""Destinations as an org knows them, and its token buckets: locked by who decides on a delivery, and written by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import Text

from models import Destination, TokenBucket

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

_MEET = text("""
INSERT INTO cmis.destinations (org_id, destination, updated_at) VALUES (:org_id, :destination, :now) ON CONFLICT DO NOTHING
""")
_LOCK = text("""
SELECT * FROM cmis.destinations WHERE org_id = :org_id AND destination = :destination FOR NO KEY UPDATE
""")
_WRITE = text("""
UPDATE cmis.destinations
   SET state = :state, failures = :failures, openings = :openings, not_before = :not_before, in_flight = :in_flight,
       last_success_at = CASE WHEN :succeeded THEN CAST(:now AS timestamptz) ELSE last_success_at END,
       last_failure_at = CASE WHEN :said IS NOT NULL THEN CAST(:now AS timestamptz) ELSE last_failure_at END,
       last_error = coalesce(:said, last_error), updated_at = :now
 WHERE org_id = :org_id AND destination = :destination
""").bindparams(bindparam("in_flight", type_=JSONB), bindparam("said", type_=Text()))
_MEET_BUCKETS = text("""
INSERT INTO cmis.token_buckets (org_id, bucket) SELECT :org_id, b FROM unnest(:buckets) b ON CONFLICT DO NOTHING
""").bindparams(bindparam("buckets", type_=ARRAY(Text())))
_LOCK_BUCKETS = text("""
SELECT * FROM cmis.token_buckets WHERE org_id = :org_id AND bucket = ANY (:buckets) ORDER BY bucket FOR NO KEY UPDATE
""").bindparams(bindparam("buckets", type_=ARRAY(Text())))
_WRITE_BUCKET = text("""
UPDATE cmis.token_buckets SET tokens = :tokens, refilled_at = :refilled_at WHERE org_id = :org_id AND bucket = :bucket
""")
_LIMIT = text("""
INSERT INTO cmis.token_buckets (org_id, bucket, rate_per_minute, burst) VALUES (:org_id, :bucket, :rate, :burst)
ON CONFLICT (org_id, bucket) DO UPDATE SET rate_per_minute = excluded.rate_per_minute, burst = excluded.burst
""")


def lock(connection: Connection, org_id: UUID, destination: str, *, now: datetime) -> Row[Any]:
    """Lock a destination until the transaction ends, and return it; one that nobody has met is made."""
    key = {"org_id": org_id, "destination": destination}
    found = connection.execute(_LOCK, key).one_or_none()
    if found is not None:
        return found
    connection.execute(_MEET, key | {"now": now})
    return connection.execute(_LOCK, key).one()


def write(
    connection: Connection,
    org_id: UUID,
    destination: str,
    columns: Mapping[str, Any],
    *,
    now: datetime,
    succeeded: bool = False,
    said: str | None = None,
) -> None:
    """Write a locked destination's state (state, failures, openings, not_before, in_flight); `said`: how a call failed."""
    key = {"org_id": org_id, "destination": destination, "now": now, "succeeded": succeeded, "said": said}
    connection.execute(_WRITE, key | dict(columns))


def listing(connection: Connection, org_id: UUID) -> Sequence[Row[Any]]:
    """Return an org's destinations by name."""
    table = Destination.__table__
    return connection.execute(select(table).where(table.c.org_id == org_id).order_by(table.c.destination)).all()


def lock_buckets(connection: Connection, org_id: UUID, buckets: Sequence[str]) -> dict[str, Row[Any]]:
    """Lock buckets until the transaction ends, in the order of their names; those that are not there are made."""
    key = {"org_id": org_id, "buckets": sorted(buckets)}
    found = connection.execute(_LOCK_BUCKETS, key).all()
    if len(found) < len(buckets):
        connection.execute(_MEET_BUCKETS, key)
        found = connection.execute(_LOCK_BUCKETS, key).all()
    return {row.bucket: row for row in found}


def write_bucket(connection: Connection, org_id: UUID, bucket: str, tokens: float, refilled_at: datetime) -> None:
    """Write what is in a locked bucket."""
    key = {"org_id": org_id, "bucket": bucket}
    connection.execute(_WRITE_BUCKET, key | {"tokens": tokens, "refilled_at": refilled_at})


def set_limit(connection: Connection, org_id: UUID, bucket: str, rate: int | None, burst: int | None) -> None:
    """Give a bucket a rate of its own, deliveries a minute, or (None) the deployment's again."""
    connection.execute(_LIMIT, {"org_id": org_id, "bucket": bucket, "rate": rate, "burst": burst})


def limit(connection: Connection, org_id: UUID, bucket: str) -> Row[Any] | None:
    """Return a bucket."""
    table = TokenBucket.__table__
    query = select(table).where(table.c.org_id == org_id, table.c.bucket == bucket)
    return connection.execute(query).one_or_none()
