"""Hourly upkeep: one task an hour, whoever enqueues it, whose failures are counted like any other's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine import rescue
from engine.store import maintenance
from tests.integration.engine.guarding import bind, raw

if TYPE_CHECKING:
    from tests.world import Org, World


def test_maintenance_is_enqueued_once_an_hour_and_purges_what_is_long_final(world: World, org: Org) -> None:
    done = world.enqueue({org.id: [org.rule()]})
    world.run(org.id, done)
    assert rescue.enqueue_maintenance(world.scheduler)
    assert not rescue.enqueue_maintenance(world.scheduler)
    world.advance(days=8)
    assert rescue.enqueue_maintenance(world.scheduler)
    [task_id] = [
        row[0]
        for row in world.rows("SELECT task_id FROM cmis.tasks WHERE kind = 'maintain' ORDER BY task_id DESC LIMIT 1")
    ]
    assert rescue.maintain(world.app, task_id, worker="worker") == {
        "partitions": 0,
        "purged": 1,
        "forgotten": 0,
        "events": 0,
    }
    assert rescue.maintain(world.app, task_id, worker="worker") is None
    assert world.rows("SELECT FROM cmis.tasks WHERE task_id = :id", id=done) == []


def test_what_runs_changed_is_forgotten_after_sixty_days(world: World, org: Org) -> None:
    org.campaign()
    bind(org, max_entities_per_run=1)
    for days in (0, 59):
        world.advance(days=days)
        assert raw(org, "UPDATE cmis.campaigns SET name = name || '.'") is None
    world.advance(days=2)
    with world.app.transaction(org.context) as connection:
        assert maintenance.forget_runs(connection, 10) == 1
    assert world.one("SELECT count(*) FROM cmis.run_changes") == 1


def test_maintenance_that_fails_uses_up_attempts_from_its_second_message_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rescue.enqueue_maintenance(world.scheduler)
    task_id = world.one("SELECT task_id FROM cmis.tasks")

    def broken(_: object) -> int:
        raise RuntimeError("no space left")

    monkeypatch.setattr(maintenance, "maintain_partitions", broken)
    for delivery, attempt in ((1, 0), (2, 1)):
        world.meddle("UPDATE cmis.tasks SET delivery = %(n)s", n=delivery)
        with pytest.raises(RuntimeError):
            rescue.maintain(world.app, task_id, worker="worker")
        assert world.task(task_id).attempt == attempt
    assert world.task(task_id).state == "running"  # until its lease expires
