"""Samples that are too small and data that is too old: unknown, with the reason."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from engine.rules.trust import Trust
from engine.rules.windows import Window

YOUNG = timedelta(hours=1)


@pytest.mark.parametrize(
    ("impressions", "doubt"),
    [
        (Decimal(1000), None),
        (Decimal(999), "only 999 impressions in last_7d, min_sample asks for 1000"),
        (None, "only no impressions in last_7d, min_sample asks for 1000"),
    ],
)
def test_a_window_must_hold_enough(impressions: Decimal | None, doubt: str | None) -> None:
    trust = Trust({"impressions": Decimal(1000)}, None)
    assert trust.doubt(Window.LAST_7D, {"impressions": impressions}, YOUNG) == doubt


def test_data_may_be_exactly_as_old_as_allowed_and_lifetime_any() -> None:
    trust = Trust({}, timedelta(hours=26))
    assert trust.doubt(Window.YESTERDAY, {}, timedelta(hours=26)) is None
    older = timedelta(days=3)
    assert trust.doubt(Window.YESTERDAY, {}, older) == (
        "the newest data in yesterday is 3 days old, max_data_age allows 26 hours"
    )
    assert trust.doubt(Window.LIFETIME, {}, older) is None


def test_a_rule_that_asks_for_nothing_trusts_everything() -> None:
    assert not Trust({}, None)
    assert Trust({"clicks": Decimal(1)}, None)
    assert Trust({}, YOUNG)
