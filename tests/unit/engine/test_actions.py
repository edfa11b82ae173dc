from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.errors import InputError
from engine.actions.base import Campaign, Change, Impossible, Nothing, Scope
from engine.actions.registry import KINDS, parse_actions

SCOPE = Scope(UUID(int=2), "rule", UUID(int=3), "Acme", UUID(int=4))
money = st.decimals(min_value=0, max_value=10**9, places=2)


def _campaign(budget: Decimal | int | str | None = 100, status: str = "active") -> Campaign:
    exact = None if budget is None else Decimal(budget)
    return Campaign(UUID(int=1), "Summer", status, exact, "EUR")


def _plan(action: dict[str, Any], campaign: Campaign, scope: Scope = SCOPE) -> Any:
    [spec] = parse_actions([action], "actions")
    return KINDS[spec.kind].plan(spec.params, campaign, scope)


def _bid(params: dict[str, Any], before: Decimal | int | None = 2, kind: str = "adjust_bid") -> Any:
    exact = None if before is None else Decimal(before)
    plan = _plan({"type": kind, "params": params}, replace(_campaign(), bid_amount=exact))
    return plan.after["bid_amount"] if isinstance(plan, Change) else plan


def _tags(params: dict[str, Any], *before: str) -> Any:
    plan = _plan({"type": "tag_entity", "params": params}, replace(_campaign(), tags=list(before)))
    return plan.after["tags"] if isinstance(plan, Change) else plan


def _field(name: str, value: object, **columns: Any) -> Any:
    return _plan({"type": "set_field", "params": {"field": name, "value": value}}, replace(_campaign(), **columns))


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
        ("adjust_budget", {"set": 42}, None, 42),
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
def test_a_budget_becomes(kind: str, params: dict[str, Any], before: int | str | None, after: float) -> None:
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
    ("kind", "params", "after"),
    [
        ("adjust_bid", {"percent": 25}, 2.5),
        ("adjust_bid", {"amount": -0.5}, 1.5),
        ("adjust_bid", {"set": 3}, 3),
        ("increase_bid", {"value": 25, "ceiling": 2.2}, 2.2),
        ("decrease_bid", {"percent": 25, "floor": 1.8}, 1.8),
    ],
)
def test_a_bid_becomes(kind: str, params: dict[str, Any], after: float) -> None:
    assert _bid(params, kind=kind) == after
    without = 3 if "set" in params else Impossible("the campaign has no bid to adjust")
    assert _bid(params, None, kind) == without


@pytest.mark.parametrize(
    ("params", "before", "after"),
    [
        ({"tags": ["b", "c", "b"]}, ["a", "b"], ["a", "b", "c"]),
        ({"tag": " new "}, ["a"], ["a", "new"]),
        ({"value": "new"}, [], ["new"]),
        ({"tags": ["A"]}, ["a"], ["a", "A"]),
        ({"remove": ["b", "x"]}, ["a", "b", "c"], ["a", "c"]),
        ({"remove": "b"}, ["b"], []),
        ({"tag": "b", "remove": True}, ["a", "b"], ["a"]),
        ({"tag": "b", "remove": False}, ["a"], ["a", "b"]),
        ({"tags": ["hot"], "remove": ["cold"]}, ["cold", "x"], ["x", "hot"]),
    ],
)
def test_tags_become(params: dict[str, Any], before: list[str], after: list[str]) -> None:
    assert _tags(params, *before) == after


def test_tags_stay_where_all_is_there_and_a_campaign_has_no_more_than_100() -> None:
    assert _tags({"tags": ["b"], "remove": ["x"]}, "b", "a") == Nothing()
    full = [f"tag {number}" for number in range(100)]
    assert isinstance(_tags({"tag": "one more"}, *full), Impossible)
    assert _tags({"tag": "one more", "remove": ["tag 0"]}, *full) == [*full[1:], "one more"]
    assert _tags({"remove": ["tag 0"]}, *full, "over") == [*full[1:], "over"]


@pytest.mark.parametrize(
    ("field", "value", "before", "after"),
    [
        ("name", " Autumn ", {"name": "Summer"}, {"name": "Autumn"}),
        ("objective", "sales", {"objective": None}, {"objective": "sales"}),
        ("end_date", "20270131", {"end_date": None}, {"end_date": "2027-01-31"}),
    ],
)
def test_a_field_becomes(field: str, value: object, before: dict[str, Any], after: dict[str, Any]) -> None:
    assert _field(field, value) == Change(before, after)


def test_a_field_is_emptied_where_it_may_be_empty_and_stays_where_it_is_so_already() -> None:
    assert _field("objective", None, objective="sales") == Change({"objective": "sales"}, {"objective": None})
    assert _field("end_date", None, end_date=date(2027, 1, 31)) == Change(
        {"end_date": "2027-01-31"}, {"end_date": None}
    )
    assert _field("objective", None) == _field("name", "Summer") == Nothing()
    assert _field("end_date", "2027-01-31", end_date=date(2027, 1, 31)) == Nothing()


@pytest.mark.parametrize(
    ("field", "remedy"),
    [
        ("status", "use pause_campaign or resume_campaign"),
        ("budget", "use adjust_budget"),
        ("bid_amount", "use adjust_bid"),
        ("tags", "use tag_entity"),
        ("platform", "allowed: name, objective, end_date"),
        (None, "allowed: name, objective, end_date"),
        (["name"], "allowed: name, objective, end_date"),
    ],
)
def test_a_field_that_another_action_changes_is_refused_with_its_name(field: object, remedy: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_actions([{"type": "set_field", "params": {"field": field, "value": 1}}], "actions")
    [problem] = refused.value.problems
    assert (problem.field, problem.remedy) == ("actions[0].params.field", remedy)


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
        ({"type": "increase_bid", "params": {"set": 5}}, "actions[0].params.set", "unknown parameter"),
        ({"type": "tag_entity"}, "actions[0].params", "names no tag"),
        (
            {"type": "tag_entity", "params": {"tag": "a", "tags": ["b"]}},
            "actions[0].params",
            "tags and tag say",
        ),
        (
            {"type": "tag_entity", "params": {"tags": ["a"], "remove": ["a"]}},
            "actions[0].params.remove",
            "'a' is to be",
        ),
        ({"type": "tag_entity", "value": "x" * 51}, "actions[0].params.value", "1 to 50 characters"),
        ({"type": "tag_entity", "params": {"tags": ["a", 7]}}, "actions[0].params.tags", "not 7"),
        (
            {"type": "tag_entity", "params": {"tags": [f"{n}" for n in range(20)], "remove": "x"}},
            "actions[0].params",
            "names 21 tags",
        ),
        ({"type": "set_field", "params": {"field": "name"}}, "actions[0].params.value", "is required"),
        (
            {"type": "set_field", "params": {"field": "name", "value": None}},
            "actions[0].params.value",
            "be None",
        ),
        (
            {"type": "set_field", "params": {"field": "name", "value": "x" * 201}},
            "actions[0].params.value",
            "cannot be",
        ),
        ({"type": "set_field", "params": {"field": "end_date", "value": "soon"}}, "actions[0].params.value", "'soon'"),
        ({"type": "set_field", "params": {"field": "objective", "value": 7}}, "actions[0].params.value", "be 7"),
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
        ({"type": "increase_bid", "value": 5}, "bid_up"),
        ({"type": "adjust_bid", "params": {"percent": -5}}, "bid_down"),
        ({"type": "notify"}, None),
    ],
)
def test_an_action_says_which_way_it_moves_what_it_is_applied_to(action: dict[str, Any], direction: str | None) -> None:
    [spec] = parse_actions([action], "actions")
    assert spec.direction == direction
