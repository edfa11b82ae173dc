"""Each applied change of a campaign is queued for each active connector of its platform: once, whoever made it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import insert

import models
from core import faults
from core.db import ENGINE_ACTOR, Context
from core.errors import InputError
from core.ids import uuid7, uuid7_time
from engine import approve, dry_run
from engine.change_campaigns import Change, change_campaign
from engine.connectors import switch_connector
from engine.define import create_rule
from engine.store import connectors
from engine.undo import undo
from models.enums import CampaignStatus, ConnectorStatus
from tests.connecting import connect, pushes, told
from tests.integration.engine.guarding import held_action
from tests.integration.engine.test_dry_run import everything
from tests.world import NOTIFY, PAUSE, SPENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.world import Org, World

RAISE: list[dict[str, Any]] = [{"type": "increase_budget", "value": 20}]


def actions(world: World) -> Sequence[Any]:
    """Read the effects that are no pushes, in their order."""
    return world.rows(
        "SELECT * FROM cmis.automation_actions WHERE type <> 'push_change' ORDER BY execution_id, position, entity_id"
    )


def executions(world: World) -> Sequence[Any]:
    return world.rows("SELECT * FROM cmis.automation_executions ORDER BY execution_id")


def delivering(world: World) -> list[tuple[Any, ...]]:
    """Read what the tasks that deliver carry, with how often they may be tried."""
    rows = world.rows(
        "SELECT org_id, task_id, queue, state, max_attempts, payload FROM cmis.tasks WHERE kind = 'deliver'"
    )
    return sorted(tuple(row) for row in rows)


def carrying(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return the tasks that are to deliver pushes."""
    return sorted(
        (row.org_id, row.task_id, "actions", "ready", 10, {"action_ids": [str(row.action_id)]}) for row in rows
    )


def test_an_effect_of_a_rule_is_one_push_with_all_that_the_connector_needs(world: World, org: Org) -> None:
    connector = connect(org, platform="google_ads")
    connect(org, "of another platform", platform="meta_ads")
    campaign = org.campaign(name="Sale", budget=33.35, platform="google_ads", external_id="4711")
    rule = org.rule(SPENT, RAISE)

    [execution] = org.evaluate(rule)

    [push], [action] = pushes(world), actions(world)
    assert push.after == {
        "connector_id": str(connector),
        "campaign": {"id": str(campaign), "external_id": "4711", "platform": "google_ads", "name": "Sale"},
        "change": {"budget": {"before": 33.35, "after": 40.02}},
        "version": 2,
    }
    assert push.idempotency_key == f"{execution.execution_id}:0:{campaign}:push:{connector}"
    assert (push.execution_id, push.rule_id, push.entity_id) == (execution.execution_id, rule, campaign)
    assert (push.status, push.channel, push.before, push.params) == (
        "queued",
        "connector",
        {},
        {"connector_id": str(connector)},
    )
    assert (push.attempts, push.finished_at, push.error) == (0, None, None)
    assert uuid7_time(push.action_id) == uuid7_time(action.action_id)
    assert org.campaign_row(campaign).version == 2
    assert delivering(world) == carrying([push])
    assert (execution.status, execution.results) == ("running", {"succeeded": 1, "queued": 1})


def test_each_connector_of_the_platform_gets_a_push_of_its_own(world: World, org: Org) -> None:
    first, second = connect(org, "first"), connect(org, "second", platform="google_ads")
    connect(org, "third", platform="meta_ads")
    org.campaign(platform="google_ads")
    org.campaign(platform="tiktok_ads")

    org.evaluate(org.rule(SPENT, RAISE))

    found = {(row.after["campaign"]["platform"], row.params["connector_id"]) for row in pushes(world)}
    assert found == {("tiktok_ads", str(first)), ("google_ads", str(first)), ("google_ads", str(second))}
    assert len(pushes(world)) == 3
    assert delivering(world) == carrying(pushes(world))


def test_effects_on_one_campaign_are_told_in_the_order_of_their_versions(world: World, org: Org) -> None:
    connect(org)
    org.campaign(budget=100, bid_amount=1)
    urgent = org.rule(SPENT, [*RAISE, {"type": "increase_bid", "value": 100}], priority="critical")
    later = org.rule(SPENT, PAUSE)
    renames = org.rule(SPENT, [{"type": "set_field", "params": {"field": "name", "value": "Late"}}], priority="low")

    org.evaluate(urgent, later, renames)

    assert [told(row) for row in pushes(world)] == [
        ({"budget": {"before": 100, "after": 120}}, 2),
        ({"bid_amount": {"before": 1, "after": 2}}, 3),
        ({"status": {"before": "active", "after": "paused"}}, 4),
        ({"name": {"before": "campaign", "after": "Late"}}, 5),
    ]
    assert [row.after["campaign"]["name"] for row in pushes(world)] == ["campaign"] * 3 + ["Late"]
    assert [row.position for row in pushes(world)] == [0, 1, 0, 0]


def test_nothing_is_pushed_that_changes_no_campaign(world: World, org: Org) -> None:
    connect(org)
    held_action(org)
    org.campaign()
    [execution] = org.evaluate(org.rule(SPENT, NOTIFY))
    assert (pushes(world), delivering(world), execution.status) == ([], [], "success")


@pytest.mark.parametrize("status", [None, ConnectorStatus.PAUSED, ConnectorStatus.ARCHIVED])
def test_an_org_without_active_connectors_pushes_nothing(
    world: World, org: Org, status: ConnectorStatus | None
) -> None:
    connect(world.org("another"))
    if status is not None:
        switch_connector(world.app, org.context, connect(org), status)
    campaign = org.campaign(budget=100)
    [execution] = org.evaluate(org.rule(SPENT, RAISE))
    undo(world.app, org.context, [row.action_id for row in actions(world)])
    change_campaign(world.app, org.context, campaign, Change(budget="50"))
    assert (pushes(world), delivering(world), execution.status) == ([], [], "success")


def test_orgs_in_one_task_push_to_their_own_connectors(world: World) -> None:
    north, south = world.org("north"), world.org("south")
    rules, wanted = {}, set()
    for org in (north, south):
        wanted.add((org.id, org.campaign(), str(connect(org))))
        rules[org.id] = [org.rule(SPENT, RAISE)]
    task_id = world.enqueue(rules)
    world.run(world.task(task_id).org_id, task_id)
    assert {(row.org_id, row.entity_id, row.params["connector_id"]) for row in pushes(world)} == wanted
    assert len(pushes(world)) == 2
    assert delivering(world) == carrying(pushes(world))
    with world.app.transaction(north.context) as connection:
        [(connector, _)] = connectors.active(connection, north.id)
        assert connectors.active(connection, south.id) == []
        foreign = [row.action_id for row in pushes(world) if row.org_id == south.id]
        assert connectors.of_actions(connection, south.id, foreign) == {}
        own = [row for row in pushes(world) if row.org_id == north.id]
        joined = connectors.of_actions(connection, north.id, [own[0].action_id])[own[0].action_id]
        assert (str(joined.connector_id), joined.signing_secret) == (connector, "secret://signing")


def test_a_run_that_is_rolled_back_pushes_nothing_and_its_repetition_once(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(org)
    org.campaign()
    rule = org.rule(SPENT, RAISE)

    def die(name: str) -> None:
        if name == "rules.before_commit":
            raise KeyboardInterrupt

    task_id = world.enqueue({org.id: [rule]})
    with monkeypatch.context() as patched:
        patched.setattr(faults, "crash", die)
        with pytest.raises(KeyboardInterrupt):
            world.run(org.id, task_id)
    assert (pushes(world), delivering(world), actions(world)) == ([], [], [])
    world.run(org.id, task_id)
    assert len(pushes(world)) == 1
    assert delivering(world) == carrying(pushes(world))


def test_the_effects_of_a_job_are_pushed_and_its_run_is_over_at_once(world: World, org: Org) -> None:
    connect(org)
    org.campaign()
    org.job(org.rule(SPENT, RAISE))
    world.dispatch()
    [task_id] = [row.task_id for row in world.rows("SELECT task_id FROM cmis.tasks WHERE state = 'ready'")]
    [owner] = world.rows("SELECT org_id FROM cmis.tasks WHERE task_id = :id", id=task_id)
    world.run(owner.org_id, task_id)
    assert len(pushes(world)) == 1
    assert world.rows("SELECT outcome FROM cmis.occurrences") == [("success",)]
    assert [row.status for row in executions(world)] == ["running"]


def test_what_follows_after_a_delay_is_pushed_when_it_is_applied(world: World, org: Org) -> None:
    connector = connect(org)
    campaign = org.campaign(budget=100)
    org.evaluate(org.rule(SPENT, [*RAISE, *PAUSE], delay_between_actions_seconds=3600))
    assert [told(row) for row in pushes(world)] == [({"budget": {"before": 100, "after": 120}}, 2)]
    change_campaign(world.app, org.context, campaign, Change(bid_amount="3"))
    world.advance(hours=1)

    [follower] = world.rows("SELECT task_id FROM cmis.tasks WHERE kind = 'apply_actions' AND state = 'ready'")
    world.run(org.id, follower.task_id)

    [raised, _, paused] = pushes(world)
    assert told(paused) == ({"status": {"before": "active", "after": "paused"}}, 4)
    [execution] = executions(world)
    assert paused.idempotency_key == f"{execution.execution_id}:1:{campaign}:push:{connector}"
    assert (paused.execution_id, paused.position, execution.status) == (execution.execution_id, 1, "running")
    assert uuid7_time(paused.action_id) == uuid7_time(raised.action_id) < paused.created_at - timedelta(minutes=59)
    assert delivering(world) == carrying(pushes(world))


def test_a_failed_push_stops_no_action_that_follows(world: World, org: Org) -> None:
    connect(org)
    campaign = org.campaign(budget=100)
    org.evaluate(org.rule(SPENT, [*RAISE, *PAUSE], delay_between_actions_seconds=3600, stop_on_error=True))
    world.meddle(
        """
        WITH failed AS (UPDATE cmis.automation_actions SET status = 'failed', finished_at = created_at
                         WHERE type = 'push_change' RETURNING *)
        INSERT INTO cmis.automation_audit_log (org_id, created_at, audit_id, action, entity_type, entity_id, action_id)
        SELECT org_id, created_at, action_id, 'action_failed', entity_type, entity_id, action_id FROM failed"""
    )
    world.advance(hours=1)
    [follower] = world.rows("SELECT task_id FROM cmis.tasks WHERE kind = 'apply_actions' AND state = 'ready'")
    world.run(org.id, follower.task_id)
    assert org.campaign_row(campaign).status == "paused"


def test_an_approved_effect_is_pushed_before_its_execution_ends(world: World, org: Org) -> None:
    connector = connect(org)
    campaign, action = held_action(org)
    assert pushes(world) == []

    decided = approve.approve(world.app, org.context, action)

    [push], [effect] = pushes(world), actions(world)
    assert told(push) == ({"budget": {"before": 12, "after": 6}}, 2)
    assert push.idempotency_key == f"{effect.idempotency_key}:push:{connector}"
    assert (push.execution_id, push.rule_id, push.entity_id) == (effect.execution_id, effect.rule_id, campaign)
    assert uuid7_time(push.action_id) == uuid7_time(action)
    assert delivering(world) == carrying([push])
    [execution] = executions(world)
    assert (decided.execution_status, execution.status) == ("running", "running")
    assert approve.approve(world.app, org.context, action).already
    assert len(pushes(world)) == 1


def test_a_rejected_effect_is_not_pushed(world: World, org: Org) -> None:
    connect(org)
    _, action = held_action(org)
    approve.reject(world.app, org.context, action)
    assert pushes(world) == []


def test_an_undone_effect_is_pushed_as_a_change_of_its_own_that_no_execution_waits_for(world: World, org: Org) -> None:
    connector = connect(org)
    campaign = org.campaign(budget=100)
    org.evaluate(org.rule(SPENT, RAISE))
    [action] = actions(world)

    [outcome] = undo(world.app, org.context, [action.action_id], dry_run=True)
    assert (outcome.outcome, len(pushes(world))) == ("undone", 1)
    [outcome] = undo(world.app, org.context, [action.action_id])
    [again] = undo(world.app, org.context, [action.action_id])

    assert (outcome.outcome, again.outcome) == ("undone", "already")
    [_, push] = pushes(world)
    assert told(push) == ({"budget": {"before": 120, "after": 100}}, 3)
    assert push.idempotency_key == f"{action.idempotency_key}:undo:{connector}"
    assert (push.execution_id, push.rule_id, push.entity_id) == (None, None, campaign)
    assert delivering(world) == carrying(pushes(world))


def test_a_push_itself_cannot_be_undone_nor_approved(world: World, org: Org) -> None:
    connect(org)
    campaign = org.campaign(budget=100)
    change_campaign(world.app, org.context, campaign, Change(budget="50"))
    [push] = pushes(world)
    with pytest.raises(InputError, match="is queued, not held"):
        approve.approve(world.app, org.context, push.action_id)
    [queued] = undo(world.app, org.context, [push.action_id])
    assert (queued.outcome, queued.reason) == ("refused", "it is queued: there is nothing to undo")
    world.meddle("UPDATE cmis.automation_actions SET status = 'succeeded', finished_at = created_at")
    [delivered] = undo(world.app, org.context, [push.action_id])
    assert (delivered.outcome, delivered.reason) == (
        "refused",
        "it tells a connector of a change: undo that one, and the connector is told",
    )
    world.meddle("UPDATE cmis.automation_actions SET status = 'queued', finished_at = NULL")
    assert org.campaign_row(campaign).budget == 50


def test_a_persons_change_is_one_push_of_what_is_different(world: World, org: Org) -> None:
    connector = connect(org)
    campaign = org.campaign(name="Sale", budget=100, bid_amount=1.5)

    change_campaign(
        world.app, org.context, "Sale", Change(budget="120.50", bid_amount="1.50", status=CampaignStatus.PAUSED)
    )
    change_campaign(world.app, org.context, "Sale", Change(budget="120.50"))

    [push] = pushes(world)
    assert told(push) == (
        {"budget": {"before": 100, "after": 120.5}, "status": {"before": "active", "after": "paused"}},
        2,
    )
    assert (push.execution_id, push.rule_id, push.entity_id, push.status) == (None, None, campaign, "queued")
    assert push.idempotency_key.endswith(f":push:{connector}")
    assert delivering(world) == carrying([push])
    change_campaign(world.app, org.context, "Sale", Change(status=CampaignStatus.ARCHIVED))
    assert told(pushes(world)[-1]) == ({"status": {"before": "paused", "after": "archived"}}, 3)


def test_a_change_that_is_refused_is_not_pushed(world: World, org: Org) -> None:
    connect(org)
    org.campaign(name="Sale")
    with pytest.raises(InputError):
        change_campaign(world.app, org.context, "Sale", Change(budget="-1"))
    assert (pushes(world), delivering(world)) == ([], [])


def test_a_dry_run_leaves_no_push(world: World, org: Org) -> None:
    connect(org)
    org.campaign()
    rule = org.rule(SPENT, RAISE)
    before = everything(world)
    tried = dry_run.try_rule(world.app, org.context, rule)
    assert {row.type for row in tried.actions} == {"adjust_budget", "push_change"}
    assert everything(world) == before


def test_no_rule_may_write_a_push(world: World, org: Org) -> None:
    document = {"name": "r", "conditions": SPENT, "actions": [{"type": "push_change", "params": {}}]}
    with pytest.raises(InputError, match="unknown action 'push_change'"):
        create_rule(world.app, org.context, document)


def statements(monkeypatch: pytest.MonkeyPatch, org: Org, rule: UUID) -> int:
    """Evaluate a rule as a worker does; returns how many statements the server was sent."""
    task_id = org.world.enqueue({org.id: [rule]})
    execute, sent = psycopg.Cursor.execute, []

    def counting(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        sent.append(query)
        return execute(self, query, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Cursor, "execute", counting)
        org.world.run(org.id, task_id)
    return len(sent)


def test_pushes_are_written_with_the_effects_however_many_they_are(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    few, many, alone = world.org("few"), org, world.org("without")
    for one in (few, many):
        for name in ("first", "second"):
            connect(one, name)
    for one, count in ((few, 1), (many, 200), (alone, 200)):
        now = world.now()
        row = {"org_id": one.id, "status": "active", "budget": 100, "created_at": now, "updated_at": now}
        rows = [row | {"campaign_id": uuid7(now), "name": f"campaign {n}"} for n in range(count)]
        with world.app.transaction(Context(one.id, ENGINE_ACTOR)) as connection:
            connection.execute(insert(models.Campaign), rows)
    budgets = [{"field": "budget", "operator": ">", "value": 0}]
    rules = [one.rule(budgets, RAISE) for one in (few, many, alone)]
    # once before, so that nobody's definition is read for the first time
    for one, rule in zip((few, many, alone), rules, strict=True):
        one.evaluate(rule)
    counts = [statements(monkeypatch, one, rule) for one, rule in zip((few, many, alone), rules, strict=True)]
    assert len(pushes(world)) == 2 * 2 * (1 + 200)
    assert len(delivering(world)) == 2 * 2 * (1 + 200)
    assert counts[0] == counts[1] == counts[2] + 1  # the tasks' one
    assert [row.after["version"] for row in pushes(world)] == [2, 2, 3, 3] * 201
