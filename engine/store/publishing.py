"""What a scheduler publishes next: orgs take turns in every queue, and none has more in flight there than its cap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Integer, Text, Uuid

from core import driver
from engine.store.dispatch import Message

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection

_PUBLISHABLE = text("SELECT queue, again FROM cmis.publishable_queues(:queues)").bindparams(
    bindparam("queues", type_=ARRAY(Text()))
)
_PICK = text("""
SELECT r.queue, p.orgs, p.tasks, p.reached, p.short
  FROM unnest(:queues, :rooms, :reached) AS r(queue, room, reached)
 CROSS JOIN LATERAL cmis.pick_publishable(r.queue, r.room, r.reached, :cap) p
""").bindparams(
    bindparam("queues", type_=ARRAY(Text())),
    bindparam("rooms", type_=ARRAY(Integer())),
    bindparam("reached", type_=ARRAY(Uuid())),
)
_TAKE = text("""
SELECT org_id, task_id, kind, queue, priority, timeout_seconds, waits
  FROM cmis.take_publishable(:orgs, :tasks, :queues, :waiting)
""").bindparams(
    bindparam("orgs", type_=ARRAY(Uuid())),
    bindparam("tasks", type_=ARRAY(Uuid())),
    bindparam("queues", type_=ARRAY(Text())),
    bindparam("waiting", type_=ARRAY(Integer())),
)
_STANDING = text("""
SELECT cmis.org_in_flight(:org_id, :queue, c.cap) AS in_flight, c.cap
  FROM (SELECT cmis.org_cap(:org_id, :queue, :default) AS cap) c
""")
# Which of its org's tasks a scheduler takes before one that waits, as `cmis.pick_turns` orders them: a minute's waiting counts
# as much as a step of priority. Of each priority they are the first ones of an index up to a time, of which no more than the
# bound are read; among those of one instant that index decides, so the task's own place in it is what counts.
AHEAD = text("""
WITH me AS MATERIALIZED (
  SELECT t.task_id, t.queue, t.priority, t.publish_at, c.now, floor(extract(epoch FROM c.now - t.publish_at) / 60)::integer AS waited
    FROM cmis.tasks t CROSS JOIN (SELECT cmis.clock() AS now) c
   WHERE t.org_id = :org_id AND t.task_id = :task_id AND t.state = 'ready' AND t.published_at IS NULL AND t.publish_at <= c.now)
SELECT least(coalesce(sum(before.found), 0), :bound)::integer
  FROM me CROSS JOIN generate_series(0, 9) AS p(priority) CROSS JOIN LATERAL (
    SELECT coalesce(min(o.place) FILTER (WHERE o.task_id = me.task_id) - 1, count(*)) AS found FROM (
      SELECT w.task_id, row_number() OVER () AS place FROM (
        SELECT t.task_id FROM cmis.tasks t
         WHERE t.state = 'ready' AND t.published_at IS NULL AND t.queue = me.queue AND t.org_id = :org_id AND t.priority = p.priority
           AND t.publish_at <= CASE WHEN p.priority = me.priority THEN me.publish_at ELSE least(me.now, me.now - interval '1 min' *
                 (me.waited + p.priority - me.priority + CASE WHEN p.priority < me.priority THEN 1 ELSE 0 END)) END
         ORDER BY t.publish_at LIMIT :bound + 1) w) o) before
""")
_CAPS = text("""
SELECT queue, in_flight FROM cmis.org_queue_limits WHERE org_id = :org_id AND in_flight IS NOT NULL ORDER BY queue
""")
_SET_CAP = text("""
INSERT INTO cmis.org_queue_limits (org_id, queue, in_flight) VALUES (:org_id, :queue, :in_flight)
ON CONFLICT (org_id, queue) DO UPDATE SET in_flight = excluded.in_flight
""").bindparams(bindparam("in_flight", type_=Integer()))


class Picked(NamedTuple):
    """What is to be published next of one queue, in the order in which it is to be sent."""

    orgs: list[UUID]
    tasks: list[UUID]
    reached: UUID | None
    """The org whose turn was the last: the next pick goes on after it."""
    short: bool
    """Whether more is due than was picked: there was no room for it, or its orgs have enough in flight."""


class Taken(NamedTuple):
    """What one take marked: the messages to send, in order, and how many tasks were put off instead."""

    messages: list[Message]
    postponed: int


class Standing(NamedTuple):
    """How much an org has in flight in one queue, published or running, counted up to its cap."""

    in_flight: int
    cap: int

    @property
    def is_full(self) -> bool:
        """Whether its further tasks there wait until some of these are done."""
        return self.in_flight >= self.cap


def publishable_queues(connection: Connection, queues: Sequence[str]) -> dict[str, bool]:
    """Return those of the queues that have a message due, and whether one is due there again."""
    return {row.queue: row.again for row in driver.rows(connection, _PUBLISHABLE, {"queues": list(queues)})}


def pick(
    connection: Connection, rooms: Mapping[str, int], reached: Mapping[str, UUID | None], *, cap: int
) -> dict[str, Picked]:
    """Choose what is published next: of each queue as many tasks as it has room for messages, the orgs in turn.

    `reached`: after whose turn each queue goes on. `cap`: what an org may have in flight in a queue, unless its own
    limit says otherwise.
    """
    values = {"queues": list(rooms), "rooms": list(rooms.values()), "reached": [reached.get(queue) for queue in rooms]}
    rows = connection.execute(_PICK, values | {"cap": cap})
    return {queue: Picked(orgs, tasks, last, short) for queue, orgs, tasks, last, short in rows}


def take(connection: Connection, picked: Sequence[Picked], waiting: Mapping[str, int]) -> Taken:
    """Mark what was picked as published; what another scheduler has marked meanwhile, or a worker holds, is left out.

    `waiting`: how many messages each queue holds in which something is due again. What was published into one lately, and
    after which no more was published than waits there, is put off instead: its message is still on its way.
    """
    orgs = [org_id for one in picked for org_id in one.orgs]
    tasks = [task_id for one in picked for task_id in one.tasks]
    if not tasks:
        return Taken([], 0)
    values: dict[str, Any] = {"orgs": orgs, "tasks": tasks}
    values |= {"queues": list(waiting), "waiting": list(waiting.values())}
    rows = driver.rows(connection, _TAKE, values)
    messages = [Message(*row[:-1]) for row in rows if not row.waits]
    return Taken(messages, len(rows) - len(messages))


def standing(connection: Connection, org_id: UUID, queue: str, *, default: int) -> Standing:
    """Return how much an org has in flight in a queue, and its cap there (`default`: the deployment's)."""
    values = {"org_id": org_id, "queue": queue, "default": default}
    return Standing(*connection.execute(_STANDING, values).one())


def ahead(connection: Connection, org_id: UUID, task_id: UUID, *, bound: int) -> int:
    """Return how many tasks of its org a scheduler takes before one that waits to be sent, counted up to `bound`.

    0 for one that does not wait for that.
    """
    values = {"org_id": org_id, "task_id": task_id, "bound": bound}
    found: int = connection.execute(AHEAD, values).scalar_one()
    return found


def caps(connection: Connection, org_id: UUID) -> dict[str, int]:
    """Return the org's own caps, by queue; in the others the deployment's binds it."""
    return {row.queue: row.in_flight for row in connection.execute(_CAPS, {"org_id": org_id})}


def set_cap(connection: Connection, org_id: UUID, queue: str, in_flight: int | None) -> None:
    """Give an org a cap of its own in a queue, or (None) the deployment's again."""
    connection.execute(_SET_CAP, {"org_id": org_id, "queue": queue, "in_flight": in_flight})
