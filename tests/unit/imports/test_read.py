"""Whole files: encodings, delimiters, limits, rejected rows and the sums."""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from core.errors import InputError
from engine.imports import source, sums
from engine.imports.dates import DateOrder
from engine.imports.numbers import DecimalMark
from engine.imports.read import Reading, ReadOptions, read_export
from engine.imports.sums import CampaignKey

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Write = Callable[..., Path]

TODAY = date(2024, 1, 15)
GENERIC = "campaign,date,impressions,clicks,spend\n"


def silent(_done: int, _total: int) -> None: ...


def read(path: Path, mapping: Mapping[str, str] | None = None, **options: object) -> Reading:
    return read_export(path, ReadOptions(TODAY, mapping or {}, **options), silent)  # type: ignore[arg-type]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def writer(content: str | bytes, encoding: str = "utf-8") -> Path:
        path = tmp_path / "export.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return writer


def day(reading: Reading, campaign: str, on: date, platform: str = "generic") -> list[Decimal | None]:
    return reading.sums.days[CampaignKey(platform, campaign), on]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_is_read_whatever_its_mark_delimiter_and_line_ends(
    write: Write, encoding: str, delimiter: str, newline: str
) -> None:
    text = f"{GENERIC}Été,31-08-2023,10,1,1.5\nÉté,31-08-2023,5,1,0.25\n"
    reading = read(write(text.replace(",", delimiter).replace("\n", newline), encoding))
    assert day(reading, "Été", date(2023, 8, 31)) == [15, 2, Decimal("1.75"), None, None]
    assert (reading.rows_read, reading.rows_rejected) == (2, 0)


def test_a_semicolon_file_with_decimal_commas_is_read(write: Write) -> None:
    reading = read(
        write('Campaign;Day;Spend, EUR;Impressions\nA;01.08.2023;1.234,56 €;"1.000"\n'), {"spend": "Spend, EUR"}
    )
    assert day(reading, "A", date(2023, 8, 1)) == [1000, None, Decimal("1234.56"), None, None]
    assert reading.sums.campaigns[CampaignKey("generic", "A")].currency == "EUR"


def test_a_column_that_is_absent_or_blank_is_unknown_and_not_zero(write: Write) -> None:
    reading = read(write("campaign,date,spend,conversions\nA,2023-08-01,5,\nA,2023-08-02,5,-\nA,2023-08-02,1,2\n"))
    assert day(reading, "A", date(2023, 8, 1)) == [None, None, 5, None, None]
    assert day(reading, "A", date(2023, 8, 2)) == [None, None, 6, 2, None]
    assert reading.sums.totals()["revenue"] is None


def test_bad_rows_are_rejected_with_the_line_they_start_on_and_the_rest_is_kept(write: Write) -> None:
    rows = [
        "# a comment above the heading",
        GENERIC.strip(),
        "A,31-08-2023,10,1,1.50",
        ",31-08-2023,10,1,1.50",
        '"two\nlines",31-08-2023,10,1,1.50',
        "A,31-08-2023,-10,1,1.50",
        "A,nonsense,10,1,1.50",
        "A,31-08-2023,10,1",
        "A,31-08-2023,,,",
        "",
        "1.2E+14,31-08-2023,10,1,1.50",
        "A,31-08-2023,10,1,1.50,,",
    ]
    reading = read(write("\n".join(rows) + "\n"))
    assert [(rejection.line, rejection.reason) for rejection in reading.rejections] == [
        (4, "campaign: no campaign is named"),
        (5, "campaign: 'two\\nlines' is too long or holds control characters"),
        (7, "impressions: '-10' is negative"),
        (8, "date: 'nonsense' is not a date such as 2023-08-31 or 31-08-2023"),
        (9, "has 4 cells where the heading has 5"),
        (10, "no metric is given"),
        (12, "campaign '1.2E+14' is an id that a spreadsheet has rounded; export it anew"),
    ]
    assert (reading.rows_read, reading.rows_rejected) == (9, 7)
    assert reading.sums.totals()["impressions"] == 20


def test_strict_refuses_the_file_for_one_rejected_row(write: Write) -> None:
    path = write(f"{GENERIC}A,2023-08-01,1,1,1\nA,2023-08-01,x,1,1\n")
    assert read(path).rows_rejected == 1
    with pytest.raises(InputError, match=r"1 rows are rejected.*line 3: impressions: 'x' is not a number"):
        read(path, strict=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (GENERIC.encode(), "no row"),
        (f"{GENERIC}A,x,1,1,1\n".encode(), "all 1 rows are rejected"),
        (f'{GENERIC}"A,2023-08-01,1,1,1\nB,2023-08-01,1,1,1\n'.encode(), "line 2: broken quoting"),
        (f'{GENERIC}"A"x,2023-08-01,1,1,1\n'.encode(), "line 2: broken quoting"),
        (GENERIC.encode("utf-32"), "UTF-32.*iconv"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"\x1f\x8brest", "gunzip"),
        (b"a,b\0\n", "NUL"),
        (b"a" * (source.MAX_LINE + 1), "longer than"),
        (",".join(["x"] * 501).encode(), "501 columns"),
    ],
)
def test_a_file_that_is_no_good_is_refused_with_a_remedy(write: Write, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read(write(content))
    assert caught.value.problems[0].remedy


def test_a_file_above_64_mib_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("wb") as file:
        file.truncate(source.MAX_BYTES + 1)
    with pytest.raises(InputError, match="64 MiB"):
        read(path)


def test_a_path_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "absent.csv")


def test_memory_is_bounded_by_a_limit_of_campaign_days(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "MAX_CAMPAIGN_DAYS", 1)
    with pytest.raises(InputError, match="more than 1 campaign-days"):
        read(write(f"{GENERIC}A,2023-08-01,1,1,1\nB,2023-08-01,1,1,1\n"))


def test_a_row_over_several_days_is_never_booked_on_one(write: Write) -> None:
    text = (
        "Campaign name,Reporting starts,Reporting ends,Impressions\n"
        "A,2023-08-01,2023-08-01,5\nA,2023-08-01,2023-08-31,900\n"
    )
    reading = read(write(text))
    assert day(reading, "A", date(2023, 8, 1), "meta")[0] == 5
    assert "breakdown by day" in reading.rejections[0].reason


def test_two_currencies_of_one_campaign_are_never_added(write: Write) -> None:
    rows = ["A,2023-08-01,5,EUR", "A,2023-08-01,5,USD", "B,2023-08-01,7,USD", "B,2023-08-01,€1,USD"]
    reading = read(write("\n".join(["campaign,date,spend,currency", *rows])))
    assert [rejection.line for rejection in reading.rejections] == [3, 5]
    assert day(reading, "A", date(2023, 8, 1))[2] == 5


def test_a_campaign_carries_its_latest_name_and_the_span_of_its_days(write: Write) -> None:
    text = "Campaign ID,Campaign name,Day,Clicks\n1,New,2023-08-03,1\n1,Old,2023-08-01,1\n"
    facts = read(write(text)).sums.campaigns[CampaignKey("generic", "1")]
    assert (facts.name, facts.first_day, facts.last_day) == ("New", date(2023, 8, 1), date(2023, 8, 3))


def test_the_callers_conventions_reach_the_rows_and_the_default_order_is_told(write: Write) -> None:
    path = write("campaign,date,spend\nA,05/08/2023,1.234\n")
    reading = read(path, mark=DecimalMark.COMMA, order=DateOrder.MONTH_FIRST, platform="tiktok")
    assert day(reading, "A", date(2023, 5, 8), "tiktok")[2] == 1234
    assert reading.notes == ()
    assert "read day-first (line 2: '05/08/2023')" in read(path, mark=DecimalMark.POINT).notes[0]


def test_a_sum_that_would_leave_the_column_is_rejected(write: Write) -> None:
    reading = read(write("campaign,date,impressions\nA,2023-08-01,999999999999\nA,2023-08-01,1\n"))
    assert reading.rows_rejected == 1


def test_progress_ends_at_the_whole(write: Write) -> None:
    seen: list[tuple[int, int]] = []
    path = write(f"{GENERIC}A,2023-08-01,1,1,1\n")
    read_export(path, ReadOptions(TODAY), lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2 * path.stat().st_size,) * 2
    assert seen == sorted(seen)


@pytest.mark.skipif("CMIS_REAL_EXPORT" not in os.environ, reason="CMIS_REAL_EXPORT names no real export")
@pytest.mark.parametrize(("column", "campaigns"), [("fb_campaign_id", 691), ("xyz_campaign_id", 3)])
def test_the_real_export_is_read_whole(column: str, campaigns: int, pytestconfig: pytest.Config) -> None:
    path = pytestconfig.rootpath / os.environ["CMIS_REAL_EXPORT"]
    reading = read(path, {"campaign": column, "conversions": "Total_Conversion"})
    assert (reading.rows_read, reading.rows_rejected) == (1143, 0)
    assert len(reading.sums.campaigns) == campaigns
    assert len({on for _, on in reading.sums.days}) == 31
    spend = reading.sums.totals()["spend"]
    assert spend is not None
    assert round(spend, 2) == Decimal("58705.23")
