"""One table, written by each platform's export in each encoding and with each delimiter, is always read the same."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.imports.encodings import Encoding
from tests.effort import some
from tests.unit.imports.files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Table = Sequence["Row"]


class Row(NamedTuple):
    """A row of a platform's export; None = not reported."""

    campaign: str
    day: date
    impressions: int
    clicks: int | None
    spend: Decimal
    conversions: Decimal | None
    revenue: Decimal | None


# In Windows-1252 none of these letters is a byte that continues a character of UTF-8: no name is UTF-8 by chance.
names = st.text("aB7äöüßéñÀ ,;\"'%#.-", max_size=12).map(lambda text: f"C{text}é")
cents = st.decimals(0, 10**9, places=2)
rows = st.builds(
    Row,
    names,
    st.integers(0, 60).map(lambda days: date(2023, 7, 1) + timedelta(days)),
    st.integers(0, 10**9),
    st.none() | st.integers(0, 10**6),
    cents,
    st.none() | st.decimals(0, 10**4, places=2),
    st.none() | cents,
)
tables = st.lists(rows, min_size=1, max_size=8)

Cell = Any
ENCODINGS: dict[str, tuple[bytes, str, Encoding | None]] = {
    "UTF-8": (b"", "utf-8", None),
    "UTF-8 with a mark": (b"\xef\xbb\xbf", "utf-8", None),
    "UTF-16 LE": (b"\xff\xfe", "utf-16-le", None),
    "UTF-16 BE": (b"\xfe\xff", "utf-16-be", None),
    "UTF-16 LE without a mark": (b"", "utf-16-le", None),
    "UTF-16 BE without a mark": (b"", "utf-16-be", None),
    "Windows-1252": (b"", "windows-1252", None),
    "Latin-1 by option": (b"", "latin-1", Encoding.LATIN_1),
}


def point(value: Cell) -> str:
    return "" if value is None else f"{value}"


def grouped(value: Cell) -> str:
    return " --" if value is None else f"{value:,}"


def comma(value: Cell) -> str:
    return "--" if value is None else f"{value:,}".translate(str.maketrans(",.", ".,"))


def generic(table: Table) -> list[list[str]]:
    heading = ["campaign", "date", "impressions", "clicks", "spend", "conversions", "revenue"]
    return [heading, *([row.campaign, row.day.isoformat(), *map(point, row[2:])] for row in table)]


def meta(table: Table) -> list[list[str]]:
    heading = [
        "Campaign name", "Reporting starts", "Reporting ends", "Impressions", "Link clicks", "Amount spent (EUR)",
        "Results", "Purchases conversion value", "Platform",
    ]  # fmt: skip
    return [
        heading,
        *([row.campaign, *[row.day.isoformat()] * 2, *map(point, row[2:]), "instagram"] for row in table),
    ]


def google(table: Table) -> list[list[str]]:
    heading = ["Campaign state", "Campaign", "Day", "Impr.", "Clicks", "CTR", "Cost", "Conversions", "Conv. value"]
    body = [
        ["Enabled", row.campaign, row.day.isoformat(), *map(grouped, row[2:4]), "0.50%", *map(grouped, row[4:])]
        for row in table
    ]
    total = ["Total: Account", " --", " --", "9", "9", "0.50%", "9.00", "9.00", "9.00"]
    return [["Campaign report"], ["July 1, 2023 - August 30, 2023"], heading, *body, total]


def google_german(table: Table) -> list[list[str]]:
    heading = ["Kampagne", "Tag", "Impr.", "Klicks", "Kosten", "Conversions", "Conv.-Wert"]
    body = [[row.campaign, row.day.isoformat(), *map(comma, row[2:])] for row in table]
    return [["Kampagnenbericht"], heading, *body, ["Gesamt: Konto", "--", "9", "9", "9,00", "9,00", "9,00"]]


def google_api(table: Table) -> list[list[str]]:
    heading = [
        "segments.date", "campaign.id", "metrics.impressions", "metrics.clicks", "metrics.cost_micros",
        "metrics.conversions", "metrics.conversions_value",
    ]  # fmt: skip
    body = [
        [
            row.day.isoformat(),
            row.campaign,
            *map(point, row[2:4]),
            str(int(row.spend * 1_000_000)),
            *map(point, row[5:]),
        ]
        for row in table
    ]
    return [heading, *body]


LAYOUTS: dict[str, tuple[Callable[[Table], list[list[str]]], str]] = {
    "generic": (generic, "generic"),
    "meta": (meta, "meta"),
    "google": (google, "google"),
    "google, German": (google_german, "google"),
    "google, API": (google_api, "google"),
}


def expected(table: Table) -> dict[tuple[str, date], list[Decimal | None]]:
    sums: dict[tuple[str, date], list[Decimal | None]] = defaultdict(lambda: [None] * 5)
    for row in table:
        present = sums[row.campaign, row.day]
        for place, value in enumerate(row[2:]):
            if value is not None:
                present[place] = (present[place] or Decimal(0)) + value
    return dict(sums)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@settings(max_examples=some(12), deadline=None)
@given(table=tables)
def test_a_table_reads_the_same_from_every_platform_encoding_and_delimiter(
    directory: Path, layout: str, encoding: str, delimiter: str, table: Table
) -> None:
    lay_out, platform = LAYOUTS[layout]
    mark, codec, forced = ENCODINGS[encoding]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(lay_out(table))
    reading = read_bytes(directory, mark + text.getvalue().encode(codec), encoding=forced, strict=True)
    assert reading.rows_read == len(table)
    assert {key.platform for key in reading.sums.campaigns} == {platform}
    assert {(key.external_id, day): values for (key, day), values in reading.sums.days.items()} == expected(table)
    assert any("windows-1252" in note for note in reading.notes) is (encoding == "Windows-1252")
