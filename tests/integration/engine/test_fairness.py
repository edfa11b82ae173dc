"""One org's flood keeps no other org waiting: due jobs in turn, bounded work per org, bounded messages."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from threading import current_thread
from typing import TYPE_CHECKING, Any

import pytest
import redis
from sqlalchemy.exc import DBAPIError

from dev.launch import wait_until
from engine import chunk, dispatch
from engine.dispatch import Dispatcher
from scheduler.duties import HELD_BACK_SECONDS, Duties
from scheduler.second_hand import SecondHand
from tests.integration.engine.bulk import bulk

if TYPE_CHECKING:
    from celery import Celery

    from dev.valkey import Valkey
    from tests.world import Org, World

RUNS = "SELECT count(*) FROM cmis.occurrences WHERE org_id = :org"
UNFINISHED = "SELECT count(*) FROM cmis.tasks WHERE org_id = :org AND state IN ('ready', 'running')"


def dispatched(world: World, org: Org) -> int:
    found: int = world.one(RUNS, org=org.id)
    return found


def test_a_flood_of_one_org_delays_the_one_job_of_another_by_a_batch_or_two(world: World) -> None:
    flood, other = world.org("flood"), world.org("other")
    bulk(flood, rules=10, jobs=900)
    scheduler = Dispatcher(world.scheduler, org_cap=1_000)
    scheduler.dispatch(100)
    other.job(other.rule())  # due later than all that waits
    batches = 0
    while not dispatched(world, other):
        assert scheduler.dispatch(100).more
        batches += 1
    assert batches <= 2
    assert dispatched(world, flood) < 400


def test_orgs_take_turns_by_shares_that_fill_tasks(world: World) -> None:
    orgs = [world.org(f"org {number}") for number in range(6)]
    for org in orgs:
        bulk(org, rules=2, jobs=40)
    scheduler = Dispatcher(world.scheduler, chunk_size=10, org_cap=1_000)
    scheduler.dispatch(20)
    before = {org.id: dispatched(world, org) for org in orgs}
    for _ in range(3):
        scheduler.dispatch(20)
    given = Counter({org.id: dispatched(world, org) - before[org.id] for org in orgs})
    assert set(given.values()) == {10}  # two orgs a batch, ten of each


def test_every_due_job_is_dispatched_once_however_many_orgs_and_schedulers_there_are(world: World) -> None:
    orgs = [world.org(f"org {number}") for number in range(7)]
    for number, org in enumerate(orgs):
        bulk(org, rules=2, jobs=5 + 31 * number)
    schedulers = [Dispatcher(world.scheduler, org_cap=1_000) for _ in range(3)]
    while sum(scheduler.dispatch(50).more for scheduler in schedulers):
        pass
    assert [dispatched(world, org) for org in orgs] == [5 + 31 * number for number in range(7)]


def test_in_a_burst_a_second_hand_helps_and_ends_with_it(
    world: World, celery: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    del celery
    org = world.org()
    bulk(org, rules=10, jobs=900)
    hands = set[str]()
    decide = dispatch._decide

    def deciding(*args: Any, **how: Any) -> Any:
        hands.add(current_thread().name)
        return decide(*args, **how)

    monkeypatch.setattr(dispatch, "_decide", deciding)
    duties = Duties(world.scheduler, Dispatcher(world.scheduler, org_cap=1_000))
    assert wait_until(lambda: duties.run() >= 0 and dispatched(world, org) == 900, 30)
    assert len(hands) == 2
    assert wait_until(lambda: not duties.second_hand.is_busy(), 10)
    duties.close()


def test_what_the_second_hand_fails_of_is_the_schedulers_to_know(world: World, org: Org) -> None:
    failing = Dispatcher(world.app)  # a role that may not dispatch
    hand = SecondHand(failing)
    hand.start()
    with pytest.raises(DBAPIError, match="permission denied"):
        wait_until(lambda: not hand.is_busy(), 10)
    assert not hand.is_busy()
    hand.end()
    hand.start()
    assert not hand.is_busy()
    assert dispatched(world, org) == 0


def test_an_org_with_enough_unfinished_work_waits_and_goes_on_once_it_is_done(world: World) -> None:
    flood, other = world.org("flood"), world.org("other")
    bulk(flood, rules=10, jobs=900)
    scheduler = Dispatcher(world.scheduler, org_cap=3)
    done = scheduler.dispatch(100)
    while done.more:
        done = scheduler.dispatch(100)
    assert done.held_back
    assert world.one(UNFINISHED, org=flood.id) == 3
    waiting = dispatched(world, flood)
    other.job(other.rule())
    assert wait_until(lambda: scheduler.dispatch(100).jobs == 1, 10)
    assert (dispatched(world, flood), dispatched(world, other)) == (waiting, 1)

    def all_dispatched() -> bool:
        world.run_all()
        scheduler.dispatch(100)
        assert world.one(UNFINISHED, org=flood.id) <= 3
        return dispatched(world, flood) == 900

    assert wait_until(all_dispatched, 60)
    world.run_all()
    assert wait_until(lambda: not scheduler.dispatch(100).held_back, 10)
    other.job(other.rule())  # the crowd is over: what is due now is taken as it comes, by one hand
    done = scheduler.dispatch(100)
    assert (done.jobs, done.more, done.held_back) == (1, False, False)


def test_only_what_due_jobs_made_keeps_an_orgs_due_jobs_waiting(world: World) -> None:
    org = world.org()
    rule = org.rule()
    for _ in range(120):  # by hand a hundred times the cap, and more
        world.enqueue({org.id: [rule]})
    scheduler = Dispatcher(world.scheduler, org_cap=1)
    org.job(rule)
    assert scheduler.dispatch(100).jobs == 1
    org.job(rule)
    assert not wait_until(lambda: bool(scheduler.dispatch(100).jobs), 0.5)
    [task] = world.rows("SELECT org_id, task_id FROM cmis.tasks WHERE dispatched")
    world.run(*task)
    assert wait_until(lambda: scheduler.dispatch(100).jobs == 1, 10)


def test_what_one_org_has_unfinished_counts_for_no_more_than_its_cap(world: World) -> None:
    flood, other = world.org("flood"), world.org("other")
    bulk(flood, rules=120, jobs=120)  # a hundred times the cap that others have later, and more
    assert Dispatcher(world.scheduler, chunk_size=1, org_cap=1_000).dispatch(500).tasks == 120
    other.job(other.rule())
    scheduler = Dispatcher(world.scheduler, org_cap=1)
    assert wait_until(lambda: scheduler.dispatch(100).jobs == 1, 10)
    assert dispatched(world, other) == 1


def test_nobodys_jobs_are_taken_while_a_hundred_orgs_have_enough(world: World) -> None:
    orgs = [world.org(f"org {number}") for number in range(100)]
    for org in orgs:
        bulk(org, rules=1, jobs=1)
    scheduler = Dispatcher(world.scheduler, chunk_size=1, org_cap=1)
    assert wait_until(lambda: scheduler.dispatch(100).held_back and all(dispatched(world, org) for org in orgs), 10)
    other = world.org("other")
    other.job(other.rule())
    assert scheduler.dispatch(100) == dispatch.Dispatched(held_back=True)
    [task, *_] = world.rows("SELECT org_id, task_id FROM cmis.tasks WHERE dispatched")
    world.run(*task)
    assert wait_until(lambda: scheduler.dispatch(100).jobs == 1, 10)


def test_work_that_starts_later_counts_not_as_unfinished(world: World) -> None:
    org = world.org()
    rule = org.rule()
    for _ in range(12):
        org.job(rule, due_for=timedelta(0), jitter_seconds=3_600)
    scheduler = Dispatcher(world.scheduler, org_cap=3)
    scheduler.dispatch()
    assert world.one(UNFINISHED, org=org.id) > 3
    org.job(rule)
    done = scheduler.dispatch()
    assert (done.jobs, done.held_back) == (1, False)


def test_in_a_crowd_no_rule_is_given_more_at_once_than_one_task_holds(world: World) -> None:
    org = world.org()
    bulk(org, rules=2, jobs=300)
    scheduler = Dispatcher(world.scheduler, org_cap=3)
    done = scheduler.dispatch(100)
    assert (done.jobs, done.tasks, done.more) == (2 * chunk.MAX_REPEATS, 1, True)


def test_a_round_learns_of_new_orgs_within_a_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(dispatch, "monotonic", lambda: now[0])
    flood, other = world.org("flood"), world.org("other")
    bulk(flood, rules=2, jobs=400)
    scheduler = Dispatcher(world.scheduler, org_cap=1_000)
    for _ in range(2):
        scheduler.dispatch(20)
    other.job(other.rule())
    scheduler.dispatch(20)
    assert dispatched(world, other) == 0  # the round goes on
    now[0] += dispatch.ROUND_SECONDS + 0.001
    for _ in range(2):
        scheduler.dispatch(20)
    assert dispatched(world, other) == 1


def test_no_more_messages_wait_in_a_queue_than_it_may_hold(
    world: World, org: Org, celery: Celery, broker: Valkey
) -> None:
    del celery
    tasks = sorted(str(world.enqueue({org.id: [org.rule()]})) for _ in range(5))
    duties = Duties(world.scheduler, Dispatcher(world.scheduler), queue_cap=2)
    taken: list[str] = []
    for expected in (2, 2, 1, 0):
        assert duties.run() <= HELD_BACK_SECONDS
        messages = _take(broker)
        assert len(messages) == expected
        taken += messages
    assert duties.run() > HELD_BACK_SECONDS
    duties.close()
    assert sorted(taken) == tasks
    assert world.one("SELECT max(delivery) FROM cmis.tasks") == 1


def _take(broker: Valkey) -> list[str]:
    """Take what waits, as workers do; returns the ids of the tasks."""
    with redis.Redis.from_url(broker.url, decode_responses=True) as client:
        keys = client.keys("rules*")
        messages = [message for key in keys for message in client.lrange(key, 0, -1)]
        if keys:
            client.delete(*keys)
    return [_id(message) for message in messages]


def _waiting(client: redis.Redis, queue: str) -> int:
    return sum(client.llen(key) for key in client.keys(f"{queue}*"))


def _id(message: str) -> str:
    return message.split('"id": "')[1].split('"', maxsplit=1)[0]


def test_a_full_queue_keeps_no_other_queue_waiting(world: World, org: Org, celery: Celery, broker: Valkey) -> None:
    del celery
    for _ in range(3):
        world.enqueue({org.id: [org.rule()]})
    duties = Duties(world.scheduler, Dispatcher(world.scheduler), queue_cap=1)
    duties.run()
    with redis.Redis.from_url(broker.url) as client:
        assert (_waiting(client, "rules"), _waiting(client, "maintenance")) == (1, 1)
        assert duties.run() == HELD_BACK_SECONDS
        assert _waiting(client, "rules") == 1
    duties.close()
