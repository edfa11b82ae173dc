"""What is known of metrics at a time, against the definition written out: no look-ahead, the newest of each day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from engine.backtest.history import History, Known, Observation
from tests.unit.rules.strategies import PATIENT

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
FIRST = date(2026, 1, 1)
HOURS = st.integers(0, 240)
VALUES = st.none() | st.decimals(0, 1000, places=6, allow_nan=False, allow_infinity=False)


@st.composite
def days_as_observed(draw: st.DrawFn) -> list[Observation]:
    """Draw days that are observed once, or restated: each observation lasts until the next supersedes it."""
    made = []
    for day in draw(st.lists(st.integers(0, 9), unique=True, max_size=8)):
        hours = sorted(draw(st.lists(HOURS, min_size=1, max_size=4, unique=True)))
        times = [BEGIN + timedelta(hours=hour) for hour in hours]
        for at, until in zip(times, [*times[1:], None], strict=True):
            made.append(Observation(FIRST.toordinal() + day, at, until, (draw(VALUES), draw(VALUES))))
    return draw(st.permutations(made))


def _by_definition(seen: list[Observation], now: datetime, first: int, last: int) -> tuple[object, ...] | None:
    shown = [
        one
        for one in seen
        if first <= one.day <= last
        and one.observed_at <= now
        and (one.superseded_at is None or one.superseded_at > now)
    ]
    if not shown:
        return None
    sums = []
    for metric in range(2):
        given_ = [value for one in shown if (value := one.values[metric]) is not None]
        sums.append(sum(given_, Decimal(0)) if given_ else None)
    return (*sums, max(one.observed_at for one in shown))


@PATIENT
@given(days_as_observed(), st.lists(HOURS, min_size=1, max_size=8), st.data())
def test_sums_are_those_of_the_rows_that_exist_at_the_time(
    seen: list[Observation], hours: list[int], data: st.DataObject
) -> None:
    campaign = UUID(int=1)
    known = Known(History(("spend", "clicks"), {campaign: seen}))
    for hour in sorted(hours):
        now = BEGIN + timedelta(hours=hour)
        known.advance(now)
        for _ in range(3):
            low, high = data.draw(st.integers(-1, 10)), data.draw(st.integers(-1, 10))
            first, last = FIRST + timedelta(days=low), FIRST + timedelta(days=high)
            expected = _by_definition(seen, now, first.toordinal(), last.toordinal())
            found = known.sums(campaign, first, last)
            assert (found and (found.values["spend"], found.values["clicks"], found.observed_at)) == expected


def test_an_unknown_campaign_has_no_sums() -> None:
    assert Known(History(("spend",), {})).sums(UUID(int=1), FIRST, FIRST) is None


def test_some_campaigns_alone_are_followed_where_only_they_are_asked_for() -> None:
    one = Observation(FIRST.toordinal(), BEGIN, None, (Decimal(1),))
    history = History(("spend",), {UUID(int=1): [one], UUID(int=2): [one]})
    known = Known(history, [UUID(int=2)])
    known.advance(BEGIN)
    assert known.sums(UUID(int=1), FIRST, FIRST) is None
    assert known.sums(UUID(int=2), FIRST, FIRST) is not None
