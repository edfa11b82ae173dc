"""What makes a scheduler look before its next poll: a word from whoever adds or runs a job, or the next due time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from core.clock import monotonic
from engine import define_jobs, run_now
from engine.dispatch import Dispatcher
from engine.store import dispatch as store
from scheduler import duties
from scheduler.beat import PostgresScheduler
from scheduler.duties import Duties
from scheduler.publishing import QUEUES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from tests.world import Org, World

MINUTE = 60.0


@pytest.fixture
def sleeper(world: World, celery: Celery, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresScheduler]:
    """Give the test a scheduler that listens and, but for a word, would wait a minute."""
    for name, value in world.site.full_env().items():
        monkeypatch.setenv(name, value)
    made = PostgresScheduler(celery)
    made._signals_taken = True  # those of the test's process are not its to take
    made.tick()
    monkeypatch.setattr(Duties, "run", lambda _: MINUTE)
    yield made
    made.close()


def seconds_of_a_tick(scheduler: PostgresScheduler) -> float:
    begun = monotonic()
    scheduler.tick()
    return monotonic() - begun


def test_adding_a_job_wakes_the_schedulers(world: World, org: Org, sleeper: PostgresScheduler) -> None:
    rule = org.rule()
    document = {"rule": str(rule), "schedule_type": "once", "start_date": world.now().isoformat()}
    define_jobs.create_job(world.app, org.context, document)
    assert seconds_of_a_tick(sleeper) < MINUTE / 2


def test_running_a_job_by_hand_wakes_the_schedulers(world: World, org: Org, sleeper: PostgresScheduler) -> None:
    job = org.hourly(org.rule(), hours_due=0)
    [row] = world.rows("SELECT * FROM cmis.scheduled_jobs WHERE job_id = :job", job=job)
    run_now.run_job(world.app, org.context, row)
    assert seconds_of_a_tick(sleeper) < MINUTE / 2


def _until_due(world: World) -> float | None:
    with world.scheduler.transaction(None) as connection:
        return store.seconds_until_due(connection, QUEUES)


def test_a_scheduler_knows_when_the_next_thing_falls_due(world: World, org: Org) -> None:
    assert _until_due(world) is None
    org.job(org.rule(), due_for=timedelta(minutes=-30))
    until_job = _until_due(world)
    assert until_job is not None
    assert 1_700 < until_job <= 1_800
    world.enqueue({org.id: [org.rule()]})
    world.meddle("UPDATE cmis.tasks SET publish_at = publish_at + interval '5 min'")
    until_task = _until_due(world)
    assert until_task is not None
    assert 290 < until_task <= 300


def test_what_is_due_already_is_nothing_to_wait_for(world: World, org: Org) -> None:
    org.job(org.rule())
    world.enqueue({org.id: [org.rule()]})
    assert _until_due(world) is None


def test_a_pass_that_finds_nothing_waits_no_longer_than_until_the_next_due_time(
    world: World, org: Org, celery: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    del celery
    monkeypatch.setattr(duties, "IDLE_SECONDS", MINUTE)
    org.job(org.rule(), due_for=timedelta(seconds=-20))
    one = Duties(world.scheduler, Dispatcher(world.scheduler))
    one.upkeep.postpone(MINUTE)  # its task would be due at once
    assert 10 < one.run() <= 20
    one.close()
