"""Changes of campaigns on their way to a connector on a real socket: what it gets, in which order, and when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from standardwebhooks import Webhook

from engine import approve
from engine.change_campaigns import Change, change_campaign
from engine.connectors import switch_connector, update_connector
from engine.deliver.admission import Waits
from engine.deliver.beginning import Begun, Done, begin
from engine.deliver.outcome import Again, Discarded, Failed, Succeeded
from engine.store import connectors
from models.enums import ConnectorStatus
from tests.connecting import connect, pushes
from tests.integration.engine.guarding import held_action
from tests.posting import SIGNING
from tests.world import SPENT

if TYPE_CHECKING:
    from uuid import UUID

    from engine.deliver import service
    from tests.posting import Desk
    from tests.receiver.web import Receiver
    from tests.world import Org, World

RAISE = [{"type": "increase_budget", "value": 20}]


@pytest.fixture
def bridge(desk: Desk, receiver: Receiver) -> UUID:
    """Give the test a connector that the receiver is."""
    return connect(desk.org, url=f"{receiver.url}/changes")


def outcome_of(result: service.Result) -> object:
    assert isinstance(result, Done), result
    return result.outcome


def versions(receiver: Receiver) -> list[int]:
    """Return the versions that the connector was told, in the order of its requests."""
    return [json.loads(request.body)["data"]["version"] for request in receiver.requests("/changes")]


def budgets(org: Org, campaign: UUID, *amounts: int) -> list[UUID]:
    """Give a campaign one budget after the other by hand; returns the tasks of their pushes."""
    for amount in amounts:
        change_campaign(org.world.app, org.context, campaign, Change(budget=str(amount)))
    return [row.task_id for row in pushes(org.world) if row.entity_id == campaign]


def test_a_rules_change_arrives_signed_under_its_key_and_its_execution_ends_then(
    world: World, desk: Desk, receiver: Receiver, bridge: UUID
) -> None:
    campaign = desk.org.campaign(name="Sale", budget=100, platform="google_ads", external_id="4711")
    [execution] = desk.org.evaluate(desk.org.rule(SPENT, RAISE))
    [push] = pushes(world)
    assert execution.status == "running"

    assert outcome_of(desk.run(push.task_id)) == Succeeded()

    [request] = receiver.requests("/changes")
    assert request.headers["webhook-id"] == request.headers["idempotency-key"] == push.idempotency_key
    assert Webhook(SIGNING).verify(request.body, dict(request.headers)) == {
        "type": "campaign.changed",
        "data": {
            "connector_id": str(bridge),
            "campaign": {"id": str(campaign), "external_id": "4711", "platform": "google_ads", "name": "Sale"},
            "change": {"budget": {"before": 100, "after": 120}},
            "version": 2,
        },
    }
    [ended] = world.rows("SELECT status, results FROM cmis.automation_executions")
    assert (ended.status, ended.results) == ("success", {"succeeded": 2})
    [rule] = world.rows("SELECT success_count, failures_in_a_row FROM cmis.automation_rules WHERE status = 'active'")
    assert (rule.success_count, rule.failures_in_a_row) == (1, 0)
    assert desk.told(push.task_id) == ["action_taken"]


def test_a_change_that_the_connector_refuses_leaves_its_execution_partial(
    world: World, desk: Desk, receiver: Receiver, bridge: UUID
) -> None:
    receiver.script("/changes", "fails/400")
    desk.org.campaign()
    desk.org.evaluate(desk.org.rule(SPENT, RAISE))
    [push] = pushes(world)
    assert isinstance(outcome_of(desk.run(push.task_id)), Failed)
    assert world.one("SELECT status FROM cmis.automation_executions") == "partial"
    del bridge


def test_changes_of_one_campaign_arrive_in_their_order_and_those_of_another_do_not_wait(
    world: World, desk: Desk, receiver: Receiver, bridge: UUID
) -> None:
    receiver.script("/changes", "fails/503")
    campaign, other = desk.org.campaign(budget=100), desk.org.campaign(budget=100)
    first, second, third = budgets(desk.org, campaign, 110, 120, 130)
    [elsewhere] = budgets(desk.org, other, 90)

    assert isinstance(desk.run(second), Waits)
    assert isinstance(outcome_of(desk.run(first)), Again)
    waits = desk.run(third)
    assert outcome_of(desk.run(elsewhere)) == Succeeded()
    assert isinstance(waits, Waits)
    assert desk.effect(third).waits_for == waits.reason == "an earlier change of this campaign is not delivered yet"
    assert (world.task(third).attempt, world.task(third).state) == (0, "ready")
    desk.wait_until(first)
    assert outcome_of(desk.run(first)) == Succeeded()
    desk.wait_until(third)
    assert isinstance(desk.run(third), Waits)
    for task_id in (second, third):
        desk.wait_until(task_id)
        assert outcome_of(desk.run(task_id)) == Succeeded()

    assert versions(receiver) == [2, 2, 2, 3, 4]
    del bridge


def test_an_approved_change_comes_after_later_made_ones_that_came_first(
    world: World, desk: Desk, receiver: Receiver, bridge: UUID
) -> None:
    campaign, action = held_action(desk.org, budget=12)
    world.advance(days=20)
    change_campaign(world.app, desk.org.context, campaign, Change(bid_amount="2"))
    approve.approve(world.app, desk.org.context, action)
    by_hand, approved = pushes(world)
    assert approved.action_id < by_hand.action_id
    with world.app.transaction(desk.org.context) as connection:
        waiting = connectors.earlier_open(connection, desk.org.id, [approved, by_hand], now=world.now())
    assert waiting == {approved.action_id: by_hand.action_id}

    assert isinstance(desk.run(approved.task_id), Waits)
    assert outcome_of(desk.run(by_hand.task_id)) == Succeeded()
    desk.wait_until(approved.task_id)
    assert outcome_of(desk.run(approved.task_id)) == Succeeded()

    assert versions(receiver) == [2, 3]
    assert world.one("SELECT status FROM cmis.automation_executions") == "success"
    del bridge


def test_changes_to_two_connectors_do_not_wait_for_each_other(desk: Desk, receiver: Receiver, bridge: UUID) -> None:
    second = connect(desk.org, "second", url=f"{receiver.url}/second")
    campaign = desk.org.campaign(budget=100)
    budgets(desk.org, campaign, 110, 120)
    for task_id in [row.task_id for row in pushes(desk.org.world) if row.params["connector_id"] == str(second)]:
        assert outcome_of(desk.run(task_id)) == Succeeded()
    assert (len(receiver.requests("/second")), receiver.requests("/changes")) == (2, [])
    del bridge


def test_while_a_connector_is_paused_its_changes_wait_and_no_new_ones_are_pushed(
    world: World, desk: Desk, receiver: Receiver, bridge: UUID
) -> None:
    campaign = desk.org.campaign(budget=100)
    [task_id] = budgets(desk.org, campaign, 110)
    switch_connector(world.app, desk.org.context, bridge, ConnectorStatus.PAUSED)

    waits = desk.run(task_id)

    assert isinstance(waits, Waits)
    assert desk.effect(task_id).waits_for == waits.reason == "the connector bridge is paused"
    assert (desk.effect(task_id).attempts, world.task(task_id).attempt) == (0, 0)
    assert budgets(desk.org, campaign, 120) == [task_id]
    switch_connector(world.app, desk.org.context, bridge, ConnectorStatus.ACTIVE)
    desk.wait_until(task_id)
    assert outcome_of(desk.run(task_id)) == Succeeded()
    assert budgets(desk.org, campaign, 130)[0] == task_id
    assert [row.after["version"] for row in pushes(world)] == [2, 4]
    assert versions(receiver) == [2]


def test_what_is_queued_for_an_archived_connector_is_discarded(
    world: World, desk: Desk, receiver: Receiver, bridge: UUID
) -> None:
    desk.org.campaign(budget=100)
    desk.org.evaluate(desk.org.rule(SPENT, RAISE))
    [push] = pushes(world)
    switch_connector(world.app, desk.org.context, bridge, ConnectorStatus.ARCHIVED)

    assert outcome_of(desk.run(push.task_id)) == Discarded("the connector bridge is archived", unwanted=True)

    effect = desk.effect(push.task_id)
    assert (effect.status, effect.error["message"]) == ("discarded", "the connector bridge is archived")
    assert world.task(push.task_id).state == "cancelled"  # nothing that a person has to look after
    assert desk.told(push.task_id) == ["action_discarded"]
    assert world.one("SELECT status FROM cmis.automation_executions") == "partial"
    assert receiver.requests("/changes") == []


def test_what_is_on_its_way_goes_to_where_the_connector_points_now(
    world: World, desk: Desk, receiver: Receiver, bridge: UUID
) -> None:
    [task_id] = budgets(desk.org, desk.org.campaign(budget=100), 110)
    desk.keep("bridge_url", f"{receiver.url}/moved")
    update_connector(world.app, desk.org.context, bridge, {"url": "secret://bridge_url"})
    assert outcome_of(desk.run(task_id)) == Succeeded()
    assert (len(receiver.requests("/moved")), receiver.requests("/changes")) == (1, [])


def test_a_connector_has_a_rate_of_its_own(world: World, desk: Desk, bridge: UUID) -> None:
    update_connector(world.app, desk.org.context, bridge, {"rate_per_minute": 1, "burst": 1})
    first, second = (budgets(desk.org, desk.org.campaign(budget=100), 110)[0] for _ in range(2))
    assert outcome_of(desk.run(first)) == Succeeded()
    waits = desk.run(second)
    assert isinstance(waits, Waits)
    assert f"connector:{bridge}" in waits.reason
    assert waits.after.total_seconds() > 50


@pytest.mark.parametrize(("arrived", "requests"), [(True, ["POST", "GET"]), (False, ["GET", "POST"])])
def test_a_connector_that_verifies_is_asked_what_a_dead_worker_left(
    world: World, desk: Desk, receiver: Receiver, bridge: UUID, *, arrived: bool, requests: list[str]
) -> None:
    update_connector(world.app, desk.org.context, bridge, {"verifies": True})
    [task_id] = budgets(desk.org, desk.org.campaign(budget=100), 110)
    begun = begin(world.app, desk.org.id, task_id, "worker", desk.post)
    assert isinstance(begun, Begun)
    if arrived:
        begun.courier.deliver(begun.sent.messages, key=begun.key, now=begun.now)
    world.meddle("UPDATE cmis.tasks SET state = 'ready', lease_owner = NULL, lease_expires_at = NULL")
    world.meddle("UPDATE cmis.task_attempts SET outcome = 'lost', finished_at = started_at")

    assert outcome_of(desk.run(task_id)) == Succeeded()

    assert [request.method for request in receiver.requests("/changes")] == requests
    assert receiver.effects == {begun.key: 1}
