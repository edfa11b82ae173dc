"""A broker loses everything that waits: each task is sent again, and all end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from uuid import UUID

import redis

from engine.dispatch import Dispatcher
from scheduler.duties import Duties, Timer
from tests.mutants.conftest import broken, whole_and_mutant
from tests.mutants.mutations import without_republishing

if TYPE_CHECKING:
    from celery import Celery

    from dev.valkey import Valkey
    from tests.world import Org, World

NOTHING_OPEN: Final = "nothing is open after a drain"
TASKS: Final = 5


def work(broker: Valkey, org: Org) -> int:
    """Be a worker: take what is in the queue and run it; returns how many messages there were."""
    with redis.Redis.from_url(broker.url) as client:
        queues = client.keys("rules*")  # one for each step of priority
        messages = [json.loads(message) for queue in queues for message in client.lrange(queue, 0, -1)]
        client.delete("rules", *queues)
    for message in messages:
        org.world.run(org.id, UUID(message["headers"]["id"]))
    return len(messages)


@whole_and_mutant
def test_what_the_broker_lost_is_sent_again(world: World, celery: Celery, broker: Valkey, mutant: bool) -> None:  # noqa: FBT001
    del celery  # this process's app is on the test's broker
    org = world.org()
    org.campaign()
    if mutant:
        without_republishing(world.site)
    for _ in range(TASKS):
        world.enqueue({org.id: [org.rule()]})
    sent: list[int] = []
    duties = Duties(world.scheduler, Dispatcher(world.scheduler))
    try:
        duties.run()
        broker.flush()
        for minutes in (0, 20):
            world.advance(minutes=minutes)
            duties.watching = Timer(0)
            duties.run()
            sent.append(work(broker, org))
    finally:
        duties.close()

    assert sent == ([0, 0] if mutant else [TASKS, 0])
    found = broken(world)
    assert (NOTHING_OPEN in found) is mutant, found
    assert world.one("SELECT count(*) FROM cmis.automation_executions") == (0 if mutant else TASKS)
