from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.errors import InputError
from engine.actions.base import Campaign, Change, Impossible, Nothing, Scope
from engine.actions.registry import KINDS, parse_actions

SCOPE = Scope("rule")
money = st.decimals(min_value=0, max_value=10**9, places=2)


def _campaign(budget: Decimal | int | str | None = 100, status: str = "active") -> Campaign:
    exact = None if budget is None else Decimal(budget)
    return Campaign(UUID(int=1), "Summer", status, exact, "EUR")


def _plan(action: dict[str, Any], campaign: Campaign, scope: Scope = SCOPE) -> Any:
    [spec] = parse_actions([action], "actions")
    return KINDS[spec.kind].plan(spec.params, campaign, scope)


def _budget(params: dict[str, Any], before: Decimal | int | str | None = 100, kind: str = "adjust_budget") -> Any:
    plan = _plan({"type": kind, "params": params}, _campaign(before))
    return plan.after["budget"] if isinstance(plan, Change) else plan


@pytest.mark.parametrize(
    ("kind", "params", "before", "after"),
    [
        ("adjust_budget", {"percent": 20}, 100, 120),
        ("adjust_budget", {"percent": -20}, 100, 80),
        ("adjust_budget", {"amount": 15.5}, 100, 115.5),
        ("adjust_budget", {"amount": -15.5}, 100, 84.5),
        ("adjust_budget", {"set": 42}, 100, 42),
        ("adjust_budget", {"value": 20}, 100, 120),
        ("increase_budget", {"percent": 20}, 100, 120),
        ("decrease_budget", {"percent": 20}, 100, 80),
        ("adjust_budget", {"percent": 10}, "33.35", 36.69),  # 36.685: half a cent goes up
        ("adjust_budget", {"percent": 10}, "33.34", 36.67),  # 36.674
        ("increase_budget", {"percent": 50, "ceiling": 120}, 100, 120),
        ("decrease_budget", {"percent": 50, "floor": 70}, 100, 70),
        ("adjust_budget", {"set": 5, "floor": 60}, 100, 60),
        ("adjust_budget", {"set": 50, "ceiling": 40}, 100, 40),
    ],
)
def test_a_budget_becomes(kind: str, params: dict[str, Any], before: int | str, after: float) -> None:
    assert _budget(params, before, kind) == after


@pytest.mark.parametrize(
    ("kind", "params", "before"),
    [
        ("adjust_budget", {"percent": 0}, 100),
        ("adjust_budget", {"set": 100}, 100),
        ("increase_budget", {"percent": 50, "ceiling": 100}, 100),
        ("increase_budget", {"percent": 1}, "0.10"),  # 0.101 is the same in cents
        ("increase_budget", {"percent": 20, "ceiling": 100}, 150),  # a clamp never turns a step round
        ("decrease_budget", {"percent": 20, "floor": 60}, 50),
    ],
)
def test_a_budget_stays(kind: str, params: dict[str, Any], before: int | str) -> None:
    assert _budget(params, before, kind) == Nothing()


def test_what_cannot_be_done_says_why() -> None:
    assert _budget({"percent": 10}, None) == Impossible("the campaign has no budget to adjust")
    assert isinstance(_budget({"percent": 1000}, "999999999999.99"), Impossible)
    paused = _plan({"type": "resume_campaign"}, _campaign(status="completed"))
    assert paused == Impossible("a campaign that is completed cannot become active")


@given(money, st.integers(1, 100), money, money)
def test_a_decrease_never_raises_a_budget_and_an_increase_never_lowers_it(
    before: Decimal, percent: int, floor: Decimal, ceiling: Decimal
) -> None:
    assume(floor <= ceiling)
    bounds = {"percent": percent, "floor": float(floor), "ceiling": float(ceiling)}
    for kind, sign in (("increase_budget", 1), ("decrease_budget", -1)):
        plan = _plan({"type": kind, "params": bounds}, _campaign(before))
        if isinstance(plan, Change):
            assert (plan.after["budget"] - plan.before["budget"]) * sign > 0


@pytest.mark.parametrize(
    ("spelling", "kind"),
    [
        ("pause", "pause_campaign"),
        ("pause_underperforming", "pause_campaign"),
        ("notify", "send_notification"),
        ("send_alert", "send_notification"),
        ("create_alert", "send_notification"),
    ],
)
def test_an_alias_is_stored_as_its_kind(spelling: str, kind: str) -> None:
    [spec] = parse_actions([{"type": spelling}], "actions")
    assert spec.kind == kind


def test_status_actions_change_nothing_where_there_is_nothing_to_change() -> None:
    assert _plan({"type": "pause"}, _campaign(status="paused")) == Nothing()
    assert _plan({"type": "pause"}, _campaign()) == Change({"status": "active"}, {"status": "paused"})


@pytest.mark.parametrize(
    ("action", "path", "said"),
    [
        ("pause", "actions[0]", "must be an object"),
        ({"type": "explode"}, "actions[0].type", "unknown action 'explode'"),
        ({}, "actions[0].type", "unknown action None"),
        ({"type": "pause", "when": 1}, "actions[0].when", "unknown key"),
        ({"type": "pause", "params": []}, "actions[0].params", "must be an object"),
        ({"type": "pause", "params": {"x": 1}}, "actions[0].params.x", "unknown parameter"),
        ({"type": "pause", "params": {"reason": " "}}, "actions[0].params.reason", "not blank"),
        ({"type": "adjust_budget"}, "actions[0].params", "exactly one of percent, amount, set"),
        ({"type": "adjust_budget", "params": {"percent": 1, "set": 2}}, "actions[0].params", "exactly one"),
        ({"type": "adjust_budget", "value": "20"}, "actions[0].params.percent", "must be a number, not '20'"),
        ({"type": "adjust_budget", "value": True}, "actions[0].params.percent", "must be a number"),
        ({"type": "adjust_budget", "value": -101}, "actions[0].params.percent", "is out of range: -101"),
        ({"type": "decrease_budget", "value": 101}, "actions[0].params.percent", "is out of range: 101"),
        ({"type": "increase_budget", "value": -5}, "actions[0].params.percent", "is out of range: -5"),
        (
            {"type": "adjust_budget", "params": {"set": 5, "floor": 9, "ceiling": 8}},
            "actions[0].params.floor",
            "is above the ceiling",
        ),
        ({"type": "notify", "params": {"channel": "fax"}}, "actions[0].params.channel", "unknown channel 'fax'"),
        ({"type": "notify", "params": {"title": "x" * 201}}, "actions[0].params.title", "1 to 200 characters"),
        ({"type": "notify", "params": {"message": ""}}, "actions[0].params.message", "1 to 2000 characters"),
    ],
)
def test_a_bad_action_is_refused_at_its_path(action: object, path: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_actions([action], "actions")
    [problem] = refused.value.problems
    assert problem.field == path
    assert said in problem.message
    assert (
        problem.remedy or "text" in problem.message or "exactly one" in problem.message or "object" in problem.message
    )


def test_every_problem_of_every_action_is_reported_at_once() -> None:
    with pytest.raises(InputError) as refused:
        parse_actions(
            [{"type": "x"}, {"type": "adjust_budget", "params": {"set": -1, "floor": "a", "y": 1}}], "actions"
        )
    assert [problem.field for problem in refused.value.problems] == [
        "actions[0].type",
        "actions[1].params.y",
        "actions[1].params.set",
        "actions[1].params.floor",
    ]


@pytest.mark.parametrize(
    ("action", "direction"),
    [
        ({"type": "pause"}, "pause"),
        ({"type": "resume_campaign"}, "resume"),
        ({"type": "increase_budget", "value": 5}, "budget_up"),
        ({"type": "decrease_budget", "value": 5}, "budget_down"),
        ({"type": "adjust_budget", "params": {"amount": -0.5}}, "budget_down"),
        ({"type": "adjust_budget", "params": {"amount": 0.5}}, "budget_up"),
        ({"type": "adjust_budget", "params": {"percent": 0}}, None),
        ({"type": "adjust_budget", "params": {"set": 50}}, None),
        ({"type": "notify"}, None),
    ],
)
def test_an_action_says_which_way_it_moves_what_it_is_applied_to(action: dict[str, Any], direction: str | None) -> None:
    [spec] = parse_actions([action], "actions")
    assert spec.direction == direction
