"""Campaigns rolled back by the audit log."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from engine.backtest.past import PastCampaign, rolled_back
from tests.unit.backtest.making import campaign

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _row(**changes: Any) -> Any:
    columns = asdict(campaign(**changes))
    return SimpleNamespace(campaign_id=columns["campaign_id"], _asdict=lambda: columns)


def _change(minutes: int, before: dict[str, Any], after: dict[str, Any] | None) -> Any:
    return SimpleNamespace(
        created_at=NOON + timedelta(minutes=minutes), entity_id=UUID(int=1), before=before, after=after
    )


def _back(row: Any, *changes: Any) -> PastCampaign:
    newest_first = sorted(changes, key=lambda change: change.created_at, reverse=True)
    return rolled_back([row], newest_first)[UUID(int=1)]


def test_each_column_is_as_it_was_before_the_first_change() -> None:
    then = _back(
        _row(status="paused", budget=Decimal("144.00"), tags=["a", "b"], end_date=date(2026, 4, 1)),
        _change(1, {"budget": 100}, {"budget": 120.0}),
        _change(2, {"status": "active"}, {"status": "paused"}),
        _change(3, {"budget": 120, "tags": ["a"]}, {"budget": 144, "tags": ["a", "b"]}),
        _change(4, {"end_date": None, "unheard_of": 1}, {"end_date": "2026-04-01", "unheard_of": 2}),
    )
    assert then == campaign(status="active", budget=Decimal("100.00"), tags=["a"])


def test_an_amount_that_was_given_where_there_was_none_stands_from_the_start() -> None:
    given_later = _change(1, {"budget": None, "bid_amount": None}, {"budget": 120, "bid_amount": 1})
    then = _back(
        _row(budget=Decimal("144.00"), bid_amount=Decimal("1.00")),
        given_later,
        _change(2, {"budget": 120}, {"budget": 144}),
    )
    assert then == campaign(budget=Decimal("120.00"), bid_amount=Decimal("1.00"))


def test_what_was_done_and_taken_back_is_as_before() -> None:
    then = _back(
        _row(),
        _change(1, {"status": "active"}, {"status": "paused"}),
        _change(2, {"status": "paused"}, {"status": "active"}),
    )
    assert then == campaign()


def test_a_change_of_a_campaign_that_is_not_looked_at_says_nothing() -> None:
    other = SimpleNamespace(created_at=NOON, entity_id=UUID(int=9), before={"status": "x"}, after={"status": "y"})
    assert _back(_row(), other) == campaign()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_changes_of_one_instant_are_a_path_whatever_their_order_in_the_log(path: list[int], chance: Any) -> None:
    steps = [_change(0, {"budget": before}, {"budget": after}) for before, after in pairwise(path)]
    chance.shuffle(steps)
    then = rolled_back([_row(budget=Decimal(path[-1]))], steps)[UUID(int=1)]
    assert then.budget == path[0]
