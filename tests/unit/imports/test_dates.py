"""Dates: one order per file; a day-first file is never read month-first row by row, nor the other way round."""

from __future__ import annotations

from datetime import date

import pytest

from core.errors import InputError
from engine.imports.cells import CellError
from engine.imports.dates import DateOrder, DateSurvey, parse

DAY, MONTH = DateOrder.DAY_FIRST, DateOrder.MONTH_FIRST
TODAY = date(2024, 1, 15)


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("31-08-2023", DAY, date(2023, 8, 31)),
        ("31/08/2023", DAY, date(2023, 8, 31)),
        ("31.08.2023", DAY, date(2023, 8, 31)),
        ("1/8/2023", DAY, date(2023, 8, 1)),
        ("1/8/2023", MONTH, date(2023, 1, 8)),
        ("2023-08-31", MONTH, date(2023, 8, 31)),
        ("2023/08/31", DAY, date(2023, 8, 31)),
        ("2023-08-31 00:00:00", DAY, date(2023, 8, 31)),
        ("2023-08-31T00:00:00", DAY, date(2023, 8, 31)),
    ],
)
def test_a_day_is_read_in_the_files_order(text: str, order: DateOrder, expected: date) -> None:
    assert parse(text, order, TODAY) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("31-02-2023", "no day of the calendar"),
        ("2023-13-01", "no day of the calendar"),
        ("01-13-2023", "no day of the calendar"),
        ("31-08-23", "is not a date"),
        ("31-08/2023", "is not a date"),
        ("Total", "is not a date"),
        ("2023-08-31 14:00:00", "is not a date"),
        ("45169", "is not a date"),
        ("1999-12-31", "outside"),
        ("16-01-2024", "outside"),
    ],
)
def test_a_bad_day_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(CellError, match=reason):
        parse(text, DAY, TODAY)


def survey(*texts: str) -> DateSurvey:
    found = DateSurvey()
    for line, text in enumerate(texts, 2):
        found.add(line, text)
    return found


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["01-08-2023", "31-08-2023"], DAY),
        (["08/01/2023", "08/31/2023"], MONTH),
        (["2023-08-01"], DAY),
        (["01/08/2023", "02/08/2023"], DAY),
        (["05/08/2023"], DAY),
        (["05/05/2023"], DAY),
    ],
)
def test_the_whole_file_decides_the_order(texts: list[str], order: DateOrder) -> None:
    assert survey(*texts).decide(None) is order


def test_a_week_of_us_dates_is_refused_rather_than_spread_over_months() -> None:
    with pytest.raises(InputError, match=r"line 2: '08/01/2023'.*--date-order day-first or --date-order month-first"):
        survey("08/01/2023", "08/02/2023", "08/03/2023").decide(None)


def test_dates_that_contradict_each_other_are_refused_naming_both() -> None:
    with pytest.raises(InputError, match=r"line 2: '31/08/2023'.*line 3: '08/31/2023'"):
        survey("31/08/2023", "08/31/2023").decide(None)


def test_the_callers_order_wins() -> None:
    assert survey("31/08/2023").decide(MONTH) is MONTH


def test_an_order_that_only_the_default_decides_is_told() -> None:
    assert survey("05/08/2023").assumed == "line 2: '05/08/2023'"
    assert survey("05/08/2023", "31/08/2023").assumed is None
