"""The org's own list of notifications: told together where one place of a rule told much on one day, and read marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Date, DateTime, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from core.ids import uuid7
from engine.store.statements import with_rows
from models import Notification

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

Days: TypeAlias = "Mapping[date, datetime]"
"""When each of an org's days begins, in order and without a gap."""
_UUIDS = ARRAY(Uuid())
_TIMES = ARRAY(DateTime(timezone=True))
# What no action told (the breaker's notices) has no position, and stands for itself. A digest has the id of its newest.
# `days`: the beginnings of the org's days, ascending, and `dates` these days: local time is never computed in SQL.
_DIGEST = text("""
SELECT (array_agg(n.notification_id ORDER BY n.created_at DESC, n.notification_id DESC))[1] AS notification_id,
       count(*) AS notifications, n.read_at IS NOT NULL AS read, n.rule_id, n.position, (:dates)[n.day] AS day,
       (array_agg(n.title ORDER BY n.created_at DESC, n.notification_id DESC))[1] AS title,
       (array_agg(n.body ORDER BY n.created_at DESC, n.notification_id DESC))[1] AS body,
       (array_agg(DISTINCT c.name) FILTER (WHERE c.name IS NOT NULL))[1:3] AS campaigns,
       count(DISTINCT n.entity_id) + coalesce(sum(n.entities) FILTER (WHERE n.entities > 1), 0) AS entities,
       min(n.created_at) AS first_at, max(n.created_at) AS last_at
  FROM (SELECT o.*, width_bucket(o.created_at, :days) AS day FROM cmis.notifications o
         WHERE o.org_id = :org_id AND o.created_at >= :since AND (o.read_at IS NULL OR NOT :unread)) n
  LEFT JOIN cmis.campaigns c ON c.org_id = n.org_id AND c.campaign_id = n.entity_id
 GROUP BY n.rule_id, n.position, n.day, n.read_at IS NOT NULL, CASE WHEN n.position IS NULL THEN n.notification_id END
 ORDER BY last_at DESC, notification_id DESC LIMIT :limit
""").bindparams(bindparam("days", type_=_TIMES), bindparam("dates", type_=ARRAY(Date())))
_READ = text("""
UPDATE cmis.notifications SET read_at = :now, read_by = :user_id
 WHERE org_id = :org_id AND notification_id = ANY (:ids) AND read_at IS NULL
""").bindparams(bindparam("ids", type_=_UUIDS))
# Of the same rule, position and day, and not newer: what came after the list was looked at stays unread.
_READ_DIGESTS = text("""
UPDATE cmis.notifications n SET read_at = :now, read_by = :user_id
  FROM cmis.notifications t
 WHERE t.org_id = :org_id AND t.notification_id = ANY (:ids) AND n.org_id = :org_id AND n.read_at IS NULL
   AND (n.notification_id = t.notification_id
        OR n.rule_id = t.rule_id AND n.position = t.position AND n.created_at <= t.created_at
           AND width_bucket(n.created_at, :days) = width_bucket(t.created_at, :days))
""").bindparams(bindparam("ids", type_=_UUIDS), bindparam("days", type_=_TIMES))
_READ_ALL = text("""
UPDATE cmis.notifications SET read_at = :now, read_by = :user_id
 WHERE org_id = :org_id AND read_at IS NULL AND created_at <= :now
""")
_TELL = with_rows("""
INSERT INTO cmis.notifications (org_id, notification_id, channel, title, body, created_at)
SELECT :org_id, r.notification_id, 'in_app', r.title, r.body, :now
  FROM json_to_recordset(:rows) AS r(notification_id uuid, title text, body text)
""")
_KNOWN = text("""
SELECT notification_id, created_at FROM cmis.notifications WHERE org_id = :org_id AND notification_id = ANY (:ids)
""").bindparams(bindparam("ids", type_=_UUIDS))


def tell(connection: Connection, org_id: UUID, rows: Sequence[Mapping[str, Any]], *, now: datetime) -> None:
    """Add notifications (title, body) that no rule told."""
    made = [dict(row) | {"notification_id": uuid7(now)} for row in rows]
    connection.execute(_TELL, {"org_id": org_id, "rows": made, "now": now})


def listing(connection: Connection, org_id: UUID, *, since: datetime, unread: bool, limit: int) -> Sequence[Row[Any]]:
    """Return notifications one by one, newest first, none older than `since`."""
    query = select(Notification.__table__).where(Notification.org_id == org_id, Notification.created_at >= since)
    if unread:
        query = query.where(Notification.read_at.is_(None))
    newest = (Notification.created_at.desc(), Notification.notification_id.desc())
    return connection.execute(query.order_by(*newest).limit(limit)).all()


def digests(
    connection: Connection, org_id: UUID, *, since: datetime, days: Days, unread: bool, limit: int
) -> Sequence[Row[Any]]:
    """Return notifications newest first: those of one rule, position and day, read or not, as one row.

    A row has the id and the texts of its newest one, how many `notifications` and different `entities` it stands for,
    and the first three of the campaigns' names.
    """
    wanted = {"org_id": org_id, "since": since, "unread": unread, "limit": limit}
    return connection.execute(_DIGEST, wanted | {"days": list(days.values()), "dates": list(days)}).all()


def known(connection: Connection, org_id: UUID, ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """Return those of the ids that are notifications of the org, and when each was made."""
    rows = connection.execute(_KNOWN, {"org_id": org_id, "ids": list(ids)})
    return {row.notification_id: row.created_at for row in rows}


def read(connection: Connection, org_id: UUID, ids: Sequence[UUID], *, user_id: UUID, now: datetime) -> int:
    """Mark single notifications as read; returns how many were not."""
    values = {"org_id": org_id, "ids": list(ids), "user_id": user_id, "now": now}
    return connection.execute(_READ, values).rowcount


def read_digests(
    connection: Connection, org_id: UUID, ids: Sequence[UUID], *, days: Days, user_id: UUID, now: datetime
) -> int:
    """Mark notifications as read with those before them of the same rule, position and day; returns how many.

    `days`: at least those of the notifications.
    """
    values = {"org_id": org_id, "ids": list(ids), "days": list(days.values()), "user_id": user_id, "now": now}
    return connection.execute(_READ_DIGESTS, values).rowcount


def read_all(connection: Connection, org_id: UUID, *, user_id: UUID, now: datetime) -> int:
    """Mark everything as read; returns how many were not."""
    return connection.execute(_READ_ALL, {"org_id": org_id, "user_id": user_id, "now": now}).rowcount
