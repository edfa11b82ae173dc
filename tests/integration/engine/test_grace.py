"""After an outage of the database no lease is taken from its owner for as long as one lasts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core import clock
from core.db import ENGINE_ACTOR, Context
from engine import rescue
from engine.dispatch import Dispatcher
from engine.store import tasks
from scheduler.duties import Duties, Timer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from celery import Celery

    from tests.world import Org, World

EXPIRE = "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE state = 'running'"
NOBODY_LOOKED = "UPDATE cmis.lease_watch SET looked_at = looked_at - interval '11 s'"
A_LEASE_LATER = "UPDATE cmis.lease_watch SET resumes_at = resumes_at - interval '30 s'"


@pytest.fixture
def lost(world: World, org: Org) -> UUID:
    """Give the test a task whose lease has expired."""
    task_id = world.enqueue({org.id: [org.rule()]}, attempt=1)
    with world.app.transaction(Context(org.id, ENGINE_ACTOR)) as connection:
        assert tasks.claim(connection, org.id, task_id, worker="gone", now=clock.now(connection))
    world.meddle(EXPIRE)
    return task_id


@pytest.fixture
def schedulers(world: World, celery: Celery) -> Iterator[list[Duties]]:
    """Give the test two schedulers, the second of which knows nothing of what was before it."""
    del celery
    made = [Duties(world.scheduler, Dispatcher(world.scheduler)) for _ in range(2)]
    yield made
    for one in made:
        one.close()


def look(scheduler: Duties) -> None:
    """Let a scheduler look for expired leases."""
    scheduler.reaping = Timer(0)
    scheduler._reap()


def test_without_an_outage_the_first_look_takes_an_expired_lease(
    world: World, lost: UUID, schedulers: list[Duties]
) -> None:
    look(schedulers[0])
    assert world.task(lost).state == "ready"


def test_a_scheduler_that_starts_after_an_outage_lets_a_lease_pass_and_so_do_the_others(
    world: World, lost: UUID, schedulers: list[Duties], caplog: pytest.LogCaptureFixture
) -> None:
    assert rescue.grace(world.scheduler) == 0
    world.meddle(NOBODY_LOOKED)
    for one in (*schedulers, *schedulers):
        look(one)
    assert world.task(lost).state == "running"
    assert len([one for one in caplog.records if "no lease is taken" in one.getMessage()]) == len(schedulers)
    world.meddle(A_LEASE_LATER)
    look(schedulers[1])
    assert world.task(lost).state == "ready"


def test_who_looks_while_another_one_does_waits_for_nothing(world: World) -> None:
    assert rescue.grace(world.scheduler) == 0
    with world.scheduler.transaction(None) as connection:
        connection.exec_driver_sql("SELECT cmis.watch_leases('10 s', '30 s')")
        assert rescue.grace(world.scheduler) == 0
    world.meddle(NOBODY_LOOKED)
    with world.scheduler.transaction(None) as connection:
        connection.exec_driver_sql("SELECT cmis.watch_leases('10 s', '30 s')")
        assert rescue.grace(world.scheduler) > 20
