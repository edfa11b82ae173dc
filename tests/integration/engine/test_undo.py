"""Undo restores exactly, and refuses, with the difference, where somebody changed the value in between."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import DBAPIError

from core.db import ENGINE_ACTOR, Context, sqlstate
from core.errors import NotFoundError
from core.ids import uuid7
from engine import approve
from engine.actions.budget import AdjustBudget
from engine.undo import undo
from tests.integration.engine.guarding import bind, held_action, raw
from tests.integration.engine.test_approvals import action_row, audited, execution_row, rule_row
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.world import Org, World

STEPS = [
    {"type": "increase_budget", "value": 50},
    {"type": "adjust_budget", "params": {"amount": -30}},
    {"type": "pause"},
]


def effects(world: World) -> Sequence[UUID]:
    """Return the ids of all effects, the first one first."""
    return [
        row[0] for row in world.rows("SELECT action_id FROM cmis.automation_actions ORDER BY execution_id, position")
    ]


def test_undo_restores_exactly_and_is_on_record(world: World, org: Org) -> None:
    campaign = org.campaign(budget=33.33)
    [execution] = org.evaluate(org.rule(SPENT, STEPS[:1]))
    [action] = effects(world)
    assert org.campaign_row(campaign).budget == 50
    [outcome] = undo(world.app, org.context, [action])
    assert (outcome.outcome, outcome.reason, outcome.difference) == ("undone", None, {})
    assert str(org.campaign_row(campaign).budget) == "33.33"
    row, after = action_row(world, action), execution_row(world, action)
    assert (row.status, row.undone_by) == ("undone", org.context.user_id)
    assert (after.status, after.results, after.acted_on) == ("success", {"succeeded": 1}, execution.acted_on)
    assert rule_row(world, row.rule_id).success_count == 1
    assert audited(world, action)[-1] == (
        "action_undone",
        org.context.user_id,
        {"budget": 50},
        {"budget": 33.33},
        {"type": "adjust_budget"},
    )
    ledger = world.rows("SELECT before, after, user_id, action_id FROM cmis.budget_ledger ORDER BY seq")[-1]
    assert (float(ledger.before), float(ledger.after), ledger.action_id) == (50, 33.33, None)
    assert ledger.user_id == org.context.user_id


def test_a_second_undo_says_that_it_was_undone_already(world: World, org: Org) -> None:
    org.campaign()
    org.evaluate(org.rule())
    undo(world.app, org.context, effects(world))
    assert [one.outcome for one in undo(world.app, org.context, effects(world))] == ["already"]
    assert world.one("SELECT count(*) FROM cmis.automation_audit_log WHERE action = 'action_undone'") == 1


@pytest.mark.parametrize("order", [1, -1])
def test_effects_upon_each_other_all_come_undone_in_whatever_order_they_are_given(
    world: World, org: Org, order: int
) -> None:
    campaigns = [org.campaign(budget=100), org.campaign(budget=70)]
    before = [org.campaign_row(one) for one in campaigns]
    org.evaluate(org.rule(SPENT, STEPS))
    outcomes = undo(world.app, org.context, effects(world)[::order])
    assert [one.outcome for one in outcomes] == ["undone"] * 6
    after = [org.campaign_row(one) for one in campaigns]
    assert [(one.budget, one.status) for one in after] == [(one.budget, one.status) for one in before]


def test_what_somebody_changed_in_between_is_refused_with_the_difference_and_the_rest_is_undone(
    world: World, org: Org
) -> None:
    changed, other = org.campaign(budget=100), org.campaign(budget=100)
    org.evaluate(org.rule(SPENT, STEPS[:1]))
    assert raw(org, "UPDATE cmis.campaigns SET budget = 155 WHERE campaign_id = :one", one=changed) is None
    outcomes = {one.entity_id: one for one in undo(world.app, org.context, effects(world))}
    assert outcomes[other].outcome == "undone"
    assert outcomes[changed].outcome == "refused"
    assert outcomes[changed].reason == "its campaign has moved on since"
    assert outcomes[changed].difference == {"budget": {"expected": 150, "found": 155}}
    assert (org.campaign_row(changed).budget, org.campaign_row(other).budget) == (155, 100)
    assert action_row(world, outcomes[changed].action_id).status == "succeeded"


def test_an_earlier_effect_alone_is_refused_while_a_later_one_stands_upon_it(world: World, org: Org) -> None:
    org.campaign(budget=100)
    org.evaluate(org.rule(SPENT, STEPS[:2]))
    first, second = effects(world)
    assert [one.outcome for one in undo(world.app, org.context, [first])] == ["refused"]
    assert [one.outcome for one in undo(world.app, org.context, [second])] == ["undone"]
    assert [one.outcome for one in undo(world.app, org.context, [first])] == ["undone"]


def test_a_change_of_another_column_is_no_obstacle(world: World, org: Org) -> None:
    campaign = org.campaign()
    org.evaluate(org.rule())
    assert raw(org, "UPDATE cmis.campaigns SET name = 'renamed', budget = 90") is None
    assert [one.outcome for one in undo(world.app, org.context, effects(world))] == ["undone"]
    row = org.campaign_row(campaign)
    assert (row.status, row.name, row.budget) == ("active", "renamed", 90)


def test_a_dry_run_says_the_same_and_leaves_nothing(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    org.evaluate(org.rule(SPENT, [*STEPS, *NOTIFY]))
    before = org.campaign_row(campaign)
    counts = "SELECT (SELECT count(*) FROM cmis.permits), (SELECT count(*) FROM cmis.automation_audit_log)"
    there = world.rows(counts)
    would = undo(world.app, org.context, effects(world), dry_run=True)
    assert (org.campaign_row(campaign), world.rows(counts)) == (before, there)
    assert undo(world.app, org.context, effects(world)) == would
    assert [one.outcome for one in would] == ["undone", "undone", "undone", "refused"]
    assert would[-1].reason == "send_notification cannot be taken back"


def test_guardrails_keep_nobody_from_undoing(world: World, org: Org) -> None:
    campaign = org.campaign(budget=5)
    org.evaluate(org.rule(SPENT, [{"type": "adjust_budget", "params": {"set": 500}}]))
    bind(
        org, never_touch=[campaign], max_change_pct=1, max_daily_net_change=0, budget_floor=100, max_entities_per_run=1
    )
    assert [one.outcome for one in undo(world.app, org.context, effects(world))] == ["undone"]
    assert org.campaign_row(campaign).budget == 5


def test_an_approved_effect_can_be_undone(world: World, org: Org) -> None:
    campaign, action = held_action(org)
    assert [one.reason for one in undo(world.app, org.context, [action])] == ["it is held: there is nothing to undo"]
    approve.approve(world.app, org.context, action)
    assert [one.outcome for one in undo(world.app, org.context, [action])] == ["undone"]
    assert org.campaign_row(campaign).budget == 12
    assert approve.approve(world.app, org.context, action).already


def test_only_operators_and_more_undo(world: World, org: Org) -> None:
    org.campaign()
    org.evaluate(org.rule())
    world.meddle("UPDATE cmis.user_orgs SET role = 'viewer'")
    for context in (org.context, Context(org.id, ENGINE_ACTOR)):
        with pytest.raises(DBAPIError) as refused:
            undo(world.app, context, effects(world))
        assert sqlstate(refused.value) == "42501"
    world.meddle("UPDATE cmis.user_orgs SET role = 'operator'")
    assert [one.outcome for one in undo(world.app, org.context, effects(world))] == ["undone"]


def test_effects_that_do_not_exist_or_are_anothers_are_not_found(world: World, org: Org) -> None:
    org.campaign()
    org.evaluate(org.rule())
    for context, ids in ((org.context, [uuid7(world.now())]), (world.org("other").context, effects(world))):
        with pytest.raises(NotFoundError):
            undo(world.app, context, ids)


def test_of_many_undos_at_once_one_does_it(world: World, org: Org) -> None:
    campaign = org.campaign()
    org.evaluate(org.rule(SPENT, STEPS))
    ids = effects(world)
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(undo, world.app, org.context, ids) for _ in range(4)]
    found: list[Any] = [one.outcome for each in done for one in each.result()]
    assert found.count("undone") == 3
    assert set(found) == {"undone", "already"}
    row = org.campaign_row(campaign)
    assert (row.budget, row.status) == (100, "active")


def test_a_kind_that_fails_to_revert_is_refused_and_the_rest_is_undone(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_named: object) -> None:
        raise ValueError("out of order")

    campaign = org.campaign(budget=100)
    org.evaluate(org.rule(SPENT, [{"type": "increase_budget", "value": 10}, {"type": "pause"}]))
    monkeypatch.setattr(AdjustBudget, "revert", fail)
    outcomes = undo(world.app, org.context, effects(world))
    assert [(one.outcome, one.reason) for one in outcomes] == [
        ("refused", "adjust_budget failed: ValueError: out of order"),
        ("undone", None),
    ]
    assert (org.campaign_row(campaign).budget, org.campaign_row(campaign).status) == (110, "active")


def test_a_kind_that_cannot_say_what_is_there_instead_is_refused(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(_self: object, _connection: object, _org_id: object, done: Sequence[Any]) -> dict[UUID, Any]:
        return {effect.action_id: {} for effect in done}

    campaign = org.campaign(budget=100)
    org.evaluate(org.rule(SPENT, [{"type": "increase_budget", "value": 10}]))
    monkeypatch.setattr(AdjustBudget, "verify", find_nothing)
    [outcome] = undo(world.app, org.context, effects(world))
    assert (outcome.outcome, outcome.reason) == ("refused", "adjust_budget does not find what it did any more")
    assert org.campaign_row(campaign).budget == 110
