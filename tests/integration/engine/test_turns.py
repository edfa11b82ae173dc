"""Orgs take turns in every queue, each within its cap; of an org's own tasks the urgent ones come first."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from core.db import ENGINE_ACTOR, RESERVED_ORG, Context
from core.ids import uuid7
from engine.store import publishing, tasks
from models.enums import Queue

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.store.dispatch import Message
    from tests.world import Org, World

MANY = 10_000
CAP = 1_000
RUNNING = """UPDATE cmis.tasks SET state = 'running', lease_owner = 'w', lease_expires_at = cmis.clock()
              WHERE org_id = %(id)s AND state = 'ready' AND published_at IS NOT NULL"""
PUBLISHED = """UPDATE cmis.tasks SET published_at = cmis.clock(), publish_at = cmis.clock() + interval '1 h'
                WHERE run_at <= cmis.clock()"""


def waits(org_id: UUID, world: World, count: int = 1, queue: str = "rules", **columns: Any) -> list[UUID]:
    """Make tasks of an org that wait to be published; they carry nothing, and nobody runs them."""
    now = world.now()
    rows: list[dict[str, Any]] = [
        {
            "org_id": org_id,
            "task_id": uuid7(now),
            "kind": "maintain",
            "queue": queue,
            "payload": {},
            "run_at": now - timedelta(seconds=1),
            "attempt": 0,
        }
        | columns
        for _ in range(count)
    ]
    with world.app.transaction(Context(org_id, ENGINE_ACTOR)) as connection:
        tasks.insert(connection, rows, now=now)
    return [row["task_id"] for row in rows]


class Publishing:
    """Publish as a scheduler does, without a broker."""

    def __init__(self, world: World, cap: int = CAP) -> None:
        self.world = world
        self.cap = cap
        self.reached: dict[str, UUID | None] = {}
        self.short: dict[str, bool] = {}

    def take(self, room: int, *queues: str) -> list[Message]:
        with self.world.scheduler.transaction(None) as connection:
            rooms = dict.fromkeys(queues or ("rules",), room)
            picked = publishing.pick(connection, rooms, self.reached, cap=self.cap)
            taken = publishing.take(connection, list(picked.values()), {})
        self.reached = {queue: one.reached for queue, one in picked.items()}
        self.short = {queue: one.short for queue, one in picked.items()}
        return taken.messages


@pytest.fixture
def publisher(world: World) -> Publishing:
    return Publishing(world)


def ended(world: World, messages: Sequence[Message]) -> None:
    """Let them be over."""
    finish = "UPDATE cmis.tasks SET state = 'cancelled', finished_at = cmis.clock() WHERE task_id = ANY (%(ids)s)"
    world.meddle(finish, ids=[one.task_id for one in messages])


def per_org(messages: Sequence[Message]) -> Counter[UUID]:
    return Counter(one.org_id for one in messages)


@pytest.mark.parametrize("queue", [Queue.RULES, Queue.WORKFLOWS, Queue.ACTIONS, Queue.INGEST])
def test_in_every_queue_a_flood_of_one_org_takes_no_more_turns_than_another_has(
    world: World, publisher: Publishing, queue: str
) -> None:
    flood, other = world.org("flood"), world.org("other")
    waits(flood.id, world, MANY, queue)
    publisher.take(8, queue)
    asked = waits(other.id, world, 10, queue)
    sent: list[Message] = []
    while len(per_org(sent)) < 2 or per_org(sent)[other.id] < 10:
        sent += publisher.take(8, queue)
        assert len(sent) <= 32
    mine = [one.task_id for one in sent if one.org_id == other.id]
    assert sorted(mine) == sorted(asked)
    assert per_org(sent)[flood.id] <= 16


def test_while_all_that_is_due_fits_all_of_it_is_published(world: World, publisher: Publishing) -> None:
    one, two = world.org("one"), world.org("two")
    waits(one.id, world, 30)
    waits(two.id, world, 3)
    assert per_org(publisher.take(50)) == {one.id: 30, two.id: 3}
    assert publisher.short == {"rules": False}
    assert publisher.take(50) == []


def test_nothing_is_lost_and_nothing_published_twice_however_many_orgs_and_schedulers_there_are(world: World) -> None:
    orgs = [world.org(f"org {number}") for number in range(12)]
    made = [task for number, org in enumerate(orgs) for task in waits(org.id, world, 1 + 7 * number)]
    schedulers = [Publishing(world) for _ in range(3)]
    sent: list[UUID] = []
    while found := [one.task_id for scheduler in schedulers for one in scheduler.take(5)]:
        sent += found
    assert sorted(sent) == sorted(made)


def test_more_orgs_than_there_is_room_for_come_one_after_another(world: World, publisher: Publishing) -> None:
    orgs = [world.org(f"org {number}") for number in range(9)]
    for org in orgs:
        waits(org.id, world, 20)
    rounds = [per_org(publisher.take(3)) for _ in range(9)]
    assert all(set(one.values()) == {1} for one in rounds)
    assert sum(rounds, Counter[UUID]()) == dict.fromkeys([org.id for org in orgs], 3)


def test_an_org_has_no_more_in_flight_than_its_cap_and_goes_on_as_its_tasks_end(world: World) -> None:
    publisher = Publishing(world, cap=5)
    flood, other = world.org("flood"), world.org("other")
    waits(flood.id, world, 40)
    first = publisher.take(20)
    assert (len(first), publisher.short) == (5, {"rules": True})
    assert publisher.take(20) == []
    waits(other.id, world, 2)
    assert per_org(publisher.take(20)) == {other.id: 2}
    ended(world, first[:3])
    assert per_org(publisher.take(20)) == {flood.id: 3}
    world.meddle(RUNNING, id=flood.id)
    assert publisher.take(20) == []  # what runs counts, too
    assert per_org(publisher.take(20, "actions")) == {}
    with world.app.transaction(flood.context) as connection:
        standing = publishing.standing(connection, flood.id, "rules", default=5)
        assert (standing, standing.is_full) == ((5, 5), True)
        assert not publishing.standing(connection, flood.id, "actions", default=5).is_full


def test_an_orgs_own_limit_binds_it_in_its_queue_alone(world: World, publisher: Publishing) -> None:
    small, other = world.org("small"), world.org("other")
    with world.app.transaction(small.context) as connection:
        publishing.set_cap(connection, small.id, "rules", 2)
    for org in (small, other):
        waits(org.id, world, 9, "rules")
        waits(org.id, world, 9, "actions")
    assert per_org(publisher.take(30)) == {small.id: 2, other.id: 9}
    assert per_org(publisher.take(30, "actions")) == {small.id: 9, other.id: 9}
    with world.app.transaction(small.context) as connection:
        publishing.set_cap(connection, small.id, "rules", None)
    assert per_org(publisher.take(30)) == {small.id: 7}


def test_what_several_tenants_share_is_bound_by_no_cap_and_has_four_turns_to_one(world: World) -> None:
    publisher = Publishing(world, cap=3)
    flood = world.org("flood")
    waits(flood.id, world, 40)
    waits(RESERVED_ORG, world, 40)
    assert per_org(publisher.take(5)) == {RESERVED_ORG: 4, flood.id: 1}
    assert per_org(publisher.take(30)) == {RESERVED_ORG: 28, flood.id: 2}


def test_of_an_orgs_tasks_the_urgent_ones_come_first_and_those_of_another_org_not_after_them(
    world: World, publisher: Publishing
) -> None:
    one, two = world.org("one"), world.org("two")
    waits(one.id, world, 20, priority=7)
    urgent = waits(one.id, world, 3, priority=1)
    waits(two.id, world, 20, priority=9)
    sent = publisher.take(6)
    assert per_org(sent) == {one.id: 3, two.id: 3}
    assert sorted(each.task_id for each in sent if each.org_id == one.id) == sorted(urgent)


def test_a_minutes_waiting_counts_as_much_as_a_step_of_priority(world: World, publisher: Publishing) -> None:
    org = world.org()
    old = waits(org.id, world, 3, priority=6)
    world.advance(minutes=4, seconds=1)
    waits(org.id, world, 10, priority=3)
    assert sorted(one.task_id for one in publisher.take(3)) == sorted(old)
    waits(org.id, world, 10, priority=1)
    assert {world.task(one.task_id).priority for one in publisher.take(10)} == {1}


def test_the_brokers_priorities_are_for_an_org_that_is_alone(world: World, publisher: Publishing) -> None:
    one, two = world.org("one"), world.org("two")
    waits(one.id, world, priority=1)
    waits(one.id, world, priority=7)
    assert [each.priority for each in publisher.take(5)] == [1, 7]
    waits(two.id, world, priority=1)
    assert [each.priority for each in publisher.take(5)] == [4]  # the first org's messages wait in the broker
    waits(two.id, world, priority=1, queue="actions")
    assert [each.priority for each in publisher.take(5, "actions")] == [1]


def test_a_lost_message_is_sent_again_although_its_org_has_enough_in_flight(world: World) -> None:
    publisher = Publishing(world, cap=2)
    flood, other = world.org("flood"), world.org("other")
    waits(flood.id, world, 10)
    lost = publisher.take(8)
    assert per_org(lost) == {flood.id: 2}
    waits(other.id, world, 8)
    world.advance(seconds=16)
    again = publisher.take(4)
    assert sorted(one.task_id for one in again if one.org_id == flood.id) == sorted(one.task_id for one in lost)
    assert per_org(again) == {flood.id: 2, other.id: 2}  # half of the room, at most


def test_what_is_due_later_takes_no_turn(world: World, publisher: Publishing) -> None:
    later, other = world.org("later"), world.org("other")
    waits(later.id, world, 5, run_at=world.now() + timedelta(hours=1))
    waits(other.id, world, 5)
    assert per_org(publisher.take(3)) == {other.id: 3}
    assert per_org(publisher.take(3)) == {other.id: 2}
    assert publisher.take(3) == []


def test_a_process_sends_the_first_messages_of_an_org_only_while_few_of_them_are_unclaimed(world: World) -> None:
    org, other = world.org("org"), world.org("other")
    sends = {"delivery": 1, "publish_at": world.now() + timedelta(seconds=15)}
    waits(org.id, world, tasks.SENDS_ITSELF - 1, "workflows", **sends)
    [last] = waits(org.id, world, 1, "workflows", **sends)
    assert world.task(last).published_at is not None
    [left] = waits(org.id, world, 1, "workflows", **sends)
    row = world.task(left)
    assert (row.published_at, row.delivery, row.publish_at) == (None, 0, row.run_at)
    [elsewhere] = waits(other.id, world, 1, "workflows", **sends)
    assert world.task(elsewhere).delivery == 1
    with world.app.transaction(org.context) as connection:
        row = {"org_id": org.id, "task_id": uuid7(world.now()), "kind": "maintain", "queue": "workflows", "payload": {}}
        rows = [row | {"run_at": world.now(), "attempt": 0} | sends]
        assert tasks.insert(connection, rows, now=world.now())() == {row["task_id"]}


@pytest.mark.parametrize(("cap", "sent"), [(None, tasks.SENDS_ITSELF), (3, 3), (1_000, tasks.SENDS_ITSELF)])
def test_of_many_first_messages_at_once_a_process_sends_as_many_as_its_org_has_room_for(
    world: World, cap: int | None, sent: int
) -> None:
    org = world.org()
    with world.app.transaction(org.context) as connection:
        publishing.set_cap(connection, org.id, "workflows", cap)
    sends = {"delivery": 1, "publish_at": world.now() + timedelta(seconds=15)}
    made = waits(org.id, world, 100, "workflows", **sends)
    published = "SELECT count(*) FROM cmis.tasks WHERE published_at IS NOT NULL AND task_id = ANY (:ids)"
    assert world.one(published, ids=made) == sent
    if cap == sent:
        world.meddle(RUNNING, id=org.id)
        assert world.one(published, ids=waits(org.id, world, 100, "workflows", **sends)) == 0


def test_a_rules_priority_is_its_tasks(world: World) -> None:
    org = world.org()
    urgencies = {}
    for number, priority in enumerate(["critical", "high", "medium", "low"]):
        rule = org.rule(priority=priority)
        org.job(rule, timeout_seconds=60 + number)  # tasks of different limits are not packed together
        urgencies[60 + number] = {"critical": 1, "high": 3, "medium": 4, "low": 6}[priority]
    org.job(org.rule(priority="low"), timeout_seconds=61)
    world.dispatch()
    found = world.rows("SELECT timeout_seconds, priority FROM cmis.tasks WHERE kind = 'evaluate_rules'")
    assert {row.timeout_seconds: row.priority for row in found} == urgencies
    assert len(found) == 4


def test_the_plans_find_what_is_due_by_index_among_much_that_is_not(world: World, org: Org) -> None:
    waits(org.id, world, 3_000)
    waits(org.id, world, 3_000, run_at=world.now() + timedelta(hours=1))
    world.meddle(PUBLISHED)
    read = """SELECT coalesce(sum(seq_scan), 0), coalesce(sum(seq_tup_read), 0) FROM pg_stat_xact_user_tables
               WHERE schemaname = 'cmis' AND relname = 'tasks'"""
    with world.scheduler.transaction(None) as connection:
        publishing.publishable_queues(connection, [queue.value for queue in Queue])
        publishing.pick(connection, {"rules": 8}, {}, cap=CAP)
        assert tuple(connection.exec_driver_sql(read).one()) == (0, 0)
