"""Hourly upkeep: one task an hour, whoever enqueues it, whose failures are counted like any other's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine import notifications, rescue, upkeep
from engine.store import maintenance
from tests.integration.engine.guarding import bind, raw
from tests.world import NOTIFY

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
    done_now = rescue.maintain(world.app, task_id, worker="worker")
    deleted = {"purged": 1, "forgotten": 0, "notifications": 0, "events": 0, "runs": 0, "planned": 0}
    assert done_now == {"partitions": 0, **deleted, "dropped": [], "held": []}
    assert rescue.maintain(world.app, task_id, worker="worker") is None
    assert world.rows("SELECT FROM cmis.tasks WHERE task_id = :id", id=done) == []


def test_dead_letters_are_kept_for_a_month_unless_somebody_has_dealt_with_them(world: World, org: Org) -> None:
    unseen, handled = (world.enqueue({org.id: [org.rule()]}) for _ in range(2))
    now, who = world.now(), org.context.user_id
    world.meddle("UPDATE cmis.tasks SET state = 'failed', finished_at = %(now)s", now=now)
    dealt_with = "handled_at = %(now)s, handled_as = 'discarded', handled_by = %(who)s"
    world.meddle(f"UPDATE cmis.tasks SET {dealt_with} WHERE task_id = %(id)s", now=now, who=who, id=handled)
    for days, left in ((6, {unseen, handled}), (2, {unseen}), (21, {unseen}), (2, set())):
        world.advance(days=days)
        with world.app.transaction(org.context) as connection:
            maintenance.purge_tasks(connection, 10)
        assert {row.task_id for row in world.rows("SELECT task_id FROM cmis.tasks")} == left


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


def test_notifications_are_kept_for_a_quarter_once_read_and_for_a_year_unread(world: World, org: Org) -> None:
    other = world.org("other")
    for one in (org, other):
        one.campaign()
        one.evaluate(one.rule(actions=NOTIFY))
    [read] = [
        row.notification_id for row in world.rows("SELECT * FROM cmis.notifications WHERE org_id = :id", id=org.id)
    ]
    assert notifications.mark_read(world.app, org.context, [read], each=True) == 1
    left = "SELECT org_id FROM cmis.notifications"
    for days, kept in ((89, {org.id, other.id}), (2, {other.id}), (273, {other.id}), (2, set())):
        world.advance(days=days)
        with world.app.transaction(org.context) as connection:
            maintenance.purge_notifications(connection, 10)
        assert {row.org_id for row in world.rows(left)} == kept


def test_as_much_is_deleted_as_there_is_batch_after_batch(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 2)
    for _ in range(5):
        world.run(org.id, world.enqueue({org.id: [org.rule()]}))
    world.advance(days=8)
    assert upkeep.keep_up(world.app, lambda: None)["purged"] == 5
    assert world.one("SELECT count(*) FROM cmis.tasks") == 0


def test_maintenance_that_fails_uses_up_attempts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert rescue.enqueue_maintenance(world.scheduler)
    task_id = world.one("SELECT task_id FROM cmis.tasks")

    def broken(*_: object) -> None:
        raise RuntimeError("no space left")

    monkeypatch.setattr(maintenance, "retire_partition", broken)
    with pytest.raises(RuntimeError):
        rescue.maintain(world.app, task_id, worker="worker")
    assert world.task(task_id).attempt == 1
    assert world.task(task_id).state == "running"  # until its lease expires


def test_what_the_database_refuses_keeps_nothing_else_from_being_done(world: World, org: Org) -> None:
    done = world.enqueue({org.id: [org.rule()]})
    world.run(org.id, done)
    world.advance(days=8)
    world.meddle("REVOKE EXECUTE ON FUNCTION cmis.purge_run_changes(integer) FROM cmis_app")
    result = upkeep.keep_up(world.app, lambda: None)
    assert (result["purged"], result["events"]) == (1, 0)
    assert list(result["failed"]) == ["forgotten"]
    assert "permission denied" in result["failed"]["forgotten"]
