"""Held effects: approved exactly as they were held, or rejected; by whom, once, and with their execution's end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import DBAPIError

from core.db import CLI_ACTOR, ENGINE_ACTOR, Context, sqlstate
from core.errors import ConflictError, InputError, NotFoundError
from core.ids import uuid7
from engine import approve, why
from engine.actions.budget import AdjustBudget
from models.enums import ActionStatus, ExecutionStatus
from tests.integration.engine.guarding import DECREASE, bind, held_action, raw
from tests.world import SPENT

if TYPE_CHECKING:
    from uuid import UUID

    from tests.world import Org, World


def action_row(world: World, action: UUID) -> Any:
    [row] = world.rows("SELECT * FROM cmis.automation_actions WHERE action_id = :id", id=action)
    return row


def execution_row(world: World, action: UUID) -> Any:
    query = "SELECT * FROM cmis.automation_executions WHERE execution_id = :id"
    [row] = world.rows(query, id=action_row(world, action).execution_id)
    return row


def rule_row(world: World, rule: UUID) -> Any:
    [row] = world.rows("SELECT * FROM cmis.automation_rules WHERE rule_id = :id", id=rule)
    return row


def audited(world: World, action: UUID) -> list[tuple[Any, ...]]:
    query = (
        "SELECT action, user_id, before, after, details FROM cmis.automation_audit_log "
        "WHERE action_id = :id ORDER BY created_at, action"
    )
    return [tuple(row) for row in world.rows(query, id=action)]


def test_an_approved_effect_is_applied_below_the_floor_and_ends_its_execution(world: World, org: Org) -> None:
    campaign, action = held_action(org, cooldown_minutes=60)
    was = execution_row(world, action)
    assert (was.status, was.acted_on) == ("running", None)
    decided = approve.approve(world.app, org.context, action, note="agreed")
    assert (decided.status, decided.execution_status, decided.already) == (
        ActionStatus.SUCCEEDED,
        ExecutionStatus.SUCCESS,
        False,
    )
    assert org.campaign_row(campaign).budget == 6
    row, ended = action_row(world, action), execution_row(world, action)
    assert (row.status, row.decided_by, row.note, row.finished_at) == (
        "succeeded",
        org.context.user_id,
        "agreed",
        row.decided_at,
    )
    assert (ended.status, ended.results, ended.acted_on, ended.finished_at) == (
        "success",
        {"succeeded": 1},
        None,
        row.decided_at,
    )
    user, values = org.context.user_id, ({"budget": 12}, {"budget": 6})
    kind = {"type": "adjust_budget"}
    assert audited(world, action) == [
        ("action_approved", user, None, None, kind | {"note": "agreed"}),
        ("action_taken", user, *values, kind),
    ]
    counted = rule_row(world, row.rule_id)
    assert (counted.success_count, counted.acted_today, counted.failures_in_a_row) == (1, 0, 0)


def test_an_approval_starts_the_cooldown_and_uses_up_no_daily_limit(world: World, org: Org) -> None:
    campaign, action = held_action(org, cooldown_minutes=60, max_executions_per_day=1)
    world.advance(hours=5)
    approve.approve(world.app, org.context, action)
    rule = action_row(world, action).rule_id
    assert [one.skip_reason for one in org.evaluate(rule)] == ["cooldown"]
    world.advance(hours=1)
    raw(org, "UPDATE cmis.campaigns SET budget = 100 WHERE campaign_id = :one", one=campaign)
    assert [one.results for one in org.evaluate(rule)] == [{"succeeded": 1}]  # the day's one execution


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("budget = 50", "budget: was 12, is 50"),
        ("budget = 12.5", "budget: was 12, is 12.5"),
        ("budget = 12, name = 'x'", None),
    ],
)
def test_what_the_campaign_is_not_any_more_cannot_be_approved(
    world: World, org: Org, change: str, said: str | None
) -> None:
    campaign, action = held_action(org)
    assert raw(org, f"UPDATE cmis.campaigns SET {change}") is None
    if said is None:
        assert approve.approve(world.app, org.context, action).status == "succeeded"
        return
    with pytest.raises(ConflictError, match=said):
        approve.approve(world.app, org.context, action)
    assert action_row(world, action).status == "held"
    assert execution_row(world, action).status == "running"
    assert org.campaign_row(campaign).budget > 12 - 1
    assert audited(world, action) == []


def test_a_second_decision_says_what_it_is_already_and_another_one_is_refused(world: World, org: Org) -> None:
    _, action = held_action(org)
    assert not approve.approve(world.app, org.context, action).already
    again = approve.approve(world.app, org.context, action)
    assert (again.status, again.already) == (ActionStatus.SUCCEEDED, True)
    with pytest.raises(ConflictError, match="is succeeded, not held"):
        approve.reject(world.app, org.context, action)
    assert [said[0] for said in audited(world, action)] == ["action_approved", "action_taken"]


def test_an_effect_that_nobody_held_is_not_to_be_approved(world: World, org: Org) -> None:
    org.campaign()
    org.evaluate(org.rule())
    done = world.one("SELECT action_id FROM cmis.automation_actions")
    with pytest.raises(ConflictError, match="is succeeded, not held"):
        approve.approve(world.app, org.context, done)
    with pytest.raises(NotFoundError):
        approve.approve(world.app, org.context, uuid7(world.now()))
    with pytest.raises(NotFoundError):
        approve.approve(world.app, world.org("other").context, done)
    with pytest.raises(InputError, match="--note"):
        approve.approve(world.app, org.context, done, note=" ")


def test_a_rejected_effect_fails_its_execution_and_is_not_asked_for_again_for_28_days(world: World, org: Org) -> None:
    campaign, action = held_action(org)
    decided = approve.reject(world.app, org.context, action, note="too little")
    assert (decided.status, decided.execution_status) == (ActionStatus.REJECTED, ExecutionStatus.FAILURE)
    assert approve.reject(world.app, org.context, action).already
    row = action_row(world, action)
    assert (row.status, row.decided_by, row.note) == ("rejected", org.context.user_id, "too little")
    assert org.campaign_row(campaign).budget == 12
    assert audited(world, action) == [
        ("action_rejected", org.context.user_id, None, None, {"type": "adjust_budget", "note": "too little"})
    ]
    counted = rule_row(world, row.rule_id)
    assert (counted.failure_count, counted.failures_in_a_row) == (1, 0)  # a person's no does not trip the breaker
    assert [one.skip_reason for one in org.evaluate(row.rule_id)] == ["guardrail"]
    world.meddle("UPDATE cmis.campaign_metrics SET date = (cmis.clock() + interval '27 days')::date")
    world.advance(days=28, minutes=10)
    assert [one.results for one in org.evaluate(row.rule_id)] == [{"held": 1}]


def test_rejecting_what_the_campaign_is_not_any_more_keeps_a_rule_from_nothing(world: World, org: Org) -> None:
    campaign, action = held_action(org)
    rule = action_row(world, action).rule_id
    assert raw(org, "UPDATE cmis.campaigns SET budget = 14 WHERE campaign_id = :id", id=campaign) is None
    with pytest.raises(ConflictError):
        approve.approve(world.app, org.context, action)
    [waiting] = org.evaluate(rule)
    assert (waiting.status, waiting.skip_reason) == ("skipped", "guardrail")
    approve.reject(world.app, org.context, action)
    [anew] = org.evaluate(rule)
    assert anew.results == {"held": 1}


def test_an_execution_ends_with_the_last_of_its_effects(world: World, org: Org) -> None:
    for budget in (12, 14, 100):
        org.campaign(budget=budget)
    [execution] = org.evaluate(org.rule(SPENT, DECREASE))
    assert execution.results == {"held": 2, "succeeded": 1}
    first, second = (
        row[0] for row in world.rows("SELECT action_id FROM cmis.automation_actions WHERE status = 'held' ORDER BY 1")
    )
    assert approve.reject(world.app, org.context, first).execution_status == ExecutionStatus.RUNNING
    assert execution_row(world, first).finished_at is None
    assert approve.approve(world.app, org.context, second).execution_status == ExecutionStatus.PARTIAL
    ended = execution_row(world, first)
    assert (ended.status, ended.results) == ("partial", {"succeeded": 2, "rejected": 1})
    assert ended.acted_on is not None
    assert rule_row(world, execution.rule_id).partial_count == 1


@pytest.mark.parametrize("actor", [ENGINE_ACTOR, "viewer"])
def test_only_operators_and_more_decide(world: World, org: Org, actor: Any) -> None:
    _, action = held_action(org)
    context = Context(org.id, actor) if actor == ENGINE_ACTOR else org.context
    if actor == "viewer":
        world.meddle("UPDATE cmis.user_orgs SET role = 'viewer'")
    for verdict in (approve.approve, approve.reject):
        with pytest.raises(DBAPIError) as refused:
            verdict(world.app, context, action)
        assert sqlstate(refused.value) == "42501"
    assert action_row(world, action).status == "held"
    world.meddle("UPDATE cmis.user_orgs SET role = 'operator'")
    assert approve.approve(world.app, org.context, action).status == ActionStatus.SUCCEEDED


def test_the_command_line_decides_too(world: World, org: Org) -> None:
    _, action = held_action(org)
    approve.approve(world.app, Context(org.id, CLI_ACTOR), action)
    assert world.one("SELECT user_id FROM cmis.permits") == CLI_ACTOR


def test_of_many_approvals_at_once_one_does_it_and_the_others_are_told(world: World, org: Org) -> None:
    campaign, action = held_action(org)
    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(approve.approve, world.app, org.context, action) for _ in range(6)]
    assert sorted(one.result().already for one in done) == [False] + [True] * 5
    assert world.one("SELECT count(*) FROM cmis.budget_ledger WHERE campaign_id = :one", one=campaign) == 2


def test_an_approval_and_a_rejection_at_once_end_in_one_of_them(world: World, org: Org) -> None:
    _, action = held_action(org)

    def decide(verdict: Any) -> str:
        try:
            return str(verdict(world.app, org.context, action).status)
        except ConflictError:
            return "refused"

    with ThreadPoolExecutor(2) as pool:
        done = sorted(pool.map(decide, (approve.approve, approve.reject)))
    assert done in (["refused", "rejected"], ["refused", "succeeded"])


def test_two_effects_held_on_the_same_budget_exclude_each_other(world: World, org: Org) -> None:
    campaign, first = held_action(org)
    org.evaluate(org.rule(SPENT, [{"type": "adjust_budget", "params": {"set": 5}}]))
    second = world.one("SELECT action_id FROM cmis.automation_actions WHERE action_id <> :first", first=first)
    approve.approve(world.app, org.context, second)
    with pytest.raises(ConflictError, match="budget: was 12, is 5"):
        approve.approve(world.app, org.context, first)
    assert org.campaign_row(campaign).budget == 5


def test_what_the_never_touch_list_holds_a_person_may_let_happen(world: World, org: Org) -> None:
    campaign = org.campaign()
    bind(org, never_touch=[campaign], max_entities_per_run=1, max_daily_net_change=1)
    org.evaluate(org.rule(SPENT, [{"type": "pause"}, {"type": "increase_budget", "value": 20}]))
    held = world.rows("SELECT action_id FROM cmis.automation_actions WHERE status = 'held' ORDER BY position")
    for (action,) in held:
        world.advance(minutes=1)
        approve.approve(world.app, org.context, action)
    row = org.campaign_row(campaign)
    assert (row.status, row.budget) == ("paused", 120)
    assert len(held) == 2
    assert world.now() - execution_row(world, held[0][0]).finished_at < timedelta(minutes=1)


@pytest.mark.parametrize(("method", "said"), [("apply", "ValueError: out of order"), ("verify", "did not do")])
def test_an_effect_whose_kind_fails_stays_held(
    world: World, org: Org, monkeypatch: pytest.MonkeyPatch, method: str, said: str
) -> None:
    def fail(_self: object, _connection: object, _org_id: object, effects: Any, **_named: object) -> Any:
        if method == "apply":
            raise ValueError("out of order")
        return {effects[0].action_id: {}}

    campaign, action = held_action(org)
    monkeypatch.setattr(AdjustBudget, method, fail)
    with pytest.raises(ConflictError, match=said):
        approve.approve(world.app, org.context, action)
    assert (action_row(world, action).status, org.campaign_row(campaign).budget) == ("held", 12)


def test_what_was_rejected_keeps_a_rule_from_the_same_action_only_wherever_it_stands(world: World, org: Org) -> None:
    campaign, action = held_action(org)
    rule = action_row(world, action).rule_id
    approve.reject(world.app, org.context, action)
    org.update_rule(rule, actions=[{"type": "tag_entity", "value": "seen"}, *DECREASE])
    [tagged] = org.evaluate(rule)
    assert (tagged.status, tagged.results) == ("success", {"succeeded": 1})
    org.update_rule(rule, actions=[{"type": "decrease_budget", "value": 40}])
    [asked] = org.evaluate(rule)
    assert (asked.status, asked.results) == ("running", {"held": 1})
    assert [one.skip_reason for one in org.evaluate(rule)] == ["guardrail"]
    assert why.why(world.app, org.context, rule, campaign).evaluated.waiting[0].execution_id == asked.execution_id
