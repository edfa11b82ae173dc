"""Messages are hints: marked before they are sent, sent again when they may be lost, and nothing is lost with them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import redis
from celery.exceptions import Ignore
from kombu.connection import Connection

from core.clock import monotonic
from core.db import RESERVED_ORG
from dev.launch import wait_until
from engine import rescue
from engine.dispatch import Dispatcher
from engine.store import activity, publishing, tasks
from engine.store import dispatch as store
from scheduler import duties
from scheduler import publishing as scheduler_publishing
from scheduler.duties import Duties, Timer
from tasks import epoch
from tasks.base import AutomationTask
from tasks.broker import app
from tasks.publish import publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from celery import Celery

    from dev.valkey import Valkey
    from tests.world import Org, World

FIFTEEN = timedelta(seconds=15)
AMQP_URL = "amqp://guest:guest@127.0.0.1:5672//"
DUE = "UPDATE cmis.tasks SET publish_at = publish_at - %(by)s::interval"


@pytest.fixture
def scheduler(world: World, celery: Celery) -> Iterator[Duties]:
    """Give the test one scheduler's duties."""
    del celery
    made = Duties(world.scheduler, Dispatcher(world.scheduler))
    yield made
    made.close()


def _messages(broker: Valkey, queue: str = "rules") -> list[dict[str, Any]]:
    with redis.Redis.from_url(broker.url) as client:
        return [json.loads(one) for key in client.keys(f"{queue}*") for one in client.lrange(key, 0, -1)]


def _keys(broker: Valkey) -> list[str]:
    with redis.Redis.from_url(broker.url, decode_responses=True) as client:
        return list(client.keys())


def _ids(broker: Valkey) -> list[str]:
    return sorted(one["headers"]["id"] for one in _messages(broker))


def _take(world: World, **waiting: int) -> list[UUID]:
    with world.scheduler.transaction(None) as connection:
        picked = publishing.pick(connection, {"rules": 100}, {}, cap=100)
        return [one.task_id for one in publishing.take(connection, list(picked.values()), waiting).messages]


def _publish_times(world: World) -> tuple[datetime, datetime, int]:
    [row] = world.rows("SELECT publish_at, published_at, delivery FROM cmis.tasks WHERE kind = 'evaluate_rules'")
    return row.publish_at, row.published_at, row.delivery


def test_a_due_task_is_marked_and_then_sent_as_two_ids(
    world: World, org: Org, scheduler: Duties, broker: Valkey
) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    scheduler.run()
    [message] = _messages(broker)
    assert message["headers"]["id"] == str(task_id)
    assert message["headers"]["task"] == "automation.evaluate_rules"
    assert message["headers"]["timelimit"] == [310, 300]
    again, at, delivery = _publish_times(world)
    assert (again - at, delivery) == (FIFTEEN, 1)
    scheduler.run()
    assert len(_messages(broker)) == 1


def test_a_task_is_marked_before_it_is_sent_so_that_a_death_in_between_only_delays_it(world: World, org: Org) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    assert _take(world) == [task_id]  # and the process dies here
    assert _take(world) == []
    world.meddle(DUE, by="15 s")
    assert _take(world) == [task_id]


def test_what_the_broker_refuses_is_due_again_at_once(
    world: World, org: Org, scheduler: Duties, broker: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_ids = [world.enqueue({org.id: [org.rule()]}) for _ in range(3)]
    with monkeypatch.context() as refusing:
        refusing.setattr(scheduler_publishing, "publish", lambda _, messages: list(messages)[1:])
        scheduler.run()
    waiting = world.rows(
        "SELECT task_id, published_at FROM cmis.tasks WHERE publish_at <= cmis.clock() AND kind <> 'maintain'"
    )
    assert [(one.task_id in task_ids, one.published_at) for one in waiting] == [(True, None)] * 2
    assert scheduler.broker is None
    scheduler.connecting = Timer(1)
    scheduler.run()
    assert set(_ids(broker)) == {str(one.task_id) for one in waiting}


def test_a_full_broker_refuses_and_the_scheduler_goes_on(
    world: World, org: Org, scheduler: Duties, broker: Valkey
) -> None:
    scheduler.run()
    task_id = world.enqueue({org.id: [org.rule()]})
    with redis.Redis.from_url(broker.url) as client:
        client.config_set("maxmemory", "1")
        try:
            scheduler.run()
            scheduler.connecting = Timer(1)
            scheduler.run()
        finally:
            client.config_set("maxmemory", "0")
    assert world.task(task_id).published_at is None
    scheduler.connecting = Timer(1)
    scheduler.run()
    assert _ids(broker) == [str(task_id)]


def test_a_message_is_repeated_after_15_seconds_and_then_ever_more_rarely_up_to_8_minutes(
    world: World, org: Org
) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    waits = []
    for number in range(1, 8):
        assert _take(world) == [task_id]
        again, at, delivery = _publish_times(world)
        assert delivery == number
        waits.append((again - at).total_seconds())
        assert _take(world) == []
        world.meddle(DUE, by=f"{waits[-1]} s")
    assert waits == [15, 30, 60, 120, 240, 480, 480]


def test_a_message_that_waits_in_a_long_queue_is_postponed_and_not_doubled(
    world: World, org: Org, scheduler: Duties, broker: Valkey
) -> None:
    for _ in range(3):
        world.enqueue({org.id: [org.rule()]})
    scheduler.run()
    before = _ids(broker)
    world.meddle(DUE, by="20 s")
    scheduler.run()
    assert _ids(broker) == before
    assert world.one("SELECT max(delivery) FROM cmis.tasks") == 1
    world.advance(minutes=2, seconds=1)
    scheduler.run()
    again = "SELECT count(*) FROM cmis.tasks WHERE delivery = 2 AND kind = 'evaluate_rules'"
    assert world.one(again) == 3


def test_what_is_lost_beside_what_waits_is_sent_again_and_only_that(
    world: World, org: Org, scheduler: Duties, broker: Valkey
) -> None:
    for _ in range(3):
        for _ in range(2):
            world.enqueue({org.id: [org.rule()]})
        scheduler.run()
    queue = next(key for key in _keys(broker) if key.startswith("rules"))
    with redis.Redis.from_url(broker.url, decode_responses=True) as client:
        lost = [json.loads(client.rpop(queue))["headers"]["id"] for _ in range(2)]
        lost.append(json.loads(client.rpop(queue))["headers"]["id"])
    world.meddle(DUE, by="20 s")
    with world.app.transaction(org.context) as connection:
        tasks.lock(connection, org.id, UUID(lost.pop(1)))  # a worker is at work on it, in its first transaction
        scheduler.run()
    twice = "SELECT task_id::text FROM cmis.tasks WHERE delivery = 2 AND kind = 'evaluate_rules' ORDER BY 1"
    assert [task_id for (task_id,) in world.rows(twice)] == sorted(lost)
    assert len(_ids(broker)) == len(set(_ids(broker))) == 5


def test_a_refused_message_that_a_worker_has_begun_on_keeps_no_other_waiting(world: World, org: Org) -> None:
    arrived, refused = (world.enqueue({org.id: [org.rule()]}) for _ in range(2))
    with world.scheduler.transaction(None) as connection:
        picked = publishing.pick(connection, {"rules": 100}, {}, cap=100)
        messages = publishing.take(connection, list(picked.values()), {}).messages
    with world.app.transaction(org.context) as connection:
        tasks.lock(connection, org.id, arrived)
        with world.scheduler.transaction(None) as other:
            store.publish_failed(other, messages)
    assert [world.task(task_id).published_at is None for task_id in (arrived, refused)] == [False, True]


def test_a_task_that_is_ready_again_is_published_although_the_queue_is_long(world: World, org: Org) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})
    _take(world)
    world.meddle("UPDATE cmis.tasks SET published_at = NULL, publish_at = cmis.clock()")  # as retry and reaper do
    assert _take(world, rules=9) == [task_id]


def test_a_broker_that_forgot_everything_gets_it_again_once(
    world: World, org: Org, scheduler: Duties, broker: Valkey
) -> None:
    task_ids = sorted(str(world.enqueue({org.id: [org.rule()]})) for _ in range(3))
    scheduler.run()
    assert _ids(broker) == task_ids
    broker.flush()
    scheduler.watching = Timer(1)
    scheduler.run()
    assert _ids(broker) == task_ids
    assert {row[0] for row in world.rows("SELECT delivery FROM cmis.tasks WHERE kind <> 'maintain'")} == {2}
    scheduler.watching = Timer(1)
    scheduler.run()
    assert _ids(broker) == task_ids
    assert _losses(world) == (1, 3)


def _losses(world: World) -> tuple[int, int]:
    """Return how many losses there were, and what was published again for them, but for the hour's upkeep."""
    with world.reader.snapshot() as connection:
        found = activity.broker_losses(connection)
    assert (found.lost_at is None) == (found.losses == 0)
    return found.losses, found.republished - found.losses


def test_the_first_broker_that_is_seen_has_lost_nothing(world: World, org: Org, scheduler: Duties) -> None:
    world.enqueue({org.id: [org.rule()]})
    scheduler.run()
    assert _losses(world) == (0, 0)


def test_what_is_sent_after_the_loss_and_before_it_is_noticed_arrives_at_most_once_more(
    world: World, org: Org, scheduler: Duties, broker: Valkey
) -> None:
    early = str(world.enqueue({org.id: [org.rule()]}))
    scheduler.run()
    broker.flush()
    scheduler.watching.postpone(60)
    late = str(world.enqueue({org.id: [org.rule()]}))
    scheduler.run()
    assert _ids(broker) == [late]
    for _ in range(3):
        scheduler.watching = Timer(1)
        scheduler.run()
    assert sorted(_ids(broker)) == sorted([early, late, late])
    assert _losses(world) == (1, 2)
    broker.flush()
    scheduler.watching = Timer(1)
    scheduler.run()
    assert sorted(_ids(broker)) == sorted([early, late])
    assert _losses(world) == (2, 4)


def test_of_two_schedulers_one_notices_the_loss_and_nothing_is_sent_twice(
    world: World, org: Org, scheduler: Duties, broker: Valkey
) -> None:
    other = Duties(world.scheduler, Dispatcher(world.scheduler))
    task_id = world.enqueue({org.id: [org.rule()]})
    for one in (scheduler, other):
        one.run()
    broker.flush()
    for one in (scheduler, other, scheduler):
        one.watching = Timer(1)
        one.run()
    other.close()
    assert _ids(broker) == [str(task_id)]
    assert world.task(task_id).delivery == 2
    assert _losses(world) == (1, 1)


def test_only_one_of_two_schedulers_changes_the_epoch(world: World) -> None:
    with world.scheduler.transaction(None) as connection:
        assert store.swap_broker_epoch(connection, "", "first")
        assert not store.swap_broker_epoch(connection, "", "second")
    assert world.one("SELECT epoch FROM cmis.broker_epoch") == "first"
    assert not rescue.adopt_epoch(world.scheduler, "first")


def test_a_retry_in_the_future_is_not_hastened_by_a_lost_broker(world: World, org: Org) -> None:
    later = world.enqueue({org.id: [org.rule()]})
    lost = world.enqueue({org.id: [org.rule()]})
    assert sorted(_take(world)) == sorted([later, lost])
    hour = timedelta(hours=1)
    future = "UPDATE cmis.tasks SET run_at = run_at + %(by)s, publish_at = publish_at + %(by)s WHERE task_id = %(id)s"
    world.meddle(future, id=later, by=hour)
    assert rescue.adopt_epoch(world.scheduler, "another")
    assert rescue.requeue_lost(world.scheduler) == 1
    assert _take(world) == [lost]


def test_what_was_lost_while_it_was_due_again_is_not_taken_for_what_waits(world: World, org: Org) -> None:
    lost = world.enqueue({org.id: [org.rule()]})
    assert _take(world) == [lost]
    world.meddle(DUE, by=FIFTEEN)
    assert rescue.adopt_epoch(world.scheduler, "another")
    assert rescue.requeue_lost(world.scheduler) == 1
    assert rescue.requeue_lost(world.scheduler) == 0
    assert _take(world, rules=9) == [lost]


def test_a_broker_that_is_away_costs_a_pause_and_it_is_served_again_within_three_seconds(
    world: World, org: Org, scheduler: Duties, broker: Valkey
) -> None:
    scheduler.run()
    broker.kill()
    task_id = world.enqueue({org.id: [org.rule()]})
    started = monotonic()
    scheduler.run()
    assert monotonic() - started < 5
    assert scheduler.broker is None
    assert scheduler.run() == duties.IDLE_SECONDS  # within the pause: at once, and nothing else suffers
    broker.start()
    back = monotonic()
    assert wait_until(lambda: bool(scheduler.run() and _messages(broker)), 5)
    assert monotonic() - back < 3
    assert _ids(broker) == [str(task_id)]


def test_a_duty_that_fails_stops_no_other(
    world: World, org: Org, scheduler: Duties, broker: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    task_id = world.enqueue({org.id: [org.rule()]})

    def refused(_: object) -> int:
        with world.scheduler.transaction(None) as connection:
            connection.exec_driver_sql("SELECT 1 / 0")
        return 0

    with pytest.MonkeyPatch.context() as failing:
        failing.setattr(rescue, "reap", refused)
        for _ in range(3):
            scheduler.reaping = Timer(0)
            scheduler.run()
    assert _ids(broker) == [str(task_id)]
    assert len([one for one in caplog.records if "_reap failed" in one.getMessage()]) == 1


def test_publishing_says_which_messages_were_not_taken(
    world: World, org: Org, scheduler: Duties, broker: Valkey
) -> None:
    del scheduler
    world.enqueue({org.id: [org.rule()]})
    with world.scheduler.transaction(None) as connection:
        picked = publishing.pick(connection, {"rules": 10}, {}, cap=10)
        messages = publishing.take(connection, list(picked.values()), {}).messages
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1)
        broker.kill()
        assert publish(connection, messages) == messages


@pytest.mark.parametrize(
    ("message", "others"),
    [
        ((), {}),
        (("x", "y"), {}),
        ((str(RESERVED_ORG),), {}),
        ((str(RESERVED_ORG), None), {}),
        ((str(RESERVED_ORG),) * 2, {"more": 1}),
    ],
)
def test_a_message_that_is_not_two_ids_is_dropped(message: tuple[Any, ...], others: dict[str, Any]) -> None:
    with pytest.raises(Ignore):
        AutomationTask.ids(message, others)


def test_an_amqp_broker_keeps_its_epoch_until_it_loses_its_memory() -> None:
    with Connection(AMQP_URL, connect_timeout=1) as connection:  # type: ignore[no-untyped-call]
        try:
            connection.ensure_connection(max_retries=1, timeout=1)
        except OSError:
            pytest.skip("no RabbitMQ answers at 127.0.0.1:5672, so that the epoch is only tested on Valkey")
        connection.default_channel.queue_delete(epoch._NAME)
        first = epoch.read(connection)
        assert first
        assert {epoch.read(connection) for _ in range(3)} == {first}
        with Connection(AMQP_URL) as other:  # type: ignore[no-untyped-call]
            assert epoch.read(other) == first
        connection.default_channel.queue_delete(epoch._NAME)
        assert epoch.read(connection) != first
