"""Wall times of cron expressions against the library that reads their fields: on naive times it is right."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

import pytest
from croniter import croniter

from engine.schedule import crons
from engine.schedule.wall import HORIZON
from tests.unit.schedule.expressions import generated
from tests.unit.schedule.test_cron_oracles import EXPRESSIONS

STARTS = ("2023-12-31T23:59:00", "2024-02-28T23:30:30", "2026-07-15T12:00:00", "2099-12-30T00:00:59.999999")


def after(expression: str, start: datetime, count: int) -> list[datetime]:
    return [wall.at for wall in islice(crons.read(expression).after(start), count)]


@pytest.mark.parametrize("start", STARTS)
def test_stepping_agrees_with_the_librarys_on_naive_times(start: str) -> None:
    moment = datetime.fromisoformat(start)
    for expression in (*generated(200, seed=7), *EXPRESSIONS):
        library = croniter(expression, moment, implement_cron_bug=True)
        assert after(expression, moment, 8) == [library.get_next(datetime) for _ in range(8)], expression


def test_a_day_that_comes_every_28_years_is_found() -> None:
    assert after("0 0 29 2 */7", datetime(2026, 1, 1), 3) == [  # noqa: DTZ001 - a wall time
        datetime(2032, 2, 29),  # noqa: DTZ001 - a wall time
        datetime(2060, 2, 29),  # noqa: DTZ001 - a wall time
        datetime(2088, 2, 29),  # noqa: DTZ001 - a wall time
    ]


@pytest.mark.timeout(5)
@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "* * 31 4 */7"])
def test_a_search_for_what_never_comes_ends(expression: str) -> None:
    assert after(expression, datetime(1970, 1, 1), 1) == []  # noqa: DTZ001 - a wall time


def test_the_last_minute_before_the_horizon_is_the_last() -> None:
    start = HORIZON - timedelta(minutes=2)
    assert after("* * * * *", start, 5) == [HORIZON - timedelta(minutes=1)]


def test_expressions_that_mean_the_same_are_one_calendar() -> None:
    assert crons.read("@daily") == crons.read(" 0  0 * * * ") == crons.read("0 0 * * *")
    assert crons.read("0 0 * * MON") != crons.read("0 0 * * TUE")
