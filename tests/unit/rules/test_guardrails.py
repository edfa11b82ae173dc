"""Guardrails: each bound at its exact edge, and the stricter of two levels."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rules.guardrails import DEFAULTS, NAMES, Guardrails, Situation, breach, net_change, stored, strictest

FREE = Situation()
money = st.decimals(min_value=0, max_value=10**6, places=2)


def found(bounds: Guardrails, before: float | str | None, after: float | str | None, **situation: Any) -> str | None:
    change = {"budget": before}, {"budget": after}
    passed = breach(bounds, *change, Situation(**situation))
    return passed.guardrail if passed else None


@pytest.mark.parametrize(
    ("before", "after", "passed"),
    [
        (12, 10, None),  # exactly at the floor
        (12, 9.99, "budget_floor"),
        (5, 4, "budget_floor"),
        (4, 6, None),  # towards the floor is free
        (90, 100, None),
        (90, 100.01, "budget_ceiling"),
        (150, 120, None),  # towards the ceiling is free
        (150, 150.01, "budget_ceiling"),
        (None, 100.01, "budget_ceiling"),
    ],
)
def test_floor_and_ceiling_hold_at_the_cent(before: float | None, after: float, passed: str | None) -> None:
    assert found(Guardrails(Decimal(10), Decimal(100)), before, after) == passed


@pytest.mark.parametrize(
    ("before", "after", "passed"),
    [
        (100, 120, None),
        (100, 80, None),
        (100, 120.01, "max_change_pct"),
        (100, 79.99, "max_change_pct"),
        (33.33, 40, None),  # 20 % are 6.666: 39.996, rounded to cents
        (33.33, 40.01, "max_change_pct"),
        (100, None, "max_change_pct"),  # taken away altogether
        (None, 100, None),  # of nothing there is no percentage
        (0, 0.01, "max_change_pct"),
    ],
)
def test_one_action_changes_so_many_percent_at_most(
    before: float | None, after: float | None, passed: str | None
) -> None:
    bounds = Guardrails(max_change_pct=Decimal(20))
    assert found(bounds, before, after) == passed
    bid = breach(bounds, {"bid_amount": before}, {"bid_amount": after}, FREE)
    assert (bid.guardrail if bid else None) == passed


def test_the_days_sum_may_move_towards_0_and_not_beyond_its_bound() -> None:
    bounds = Guardrails(max_daily_net_change=Decimal(50))
    assert found(bounds, 100, 150) is None
    assert found(bounds, 100, 150.01) == "max_daily_net_change"
    assert found(bounds, 100, 49.99) == "max_daily_net_change"
    assert found(bounds, 100, 101, net=Decimal(50)) == "max_daily_net_change"
    assert found(bounds, 100, 60, net=Decimal(50)) is None
    assert found(bounds, 100, 90, net=Decimal(80)) is None


def test_a_list_and_a_count_bind_any_change_of_an_entity() -> None:
    change = {"status": "active"}, {"status": "paused"}
    untouchable = breach(Guardrails(), *change, Situation(untouchable=True))
    assert untouchable is not None
    assert untouchable.guardrail == "never_touch"
    bounds = Guardrails(max_entities_per_run=3)
    assert breach(bounds, *change, Situation(others_changed=2)) is None
    assert breach(bounds, *change, Situation(others_changed=3)) is not None


def test_an_orgs_bounds_can_only_be_made_stricter() -> None:
    org = Guardrails(Decimal(20), Decimal(500), Decimal(30), Decimal(100), 5, 4)
    looser = Guardrails(Decimal(1), Decimal(900), Decimal(90), Decimal(900), 50, 40)
    stricter = Guardrails(Decimal(30), Decimal(400), Decimal(3), Decimal(10), 1, 1)
    assert strictest(org, looser) == org
    assert strictest(org, stricter) == stricter
    assert strictest(Guardrails(), Guardrails()) == DEFAULTS
    assert strictest(Guardrails(budget_floor=Decimal(0)), Guardrails()).budget_floor == 0


def test_what_is_stored_and_read_again_is_the_same() -> None:
    bounds = Guardrails(Decimal("12.5"), Decimal(500), Decimal(30), Decimal(0), 5, 4)
    assert stored(bounds.document()) == bounds
    assert set(bounds.document()) == set(NAMES)
    assert stored({"budget_floor": "much", "colour": "red"}) == Guardrails()


@given(money, money, money, money)
def test_no_change_that_passes_ends_beyond_its_bounds(
    floor: Decimal, ceiling: Decimal, before: Decimal, after: Decimal
) -> None:
    bounds = Guardrails(floor, ceiling, Decimal(50), Decimal(1000))
    change = {"budget": float(before)}, {"budget": float(after)}
    if breach(bounds, *change, FREE) is None:
        assert after >= min(floor, before)
        assert after <= max(ceiling, before)
        assert abs(after - before) <= before / 2 + Decimal("0.01")
        assert abs(net_change(*change)) <= 1000
