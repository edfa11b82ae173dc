"""Windows as days."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rules.windows import WINDOWS_WITH_PRECEDING, Window, days, preceding
from tests.unit.rules.strategies import PATIENT

TODAY = date(2024, 3, 2)  # two days after a leap day


@pytest.mark.parametrize(
    ("window", "first", "last"),
    [
        (Window.TODAY, TODAY, TODAY),
        (Window.YESTERDAY, date(2024, 3, 1), date(2024, 3, 1)),
        (Window.LAST_3D, date(2024, 2, 28), date(2024, 3, 1)),
        (Window.LAST_7D, date(2024, 2, 24), date(2024, 3, 1)),
        (Window.LAST_14D, date(2024, 2, 17), date(2024, 3, 1)),
        (Window.LAST_30D, date(2024, 2, 1), date(2024, 3, 1)),
        (Window.LIFETIME, None, TODAY),
    ],
)
def test_a_window_is_whole_days_and_last_days_leave_today_out(window: Window, first: date | None, last: date) -> None:
    assert days(window, TODAY) == (first, last)


def test_yesterday_precedes_today_and_nothing_precedes_a_lifetime() -> None:
    assert preceding(Window.TODAY, TODAY) == (date(2024, 3, 1), date(2024, 3, 1))
    assert preceding(Window.LAST_3D, TODAY) == (date(2024, 2, 25), date(2024, 2, 27))
    assert preceding(Window.LIFETIME, TODAY) is None


@PATIENT
@given(st.sampled_from(WINDOWS_WITH_PRECEDING), st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_the_preceding_window_has_the_same_length_and_ends_the_day_before(window: Window, today: date) -> None:
    first, last = days(window, today)
    before = preceding(window, today)
    assert first is not None
    assert before is not None
    assert before[1] == first - timedelta(days=1)
    assert before[1] - before[0] == last - first
