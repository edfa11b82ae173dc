"""What people decide about deliveries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.errors import ConflictError, InputError, NotFoundError
from core.ids import uuid7
from engine import redeliver, rescue
from engine.deliver.beginning import Begun, NotClaimed, begin
from engine.deliver.breaker import FAILURES
from models.enums import ActionStatus
from tests.integration.deliver.test_service import lose

if TYPE_CHECKING:
    from uuid import UUID

    from tests.posting import Desk
    from tests.receiver.web import Receiver
    from tests.world import World


def decided(world: World, action_id: UUID) -> list[str]:
    query = "SELECT action FROM cmis.automation_audit_log WHERE action_id = :id"
    return sorted(action for (action,) in world.rows(query, id=action_id))


def status(world: World, action_id: UUID) -> tuple[str, UUID]:
    [row] = world.rows("SELECT status, task_id FROM cmis.automation_actions WHERE action_id = :id", id=action_id)
    return row.status, row.task_id


def test_what_failed_is_sent_again_under_the_same_key(world: World, desk: Desk, receiver: Receiver) -> None:
    task_id = desk.webhook(f"{receiver.url}/hook")
    receiver.script("/hook", "fails/400")
    desk.run(task_id)
    effect = desk.effect(task_id)

    first = redeliver.retry(world.app, desk.org.context, effect.action_id, note="mended")
    second = redeliver.retry(world.app, desk.org.context, effect.action_id)

    assert (first.status, first.already, second.already) == (ActionStatus.QUEUED, False, True)
    _, again = status(world, effect.action_id)
    desk.run(again)
    assert status(world, effect.action_id)[0] == "succeeded"
    assert {request.key for request in receiver.requests("/hook")} == {effect.idempotency_key}
    assert decided(world, effect.action_id) == ["action_failed", "action_retried", "action_taken"]
    with pytest.raises(ConflictError, match="is succeeded"):
        redeliver.retry(world.app, desk.org.context, effect.action_id)


def test_a_delivery_that_waits_can_be_sent_at_once(world: World, desk: Desk, receiver: Receiver) -> None:
    for _ in range(FAILURES):
        desk.run(desk.webhook(f"{receiver.url}/fails/503"))
    task_id = desk.webhook(f"{receiver.url}/hook")
    desk.run(task_id)
    assert world.task(task_id).run_at > world.now()

    redeliver.retry(world.app, desk.org.context, desk.effect(task_id).action_id)

    assert world.task(task_id).run_at <= world.now()


def test_what_waits_can_be_given_up_and_nobody_sends_it(world: World, desk: Desk, receiver: Receiver) -> None:
    task_id = desk.webhook(f"{receiver.url}/hook")
    action_id = desk.effect(task_id).action_id

    assert redeliver.discard(world.app, desk.org.context, action_id, note="not wanted").status == "discarded"
    assert redeliver.discard(world.app, desk.org.context, action_id).already

    assert isinstance(desk.run(task_id), NotClaimed)
    assert (world.task(task_id).state, receiver.requests("/hook")) == ("succeeded", [])
    assert decided(world, action_id) == ["action_discarded"]


def test_a_person_settles_what_nobody_knows(world: World, desk: Desk, receiver: Receiver) -> None:
    task_id = desk.slack(f"{receiver.url}/hook", "look")
    assert isinstance(begin(world.app, desk.org.id, task_id, "worker", desk.post), Begun)
    action_id = desk.effect(task_id).action_id
    with pytest.raises(ConflictError, match="is running"):
        redeliver.confirm(world.app, desk.org.context, action_id)
    lose(world, task_id)
    desk.run(task_id)

    assert redeliver.confirm(world.app, desk.org.context, action_id, note="seen there").status == "succeeded"

    assert decided(world, action_id) == ["action_resolved", "action_taken", "action_unknown"]
    assert rescue.reap(world.scheduler) == 0
    assert receiver.requests("/hook") == []


def test_what_is_no_delivery_is_refused(world: World, desk: Desk) -> None:
    campaign_id = desk.org.campaign()
    desk.org.evaluate(desk.org.rule(entity_id=campaign_id))
    action_id = world.one("SELECT action_id FROM cmis.automation_actions WHERE channel IS NULL")

    with pytest.raises(ConflictError, match="is no delivery"):
        redeliver.retry(world.app, desk.org.context, action_id)
    with pytest.raises(NotFoundError):
        redeliver.discard(world.app, desk.org.context, uuid7(world.now()))
    with pytest.raises(InputError, match="--note"):
        redeliver.discard(world.app, desk.org.context, action_id, note=" ")


def test_another_orgs_delivery_is_not_found(world: World, desk: Desk, receiver: Receiver) -> None:
    action_id = desk.effect(desk.webhook(f"{receiver.url}/hook")).action_id

    with pytest.raises(NotFoundError):
        redeliver.discard(world.app, world.org("other").context, action_id)


def test_what_went_out_as_one_message_goes_out_as_one_again(world: World, desk: Desk, receiver: Receiver) -> None:
    receiver.script("/hook", "fails/400")
    task_id = desk.slack(f"{receiver.url}/hook", "Spring is paused", "Summer is paused")
    desk.run(task_id)
    first, second = desk.effects(task_id)

    assert not redeliver.retry(world.app, desk.org.context, second.action_id).already
    assert redeliver.retry(world.app, desk.org.context, first.action_id).already

    _, again = status(world, first.action_id)
    assert status(world, second.action_id) == ("queued", again)
    desk.run(again)
    assert {status(world, one.action_id)[0] for one in (first, second)} == {"succeeded"}
    _, request = receiver.requests("/hook")
    assert b"Spring is paused" in request.body
    assert b"Summer is paused" in request.body


def test_who_says_that_a_message_arrived_says_so_of_all_of_it(world: World, desk: Desk, receiver: Receiver) -> None:
    task_id = desk.slack(f"{receiver.url}/hook", "Spring is paused", "Summer is paused")
    assert isinstance(begin(world.app, desk.org.id, task_id, "dying", desk.post), Begun)
    lose(world, task_id)
    desk.run(task_id)
    first, second = desk.effects(task_id)

    assert redeliver.confirm(world.app, desk.org.context, first.action_id).status is ActionStatus.SUCCEEDED

    assert redeliver.confirm(world.app, desk.org.context, second.action_id).already
    for one in (first, second):
        assert decided(world, one.action_id) == ["action_resolved", "action_taken", "action_unknown"]


def test_a_message_keeps_its_key_though_a_part_of_it_was_given_up(world: World, desk: Desk, receiver: Receiver) -> None:
    receiver.script("/hook", "fails/503")
    task_id = desk.slack(f"{receiver.url}/hook", "Spring is paused", "Summer is paused")
    desk.run(task_id)
    first, second = desk.effects(task_id)
    redeliver.discard(world.app, desk.org.context, first.action_id)
    desk.wait_until(task_id)

    begun = begin(world.app, desk.org.id, task_id, "worker", desk.post)

    assert isinstance(begun, Begun)
    assert (begun.key, [row.action_id for row in begun.rows]) == (first.idempotency_key, [second.action_id])


def test_what_was_given_up_and_sent_again_is_its_new_tasks_alone(world: World, desk: Desk, receiver: Receiver) -> None:
    receiver.script("/hook", "fails/503")
    task_id = desk.webhook(f"{receiver.url}/hook")
    desk.run(task_id)
    action_id = desk.effect(task_id).action_id
    redeliver.discard(world.app, desk.org.context, action_id)
    redeliver.retry(world.app, desk.org.context, action_id)
    desk.wait_until(task_id)

    assert isinstance(desk.run(task_id), NotClaimed)

    assert (world.task(task_id).state, len(receiver.requests("/hook"))) == ("succeeded", 1)
    _, again = status(world, action_id)
    desk.run(again)
    assert status(world, action_id) == ("succeeded", again)
