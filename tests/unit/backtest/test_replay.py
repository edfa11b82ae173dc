"""What a rule would have done: its gates and guardrails from one planned time to the next."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from engine.rules.guardrails import DEFAULTS
from tests.unit.backtest.making import (
    ANY_BUDGET,
    PAUSE,
    RAISE,
    SPENT,
    START,
    acted_days,
    backtest,
    campaign,
    rule,
    spent,
)


def _reasons(found: Any) -> list[str | None]:
    return [firing.skip_reason for firing in found.firings]


def test_a_paused_campaign_stays_paused_and_nothing_of_before_the_start_counts() -> None:
    found = backtest(rule(SPENT, PAUSE, daily_limit=1), [campaign()], {1: spent({1: 5, 2: 5, 3: 5})}, days=4)
    assert acted_days(found) == [2]
    assert _reasons(found) == ["conditions_unknown", None, "no_change", "no_change"]
    [happened] = found.firings[1].happened
    assert (dict(happened.effect.before), dict(happened.effect.after)) == ({"status": "active"}, {"status": "paused"})
    assert [leaf["actual"] for leaf in happened.decided_by] == [5]


def test_data_counts_from_when_it_was_observed() -> None:
    late = {1: spent({1: 5, 2: 5, 3: 5}, observed=timedelta(hours=10))}  # after nine on the next day
    assert acted_days(backtest(rule(SPENT, PAUSE), [campaign()], late)) == []
    assert acted_days(backtest(rule(SPENT, PAUSE), [campaign()], late, cron="0 10 * * *")) == [2]


def test_a_cooldown_is_over_at_exactly_its_end_and_the_reader_is_told_of_such_times() -> None:
    two_days = backtest(rule(ANY_BUDGET, RAISE, cooldown_minutes=2880), [campaign()], days=6)
    assert acted_days(two_days) == [1, 3, 5]
    assert two_days.totals.on_the_boundary == 2
    longer = backtest(rule(ANY_BUDGET, RAISE, cooldown_minutes=2881), [campaign()], days=6)
    assert acted_days(longer) == [1, 4]
    assert (_reasons(longer)[1], longer.totals.on_the_boundary) == ("cooldown", 0)


def test_budgets_move_from_one_time_to_the_next() -> None:
    found = backtest(rule(ANY_BUDGET, RAISE), [campaign()], days=3)
    assert [one.happened[0].effect.after["budget"] for one in found.firings] == [110, 121, 133.1]
    assert found.totals.net_budget == {"EUR": Decimal("33.1")}


def test_the_daily_limit_is_of_the_orgs_days() -> None:
    limited = rule(ANY_BUDGET, RAISE, daily_limit=1)
    utc = backtest(limited, [campaign()], days=2, cron="0 */6 * * *")
    assert [one.time.at.hour for one in utc.firings if one.happened] == [0, 0, 0]
    tokyo = backtest(limited, [campaign()], days=2, cron="0 */6 * * *", timezone="Asia/Tokyo")
    assert [one.time.at.hour for one in tokyo.firings if one.happened] == [3, 15, 15]  # midnight there is 15:00Z


def test_the_days_net_change_begins_anew_with_each_day() -> None:
    bounded = rule(ANY_BUDGET, RAISE, guardrails=replace(DEFAULTS, max_daily_net_change=Decimal(15)))
    found = backtest(bounded, [campaign()], days=2, cron="0 9,21 * * *")
    statuses = [[one.effect.status for one in firing.happened] for firing in found.firings]
    assert statuses == [["succeeded"], ["held"], ["succeeded"], []]  # 10, then 11 more, then 12.10, then it waits
    assert _reasons(found)[-1] == "guardrail"


def test_what_is_held_is_asked_for_again_after_28_days() -> None:
    found = backtest(rule(ANY_BUDGET, RAISE), [campaign()], days=31, never_touch=frozenset([UUID(int=1)]))
    assert [one.time.at.day for one in found.firings if one.happened] == [1, 29]
    assert found.totals.effects == {"held": 2}
    assert found.totals.skipped == {"guardrail": 29}
    assert found.totals.acted == 0


def test_the_breaker_pauses_a_rule_whose_actions_keep_failing() -> None:
    found = backtest(
        rule([{"field": "status", "operator": "=", "value": "active"}], RAISE), [campaign(budget=None)], days=8
    )
    assert found.broken_at == START + timedelta(days=4, hours=9)
    assert [firing.status.value for firing in found.firings] == ["failure"] * 5 + ["skipped"] * 3
    assert _reasons(found)[5:] == ["rule_inactive"] * 3


def test_archived_campaigns_are_not_looked_at() -> None:
    found = backtest(rule(ANY_BUDGET, PAUSE), [campaign(status="archived")], days=1)
    assert _reasons(found) == ["no_entities"]


def test_what_is_stored_as_spent_after_a_pause_is_observed_on_whole_days() -> None:
    days = {1: spent({day: day for day in range(1, 11)})}
    found = backtest(rule(SPENT, PAUSE), [campaign()], days, days=9)
    assert acted_days(found) == [2]
    assert found.totals.spent_after_pause == {
        "EUR": Decimal(sum(range(3, 9)))
    }  # 2 March is no whole day, 9 March not yet known
    resumed = backtest(rule(SPENT, [*PAUSE, {"type": "resume_campaign"}]), [campaign()], days, days=9)
    assert resumed.totals.spent_after_pause == {}


def test_the_same_question_has_the_same_answer() -> None:
    asked = rule(SPENT, RAISE, cooldown_minutes=1500), [campaign(), campaign(2)], {1: spent({1: 1, 4: 2})}
    first, second = backtest(*asked), backtest(*asked)
    assert first.totals == second.totals
    assert [one.counts for one in first.firings] == [one.counts for one in second.firings]


def test_actions_that_follow_after_a_delay_are_taken_to_follow_at_once() -> None:
    found = backtest(rule(SPENT, [*RAISE, *PAUSE], delay=timedelta(hours=2)), [campaign()], {1: spent({1: 1})}, days=3)
    assert [(one.effect.kind, one.effect.status) for one in found.firings[1].happened] == [
        ("adjust_budget", "succeeded"),
        ("pause_campaign", "succeeded"),
    ]
