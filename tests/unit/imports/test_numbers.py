"""Numbers: one decimal mark per file, every spelling of an amount, and what is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from engine.imports.cells import CellError
from engine.imports.numbers import DecimalMark, Kind, NumberSurvey, iso_currency, parse, readings

POINT, COMMA = DecimalMark.POINT, DecimalMark.COMMA


@pytest.mark.parametrize(
    ("text", "mark", "expected"),
    [
        ("1.234,56", COMMA, "1234.56"),
        ("1,234.56", POINT, "1234.56"),
        ("1 234,56", COMMA, "1234.56"),
        ("1\u00a0234,56", COMMA, "1234.56"),
        ("1\u202f234\u202f567,5", COMMA, "1234567.5"),
        ("1'234.56", POINT, "1234.56"),
        ("1\u2019234.56", POINT, "1234.56"),
        ("12,34,567.50", POINT, "1234567.50"),
        ("1,234,567", POINT, "1234567"),
        ("1.234", POINT, "1.234"),
        ("1.234", COMMA, "1234"),
        (".5", POINT, "0.5"),
        ("0012", POINT, "12"),
        ("1E+05", POINT, "100000"),
        ("1e-05", POINT, "0.00001"),
        ("-0.00", POINT, "0"),
        ("+3", POINT, "3"),
        ("1.429999948", POINT, "1.429999948"),
    ],
)
def test_a_number_is_read_under_the_files_decimal_mark(text: str, mark: DecimalMark, expected: str) -> None:
    assert parse(text, Kind.AMOUNT, mark).amount == Decimal(expected)


@pytest.mark.parametrize(
    ("text", "mark", "expected", "currency"),
    [
        ("$1,234.50", POINT, "1234.50", "$"),
        ("US$ 12.50", POINT, "12.50", "USD"),
        ("$5.00 USD", POINT, "5.00", "USD"),
        ("1.234,56 €", COMMA, "1234.56", "EUR"),
        ("€1.234,56", COMMA, "1234.56", "EUR"),
        ("EUR 12,00", COMMA, "12.00", "EUR"),
        ("12,00 eur", COMMA, "12.00", "EUR"),
        ("R$ 1.234,56", COMMA, "1234.56", "BRL"),
        ("₹12,34,567.50", POINT, "1234567.50", "INR"),
        ("5,00 kr", COMMA, "5.00", "KR"),
        ("12,50 zł", COMMA, "12.50", "PLN"),
        ("Fr. 12.50", POINT, "12.50", "FR."),
        ("12.50", POINT, "12.50", None),
    ],
)
def test_an_amount_may_carry_its_currency(text: str, mark: DecimalMark, expected: str, currency: str | None) -> None:
    money = parse(text, Kind.MONEY, mark)
    assert (money.amount, money.currency) == (Decimal(expected), currency)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("abc", Kind.AMOUNT, "is not a number"),
        ("12%", Kind.AMOUNT, "is not a number"),
        ("1,23,4", Kind.AMOUNT, "is not a number"),
        ("1.2.3", Kind.AMOUNT, "is not a number"),
        (".", Kind.AMOUNT, "is not a number"),
        ("", Kind.AMOUNT, "is not a number"),
        ("١٢", Kind.AMOUNT, "is not a number"),
        ("$12", Kind.COUNT, "is not a number"),
        ("9" * 60, Kind.AMOUNT, "is not a number"),
        ("-5", Kind.COUNT, "is negative"),
        ("\u22125", Kind.COUNT, "is negative"),
        ("(5.00)", Kind.MONEY, "is negative"),
        ("-$5.00", Kind.MONEY, "is negative"),
        ("$-5.00", Kind.MONEY, "is negative"),
        ("NaN", Kind.MONEY, "finite"),
        ("-Infinity", Kind.AMOUNT, "finite"),
        ("1.5", Kind.COUNT, "whole"),
        ("1000000000000", Kind.MONEY, "too large"),
        ("1e99", Kind.AMOUNT, "too large"),
    ],
)
def test_a_bad_number_is_refused_with_its_reason(text: str, kind: Kind, reason: str) -> None:
    with pytest.raises(CellError, match=reason):
        parse(text, kind, POINT)


def survey(*cells: tuple[str, Kind]) -> NumberSurvey:
    found = NumberSurvey()
    for line, (text, kind) in enumerate(cells, 2):
        found.add(line, "Cost", text, kind)
    return found


@pytest.mark.parametrize(
    ("cells", "mark"),
    [
        (["12", "7"], POINT),
        (["1.234", "12,50"], COMMA),
        (["1,234", "12.50"], POINT),
        (["1.234.567"], COMMA),
        (["0.125"], POINT),
        (["1234.567"], POINT),
        (["1 234,567"], COMMA),
        (["€ 1.234,56"], COMMA),
    ],
)
def test_the_whole_file_decides_the_decimal_mark(cells: list[str], mark: DecimalMark) -> None:
    assert survey(*((cell, Kind.MONEY) for cell in cells)).decide(None) is mark


def test_a_count_has_no_fraction_so_its_separator_is_for_thousands() -> None:
    assert survey(("1.234", Kind.COUNT), ("5.125", Kind.MONEY)).decide(None) is COMMA


def test_an_ambiguous_file_is_refused_naming_the_cell_and_the_option() -> None:
    with pytest.raises(InputError, match=r"ambiguous: line 3, Cost: '1\.234'.*--decimal point or --decimal comma"):
        survey(("12", Kind.MONEY), ("1.234", Kind.MONEY)).decide(None)


def test_a_file_that_contradicts_itself_is_refused_naming_both_cells() -> None:
    with pytest.raises(InputError, match=r"line 3, Cost: '1,5'.*line 2, Cost: '1\.5'"):
        survey(("1.5", Kind.MONEY), ("1,5", Kind.MONEY)).decide(None)


def test_the_callers_decimal_mark_wins() -> None:
    assert survey(("1.5", Kind.MONEY), ("1,5", Kind.MONEY)).decide(COMMA) is COMMA


@pytest.mark.parametrize(("sign", "code"), [("EUR", "EUR"), ("$", None), ("KR", None), (None, None), ("€", "EUR")])
def test_only_an_unambiguous_sign_is_a_currency_code(sign: str | None, code: str | None) -> None:
    assert iso_currency(sign) == code


@given(st.decimals(0, 10**11, places=4, allow_nan=False), st.sampled_from(list(DecimalMark)))
def test_every_grouped_rendering_is_read_back(value: Decimal, mark: DecimalMark) -> None:
    text = f"{value:,.4f}"
    if mark is COMMA:
        text = text.translate(str.maketrans(",.", ".,"))
    assert parse(text, Kind.MONEY, mark).amount == value
    assert set(readings(text, Kind.MONEY)) == {mark}
