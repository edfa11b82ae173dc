"""Rules that deliver: what their executions wait for, what ends them, and what does not wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.errors import ConflictError
from engine import approve, dry_run, rescue, undo
from engine.actions.base import Delivery
from engine.actions.registry import KINDS
from engine.deliver.beginning import begin
from engine.dispatch import Dispatcher
from engine.store import dispatch as dispatching
from models.enums import Channel
from tests.world import NOTIFY, PAUSE, SPENT

if TYPE_CHECKING:
    from uuid import UUID

    from engine.actions.base import Campaign, Params, Scope
    from tests.posting import Desk
    from tests.receiver.web import Receiver
    from tests.world import Org, World


@pytest.fixture(autouse=True)
def to(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let notifications go out by a channel to a path of the receiver; the test may change which."""
    chosen: dict[str, Any] = {"channel": Channel.WEBHOOK, "path": "hook"}

    def plan(_self: object, params: Params, campaign: Campaign, _scope: Scope) -> Delivery:
        url = f"{receiver.url}/{chosen['path']}"
        if chosen["channel"] is Channel.SLACK:
            return Delivery(Channel.SLACK, {"url": url, "text": f"{campaign.name}: {params['message']}"})
        body = {"campaign": campaign.name}
        signing = {"signing_secret": "secret://signing"}
        return Delivery(Channel.WEBHOOK, {"url": url, "headers": {}, "body": body} | signing)

    monkeypatch.setattr(type(KINDS["send_notification"]), "plan", plan)
    return chosen


def ready(world: World) -> list[UUID]:
    query = "SELECT task_id FROM cmis.tasks WHERE kind = 'deliver' AND state = 'ready' ORDER BY task_id"
    return [task_id for (task_id,) in world.rows(query)]


def execution(world: World) -> Any:
    [row] = world.rows("SELECT * FROM cmis.automation_executions")
    return row


def test_an_execution_is_open_until_its_last_delivery_has_ended(world: World, org: Org, desk: Desk) -> None:
    org.campaign(name="Spring")
    org.campaign(name="Summer")
    rule = org.rule(SPENT, [*NOTIFY, *PAUSE])
    [made] = org.evaluate(rule)
    assert (made.status, made.results) == ("running", {"queued": 2, "succeeded": 2})
    first, second = ready(world)

    desk.run(first)
    assert execution(world).status == "running"
    desk.run(second)

    assert (execution(world).status, execution(world).results) == ("success", {"succeeded": 4})
    assert {one["status"] for one in execution(world).actions_executed} == {"succeeded"}
    counted = world.one("SELECT success_count FROM cmis.automation_rules WHERE rule_id = :id", id=rule)
    assert counted == 1


def test_what_is_refused_makes_it_partial(world: World, org: Org, desk: Desk, to: dict[str, Any]) -> None:
    org.campaign()
    to["path"] = "fails/400"
    org.evaluate(org.rule(SPENT, [*NOTIFY, *PAUSE]))
    [task_id] = ready(world)
    desk.run(task_id)
    assert (execution(world).status, execution(world).results) == ("partial", {"failed": 1, "succeeded": 1})


def test_a_rule_whose_deliveries_all_fail_is_paused(world: World, org: Org, desk: Desk, to: dict[str, Any]) -> None:
    org.campaign()
    to["path"] = "fails/400"
    rule = org.rule(SPENT, NOTIFY)
    for failed in range(1, 6):
        org.evaluate(rule)
        [task_id] = ready(world)
        desk.run(task_id)
        status = world.one("SELECT status FROM cmis.automation_rules WHERE rule_id = :id", id=rule)
        assert status == ("paused" if failed == 5 else "active")
    told = world.one("SELECT body FROM cmis.notifications")
    assert "5 times in a row" in told
    assert "400" in told


def test_a_run_is_over_before_its_deliveries_and_the_next_one_may_begin(world: World, org: Org, desk: Desk) -> None:
    org.campaign()
    org.job(org.rule(SPENT, NOTIFY), overlap="skip")
    world.dispatch()
    [evaluation] = world.rows("SELECT org_id, task_id FROM cmis.tasks WHERE kind = 'evaluate_rules'")
    world.run(*evaluation)
    assert world.one("SELECT outcome FROM cmis.occurrences") == "success"
    assert execution(world).status == "running"
    for task_id in ready(world):
        desk.run(task_id)
    assert execution(world).status == "success"


def test_deliveries_that_wait_do_not_keep_an_orgs_jobs_from_running(world: World, org: Org) -> None:
    for _ in range(10):
        org.campaign()
    org.evaluate(org.rule(SPENT, NOTIFY))
    assert len(ready(world)) == 10
    with world.scheduler.transaction(None) as connection:
        assert dispatching.unfinished_tasks(connection, 100, 100) == 0
    org.job(org.rule(SPENT, PAUSE))
    assert Dispatcher(world.scheduler, org_cap=1).dispatch(10).runs == 1


def test_a_delivery_after_a_delay_is_queued_when_its_time_comes(world: World, org: Org, desk: Desk) -> None:
    org.campaign()
    rule = org.rule(SPENT, [*PAUSE, *NOTIFY, *NOTIFY], delay_between_actions_seconds=60)
    org.evaluate(rule)
    assert ready(world) == []
    for _ in range(2):
        world.advance(seconds=61)
        [following] = world.rows(
            "SELECT org_id, task_id FROM cmis.tasks WHERE kind = 'apply_actions' AND state = 'ready'"
        )
        world.run(*following)
    first, second = ready(world)  # the second action did not wait for the first one to arrive
    assert execution(world).status == "running"
    desk.run(first)
    desk.run(second)
    assert (execution(world).status, execution(world).results) == ("success", {"succeeded": 3})


def test_what_people_read_of_one_run_is_one_message(
    world: World, org: Org, desk: Desk, receiver: Receiver, to: dict[str, Any]
) -> None:
    to["channel"] = Channel.SLACK
    for name in ("Spring", "Summer", "Autumn"):
        org.campaign(name=name)
    org.evaluate(org.rule(SPENT, NOTIFY))
    [task_id] = ready(world)
    desk.run(task_id)
    [request] = receiver.requests("/hook")
    assert all(name in request.body for name in (b"Spring: look", b"Summer: look", b"Autumn: look"))
    assert execution(world).results == {"succeeded": 3}


def test_a_dry_run_sends_nothing_and_leaves_nothing(world: World, org: Org, receiver: Receiver) -> None:
    org.campaign()
    tried = dry_run.try_rule(world.app, org.context, org.rule(SPENT, NOTIFY))
    assert [(action.status, action.channel) for action in tried.actions] == [("queued", "webhook")]
    assert ready(world) == []
    assert receiver.requests("/hook") == []


def test_what_has_left_cannot_be_taken_back_nor_approved(world: World, org: Org, desk: Desk) -> None:
    org.campaign()
    org.evaluate(org.rule(SPENT, NOTIFY))
    [task_id] = ready(world)
    action_id = desk.effect(task_id).action_id
    [refused] = undo.undo(world.app, org.context, [action_id])
    assert (refused.outcome, refused.reason) == ("refused", "it is queued: there is nothing to undo")
    desk.run(task_id)
    [refused] = undo.undo(world.app, org.context, [action_id])
    assert refused.outcome == "refused"
    assert "has left by webhook" in str(refused.reason)
    with pytest.raises(ConflictError):
        approve.approve(world.app, org.context, action_id)


def use_up(world: World, task_id: UUID, state: str) -> None:
    """Let the worker of a delivery's last attempt be dead, and the scheduler notice it."""
    world.meddle(
        "UPDATE cmis.tasks SET attempt = max_attempts, lease_expires_at = lease_expires_at - interval '1 hour' "
        "WHERE task_id = %(task_id)s",
        task_id=task_id,
    )
    assert rescue.reap(world.scheduler) == 1
    assert world.task(task_id).state == state


def test_a_delivery_that_killed_all_its_workers_is_in_doubt_and_a_persons(world: World, org: Org, desk: Desk) -> None:
    org.campaign()
    org.evaluate(org.rule(SPENT, NOTIFY))
    [task_id] = ready(world)
    begin(world.app, org.id, task_id, "dying", desk.post)
    use_up(world, task_id, "dead")
    assert (desk.effect(task_id).status, desk.told(task_id)) == ("unknown", ["action_unknown"])
    assert execution(world).status == "running"
