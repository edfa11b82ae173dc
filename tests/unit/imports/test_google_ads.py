"""Google Ads: downloads from its pages with titles and totals, in the user's language, and the API's field names."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from core.errors import InputError
from engine.imports.columns import resolve
from engine.imports.headings import PRESETS
from engine.imports.numbers import DecimalMark, Kind, parse
from engine.imports.sums import CampaignKey
from tests.unit.imports.files import read_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from engine.imports.read import Reading

DOWNLOAD = [
    ["Campaign performance"],
    ["August 1, 2023 - August 2, 2023"],
    [
        "Campaign state", "Campaign", "Campaign ID", "Day", "Currency code", "Impr.", "Clicks", "CTR", "Avg. CPC",
        "Cost", "Conversions", "Conv. value", "All conv.",
    ],
    [
        "Enabled", "Brand, UK", "111", "2023-08-01", "GBP", "12,345", "67", "0.54%", "1.52", "1,234.56", "3.50",
        "80.00", "9",
    ],
    ["Paused", "Total: shoes", "222", "2023-08-02", "GBP", "10", "0", "0.00%", " --", "0.00", "0.00", " --", "0"],
    ["Total: Campaigns", " --", " --", " --", "GBP", "12,355", "67", "0.54%", "1.52", "1,234.56", "3.50", "80.00", "9"],
    ["Total: Account", " --", " --", " --", "GBP", "12,355", "67", "0.54%", "1.52", "1,234.56", "3.50", "80.00", "9"],
]  # fmt: skip


def table(rows: list[list[str]], delimiter: str = "\t") -> str:
    return "".join(delimiter.join(row) + "\r\n" for row in rows)


def day(reading: Reading, campaign: str, on: date) -> list[Decimal | None]:
    return reading.sums.days[CampaignKey("google", campaign), on]


def test_a_download_is_read_without_its_title_and_totals_and_that_is_told(tmp_path: Path) -> None:
    reading = read_bytes(tmp_path, b"\xff\xfe" + table(DOWNLOAD).encode("utf-16-le"), strict=True)
    assert (reading.layout.preset.name, reading.rows_read, reading.rows_rejected) == ("google_ads", 2, 0)
    assert day(reading, "111", date(2023, 8, 1)) == [12345, 67, Decimal("1234.56"), Decimal("3.5"), 80]
    assert day(reading, "222", date(2023, 8, 2)) == [10, 0, 0, 0, None]
    facts = reading.sums.campaigns[CampaignKey("google", "222")]
    assert (facts.name, facts.currency) == ("Total: shoes", "GBP")
    assert reading.notes == (
        "the heading is in line 3; the report's title above it is left out",
        "2 rows of totals left out",
    )


def test_a_title_with_commas_does_not_hide_the_heading_of_a_comma_file(tmp_path: Path) -> None:
    text = (
        'Campaign report\n"August 1, 2023 - August 2, 2023"\nDay,Campaign,Impr.,Cost\n'
        '2023-08-01,A,"1,000",1.50\nTotal: Account,,"1,000",1.50\n'
    )
    reading = read_bytes(tmp_path, text.encode())
    assert day(reading, "A", date(2023, 8, 1)) == [1000, None, Decimal("1.5"), None, None]
    assert reading.rows_rejected == 0


def test_lines_are_counted_from_the_top_of_the_file_whatever_stands_above_the_heading(tmp_path: Path) -> None:
    text = '"Report, unclosed\n\n# made by hand\nCampaign,Day,Clicks\nA,2023-08-01,x\nB,2023-08-01,1\n'
    reading = read_bytes(tmp_path, text.encode())
    assert [rejection.line for rejection in reading.rejections] == [5]


def test_a_heading_is_not_looked_for_below_the_first_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"its columns are: title"):
        read_bytes(tmp_path, ("title\n" * 10 + "Campaign,Day,Clicks\nA,2023-08-01,1\n").encode())


def test_a_total_that_has_a_day_is_a_row_and_a_short_total_is_none(tmp_path: Path) -> None:
    text = (
        "Campaign,Day,Clicks\nTotal,2023-08-01,1\nA,2023-08-01,1\nTotal : Compte\nGesamt: Konto,--,2\nTotality,--,2\n"
    )
    reading = read_bytes(tmp_path, text.encode())
    assert {key.external_id for key in reading.sums.campaigns} == {"Total", "A"}
    assert [rejection.reason for rejection in reading.rejections] == ["Day: no date is given"]
    assert reading.notes == ("2 rows of totals left out",)


@pytest.mark.parametrize(
    "headings",
    [
        ["campaign.id", "segments.date", "metrics.impressions", "metrics.clicks", "metrics.cost_micros",
         "metrics.conversions", "metrics.conversions_value"],
        ["campaign.id", "segments.date", "metrics.impressions", "metrics.clicks", "metrics.costMicros",
         "metrics.conversions", "metrics.conversionsValue"],
        ["campaign_id", "segments_date", "metrics_impressions", "metrics_clicks", "metrics_cost_micros",
         "metrics_conversions", "metrics_conversions_value"],
        ["campaign_id", "date", "impressions", "clicks", "cost_micros", "conversions", "conversions_value"],
    ],
)  # fmt: skip
def test_the_apis_field_names_are_known_and_micros_are_divided_and_told(tmp_path: Path, headings: list[str]) -> None:
    rows = [headings, ["111", "2023-08-01", "9", "4", "1234567", "0.25", "12.5"]]
    reading = read_bytes(tmp_path, table(rows, ",").encode())
    assert reading.layout.preset.name == "google_ads"
    expected = [9, 4, Decimal("1.234567"), Decimal("0.25"), Decimal("12.5")]
    assert day(reading, "111", date(2023, 8, 1)) == expected
    assert reading.notes == (f"{headings[4]} is in millionths of the currency's unit, and divided by 1,000,000",)


def test_micros_are_whole_and_limited_by_what_they_amount_to() -> None:
    assert parse("999999999999000000", Kind.MICROS, DecimalMark.POINT).amount == Decimal(999999999999)
    assert parse("1,500,000", Kind.MICROS, DecimalMark.POINT).amount == Decimal("1.5")
    for wrong in ("1.5", "1000000000000000000", "-1"):
        with pytest.raises(ValueError, match=r"not a whole number|too large|negative"):
            parse(wrong, Kind.MICROS, DecimalMark.POINT)


def test_a_mapped_column_in_micros_is_divided_too_and_a_plain_one_is_preferred() -> None:
    mapped = resolve(["Campaign", "Day", "my_micros"], {"spend": "my_micros"}, None)
    assert mapped.kinds == {"spend": Kind.MICROS}
    both = resolve(["Campaign", "Day", "Cost", "cost_micros"], {}, None)
    assert (both.heading("spend"), both.kinds) == ("Cost", {"spend": Kind.MONEY})


@pytest.mark.parametrize(
    ("headings", "totals"),
    [
        (["Tag", "Kampagne", "Kampagnen-ID", "Währungscode", "Impr.", "Klicks", "Kosten", "Conversions", "Conv.-Wert"],
         "Gesamt: Konto"),
        (["Día", "Campaña", "ID de campaña", "Código de moneda", "Impr.", "Clics", "Coste", "Conversiones",
          "Valor de conv."], "Total: Cuenta"),
        (["Jour", "Campagne", "ID de campagne", "Code de devise", "Impr.", "Clics", "Coût", "Conversions",
          "Valeur de conv."], "Total : Compte"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-16", "windows-1252"])
def test_headings_in_the_users_language_are_known(
    tmp_path: Path, headings: list[str], totals: str, encoding: str
) -> None:
    rows = [
        headings,
        ["01.08.2023", "Müller", "111", "EUR", "12.345", "67", "1.234,56", "3,50", "80,00"],
        ["13.08.2023", "Müller", "111", "EUR", "1", "1", "1,00", "0,00", "0,00"],
        [totals, "--", "--", "EUR", "12.346", "68", "1.235,56", "3,50", "80,00"],
    ]
    reading = read_bytes(tmp_path, table(rows).encode(encoding))
    assert set(reading.layout.columns) == {
        "campaign", "campaign_name", "date", "impressions", "clicks", "spend", "conversions", "revenue", "currency"
    }  # fmt: skip
    assert day(reading, "111", date(2023, 8, 1)) == [12345, 67, Decimal("1234.56"), Decimal("3.5"), 80]
    assert reading.rows_rejected == 0


def test_an_english_column_of_tags_is_not_the_day() -> None:
    assert resolve(["Tag", "Campaign", "Date", "Cost"], {}, None).heading("date") == "Date"


@pytest.mark.parametrize(
    ("headings", "preset", "platform"),
    [
        (["Campaign", "Day", "Impr.", "Cost"], "google_ads", "google"),
        (["Campaign", "Day", "Impr.", "Spend"], "generic", "generic"),  # Microsoft Advertising
        (["Campaign", "Day", "Clicks", "Cost"], "generic", "generic"),
        (["Campaign", "Day", "Clicks", "Amount spent (EUR)"], "meta_ads", "meta"),
        (["Campaign", "Day", "Clicks", "Amount spent (EUR)", "Conv. value"], "generic", "generic"),  # signs of two
    ],
)
def test_a_preset_is_recognised_by_headings_that_only_its_platform_writes(
    headings: list[str], preset: str, platform: str
) -> None:
    layout = resolve(headings, {}, None)
    assert (layout.preset.name, layout.platform) == (preset, platform)


def test_a_named_preset_and_a_named_platform_win() -> None:
    bare = ["Campaign", "Day", "Clicks", "Platform"]
    google = resolve(bare, {}, None, PRESETS["google_ads"])
    assert (google.platform, google.columns["platform"]) == ("google", "Platform")
    meta = resolve(bare, {}, None, PRESETS["meta_ads"])
    assert meta.platform == "meta"
    assert "platform" not in meta.columns
    assert resolve(["Campaign", "Day", "Impr.", "Cost"], {}, None, PRESETS["generic"]).platform == "generic"
    assert resolve(bare, {}, "shop", PRESETS["google_ads"]).platform == "shop"
