"""The origin's acceptance sentences for rules, on real rows under row-level security."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from engine.run_rules import work
from tests.world import NOTIFY, PAUSE, SPENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.world import Org, World

COSTLY = [{"field": "cpa", "operator": ">", "value": 50}]


def test_a_rule_executes_when_its_conditions_are_met(world: World, org: Org) -> None:
    costly, cheap = org.campaign(), org.campaign({"spend": 10, "conversions": 1})
    [execution] = org.evaluate(org.rule(COSTLY))
    assert (execution.status, execution.results) == ("success", {"succeeded": 1})
    assert (org.campaign_row(costly).status, org.campaign_row(cheap).status) == ("paused", "active")
    assert execution.conditions_evaluated["counts"] == {"true": 1, "false": 1, "acted": 1}
    seen = {entity["entity_id"]: entity for entity in execution.conditions_evaluated["entities"]}
    assert seen[str(costly)]["acted"]
    assert not seen[str(cheap)]["acted"]
    assert world.one("SELECT before || after FROM cmis.automation_actions") == {"status": "paused"}


def test_a_rule_is_skipped_when_its_conditions_are_not_met(org: Org) -> None:
    org.campaign({"spend": 10, "conversions": 1})
    [execution] = org.evaluate(org.rule(COSTLY))
    assert (execution.status, execution.skip_reason) == ("skipped", "conditions_not_met")


def test_a_cost_without_conversions_is_unknown_and_never_fires(org: Org) -> None:
    campaign = org.campaign({"spend": 900, "conversions": 0})
    [execution] = org.evaluate(org.rule(COSTLY))
    assert (execution.status, execution.skip_reason) == ("skipped", "conditions_unknown")
    assert org.campaign_row(campaign).status == "active"


def test_a_rule_is_throttled_by_its_cooldown_until_the_boundary(world: World, org: Org) -> None:
    org.campaign()
    rule = org.rule(SPENT, NOTIFY, cooldown_minutes=60)
    assert [one.status for one in org.evaluate(rule)] == ["success"]
    [again] = org.evaluate(rule)
    assert (again.status, again.skip_reason) == ("skipped", "cooldown")

    _acted(world, minutes_ago=59.9)
    assert [one.skip_reason for one in org.evaluate(rule)] == ["cooldown"]
    _acted(world, minutes_ago=60)
    assert [one.status for one in org.evaluate(rule)] == ["success"]


def _acted(world: World, *, minutes_ago: float) -> None:
    """Let every rule have acted that long ago, in its memory and in its records."""
    moment = world.now() - timedelta(minutes=minutes_ago)
    world.meddle("UPDATE cmis.rule_entity_state SET last_acted_at = %(at)s", at=moment)
    world.meddle("UPDATE cmis.automation_actions SET created_at = %(at)s", at=moment)


def test_the_cooldown_counts_for_each_campaign_of_its_own(org: Org) -> None:
    first = org.campaign()
    rule = org.rule(SPENT, NOTIFY, cooldown_minutes=60)
    org.evaluate(rule)
    second = org.campaign()
    [execution] = org.evaluate(rule)
    assert execution.conditions_evaluated["counts"] == {"cooldown": 1, "true": 1, "acted": 1}
    assert [action["entity_id"] for action in execution.actions_executed] == [str(second)]
    assert first != second


def test_a_rule_respects_its_daily_limit_in_the_zone_of_its_org_across_midnight(world: World) -> None:
    zone = ZoneInfo("Pacific/Auckland")
    org = world.org("auckland", zone.key)
    org.campaign()
    rule = org.rule(
        [{"field": "spend", "window": "last_30d", "operator": ">", "value": 0}], NOTIFY, max_executions_per_day=1
    )
    _just_before_midnight(world, zone)
    assert [one.status for one in org.evaluate(rule)] == ["success"]
    assert [one.skip_reason for one in org.evaluate(rule)] == ["daily_limit"]
    world.advance(minutes=30)
    assert [one.status for one in org.evaluate(rule)] == ["success"]
    acted = "SELECT acted_on FROM cmis.automation_executions WHERE acted_on IS NOT NULL ORDER BY started_at"
    days = [row[0] for row in world.rows(acted)]
    assert days[1] - days[0] == timedelta(days=1)


def _just_before_midnight(world: World, zone: ZoneInfo) -> None:
    """Move the clock to 23:45 of the zone, at which the day in UTC does not change."""
    now = world.now().astimezone(zone)
    goal = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), zone) + timedelta(hours=23, minutes=45)
    world.advance(seconds=(goal.astimezone(UTC) - world.now()).total_seconds())


def test_a_run_that_did_nothing_uses_up_neither_limit_nor_cooldown(world: World, org: Org) -> None:
    campaign = org.campaign({"spend": 10, "conversions": 1})
    rule = org.rule(COSTLY, max_executions_per_day=1, cooldown_minutes=600)
    org.evaluate(rule)
    world.meddle("UPDATE cmis.campaign_metrics SET spend = 100")
    assert [one.status for one in org.evaluate(rule)] == ["success"]
    assert org.campaign_row(campaign).status == "paused"


def test_a_rule_tracks_its_success_rate(world: World, org: Org) -> None:
    org.campaign()
    org.campaign(budget=None)
    good, half, bad, idle = (
        org.rule(SPENT, NOTIFY),
        org.rule(SPENT, [{"type": "increase_budget", "value": 10}]),
        org.rule(SPENT, [{"type": "resume_campaign"}, {"type": "notify"}], stop_on_error=True, status="active"),
        org.rule([*COSTLY, {"field": "spend", "operator": "<", "value": 0}]),
    )
    world.meddle("UPDATE cmis.campaigns SET status = 'completed'")
    statuses = [one.status for one in org.evaluate(good, half, bad, idle)]
    assert statuses == ["success", "partial", "failure", "skipped"]
    with world.app.transaction(org.context) as connection:
        rates = connection.exec_driver_sql("SELECT rule_id, success_rate FROM cmis.v_automation_performance").all()
    assert {rule: float(rate) if rate is not None else None for rule, rate in rates} == {
        good: 1,
        half: 0,
        bad: 0,
        idle: None,
    }


def test_a_rule_executes_its_actions_in_sequence(world: World, org: Org) -> None:
    campaign = org.campaign(budget=100)
    steps = [
        {"type": "increase_budget", "value": 50},
        {"type": "adjust_budget", "params": {"amount": -30}},
        {"type": "pause"},
        {"type": "notify", "params": {"title": "done"}},
    ]
    [execution] = org.evaluate(org.rule(SPENT, steps))
    assert execution.status == "success"
    row = org.campaign_row(campaign)
    assert (row.budget, row.status) == (Decimal(120), "paused")
    actions = world.rows("SELECT position, type, before, after FROM cmis.automation_actions ORDER BY position")
    assert [(one.position, one.before, one.after) for one in actions[:3]] == [
        (0, {"budget": 100}, {"budget": 150}),
        (1, {"budget": 150}, {"budget": 120}),
        (2, {"status": "active"}, {"status": "paused"}),
    ]
    ledger = world.rows("SELECT before, after, action_id IS NOT NULL FROM cmis.budget_ledger ORDER BY seq")
    assert [tuple(one) for one in ledger] == [(None, 100, False), (100, 150, True), (150, 120, True)]
    assert world.one("SELECT title FROM cmis.notifications") == "done"


def test_with_stop_on_error_the_actions_after_a_failed_one_are_left_out(world: World, org: Org) -> None:
    org.campaign(budget=None)
    actions = [{"type": "increase_budget", "value": 10}, {"type": "pause"}]
    stopping, going_on = org.rule(SPENT, actions, stop_on_error=True), org.rule(SPENT, actions)
    stopped, went_on = org.evaluate(stopping, going_on)
    assert (stopped.status, stopped.results) == ("failure", {"failed": 1})
    assert (went_on.status, went_on.results) == ("partial", {"failed": 1, "succeeded": 1})
    said = world.rows("SELECT error ->> 'message' FROM cmis.automation_actions WHERE status = 'failed'")
    assert {row[0] for row in said} == {"the campaign has no budget to adjust"}


def test_a_rule_logs_its_audit_trail(world: World, org: Org) -> None:
    campaign = org.campaign()
    rule = org.rule()
    org.evaluate(rule)
    org.evaluate(rule)  # a skipped execution has its entry, too
    trail = world.rows(
        "SELECT action, user_id, entity_id, rule_id, before, after, details FROM cmis.automation_audit_log "
        "WHERE action IN ('rule_executed', 'action_taken') ORDER BY created_at, action DESC"
    )
    assert [one.action for one in trail] == ["rule_executed", "action_taken", "rule_executed"]
    assert {str(one.user_id) for one in trail} == {"00000000-0000-0000-0000-000000000001"}
    taken = trail[1]
    assert (taken.entity_id, taken.rule_id) == (campaign, rule)
    assert (taken.before, taken.after) == ({"status": "active"}, {"status": "paused"})
    assert trail[2].details["skip_reason"] == "no_change"
    by_hand = world.one("SELECT count(*) FROM cmis.automation_audit_log WHERE action = 'campaign_updated'")
    assert by_hand == 0


def test_a_rule_respects_rls(world: World) -> None:
    north, south = world.org("north"), world.org("south")
    theirs = south.campaign()
    rule = north.rule()
    [execution] = north.evaluate(rule)
    assert (execution.status, execution.skip_reason) == ("skipped", "no_entities")
    assert south.campaign_row(theirs).status == "active"
    task_id = world.enqueue({north.id: [rule]})
    assert world.run(south.id, task_id) == work.NotClaimed()
    assert world.task(task_id).state == "ready"


def test_a_chunk_over_several_orgs_keeps_them_apart(world: World) -> None:
    orgs = [world.org(f"org {number}") for number in range(3)]
    campaigns = [org.campaign(name=f"campaign {number}") for number, org in enumerate(orgs)]
    task_id = world.enqueue({org.id: [org.rule()] for org in orgs})
    from_reserved = world.task(task_id).org_id
    assert world.run(from_reserved, task_id) == work.Finished(evaluated=3, retried=0)
    assert [org.campaign_row(one).status for org, one in zip(orgs, campaigns, strict=True)] == ["paused"] * 3
    for org, campaign in zip(orgs, campaigns, strict=True):
        assert world.one("SELECT entity_id FROM cmis.automation_actions WHERE org_id = :org", org=org.id) == campaign


def test_an_inactive_rule_does_nothing(org: Org) -> None:
    campaign = org.campaign()
    executions = org.evaluate(*(org.rule(status=status) for status in ("draft", "paused", "archived")))
    assert {one.skip_reason for one in executions} == {"rule_inactive"}
    assert org.campaign_row(campaign).status == "active"


def test_a_budget_below_the_floor_is_held_once_and_asked_for_no_second_time(world: World, org: Org) -> None:
    campaign = org.campaign(budget=12)
    rule = org.rule(SPENT, [{"type": "decrease_budget", "value": 50}])
    job = org.job(rule)
    [held] = _dispatch_and_run(world)
    assert (held.status, held.finished_at, held.results) == ("running", None, {"held": 1})
    assert org.campaign_row(campaign).budget == 12
    [outcome] = world.rows("SELECT outcome, finished_at IS NOT NULL FROM cmis.occurrences WHERE job_id = :job", job=job)
    assert tuple(outcome) == ("success", True)  # what waits for a person does not keep the run open
    [again] = org.evaluate(rule)
    assert (again.status, again.skip_reason) == ("skipped", "guardrail")
    assert world.one("SELECT count(*) FROM cmis.automation_actions") == 1
    [entity] = held.conditions_evaluated["entities"]
    assert (entity["result"], entity["acted"]) == ("true", False)


def _dispatch_and_run(world: World) -> Sequence[Any]:
    world.dispatch()
    world.run_all()
    return world.rows("SELECT * FROM cmis.automation_executions")


def test_the_floor_of_the_rule_stands_before_that_of_the_org(org: Org) -> None:
    campaign = org.campaign(budget=100)
    half = [{"type": "decrease_budget", "value": 50}]
    [held] = org.evaluate(org.rule(SPENT, half, guardrails={"budget_floor": 60}))
    assert held.results == {"held": 1}
    [done] = org.evaluate(org.rule(SPENT, half))
    assert done.results == {"succeeded": 1}
    assert org.campaign_row(campaign).budget == 50


def test_a_later_rule_sees_the_effects_of_earlier_ones_by_priority_and_then_id(world: World, org: Org) -> None:
    org.campaign(budget=100)
    add = [{"type": "adjust_budget", "params": {"amount": 10}}]
    double = [{"type": "increase_budget", "value": 100}]
    last = org.rule([{"field": "budget", "operator": ">=", "value": 220}], [{"type": "pause"}], priority="low")
    second = org.rule(SPENT, double, priority="medium")
    first = org.rule(SPENT, add, priority="critical")
    third = org.rule([{"field": "status", "operator": "=", "value": "paused"}], NOTIFY, priority="low")
    org.evaluate(last, second, first, third)
    budgets = [tuple(row) for row in world.rows("SELECT before, after FROM cmis.budget_ledger ORDER BY seq")]
    assert budgets == [(None, 100), (100, 110), (110, 220)]
    statuses = dict(map(tuple, world.rows("SELECT rule_id, status FROM cmis.automation_executions")))
    assert statuses == dict.fromkeys([last, second, first, third], "success")


def test_a_rule_twice_in_a_task_sees_its_own_first_run(world: World, org: Org) -> None:
    org.campaign()
    rule = org.rule(SPENT, NOTIFY, cooldown_minutes=60)
    task_id = world.enqueue({org.id: [rule, rule]})
    assert world.run(org.id, task_id) == work.Finished(evaluated=2, retried=0)
    statuses = world.rows("SELECT status, skip_reason FROM cmis.automation_executions ORDER BY status DESC")
    assert [tuple(one) for one in statuses] == [("success", None), ("skipped", "cooldown")]


def test_a_rule_for_one_campaign_leaves_the_others_alone(org: Org) -> None:
    mine, other = org.campaign(), org.campaign()
    alone = org.rule(entity_id=mine)
    org.evaluate(alone)
    assert (org.campaign_row(mine).status, org.campaign_row(other).status) == ("paused", "active")
    [beside_one_for_all, _] = org.evaluate(org.rule(SPENT, NOTIFY, entity_id=other), org.rule(SPENT, NOTIFY))
    assert [one["entity_id"] for one in beside_one_for_all.actions_executed] == [str(other)]


def test_archived_campaigns_are_not_looked_at(org: Org) -> None:
    archived = org.campaign(status="archived")
    for_all, for_it = org.evaluate(org.rule(SPENT, NOTIFY), org.rule(SPENT, NOTIFY, entity_id=archived))
    assert {for_all.skip_reason, for_it.skip_reason} == {"no_entities"}
    [alone] = org.evaluate(org.rule(SPENT, PAUSE, entity_id=archived))
    assert alone.skip_reason == "no_entities"
