"""Columns: known headings, the caller's mapping, and errors that list what may be meant."""

from __future__ import annotations

import pytest

from core.errors import InputError
from engine.imports.columns import is_heading, parse_mapping, resolve

META = ["Campaign name", "Campaign ID", "Day", "Amount spent (EUR)", "Impressions", "Link clicks", "Clicks (all)"]
REAL = [
    "Date",
    "ad_id",
    "xyz_campaign_id",
    "fb_campaign_id",
    "age",
    "gender",
    "interest",
    "Impressions",
    "Clicks",
    "Spent",
    "Total_Conversion",
    "Approved_Conversion",
]


def test_a_meta_export_needs_no_mapping() -> None:
    layout = resolve([*META, "Results", "Purchases conversion value", "Platform"], {}, None)
    assert layout.columns == {
        "campaign": "Campaign ID",
        "campaign_name": "Campaign name",
        "date": "Day",
        "impressions": "Impressions",
        "clicks": "Link clicks",
        "spend": "Amount spent (EUR)",
        "conversions": "Results",
        "revenue": "Purchases conversion value",
    }
    assert (layout.currency, layout.platform) == ("EUR", "meta")


def test_generic_columns_need_no_mapping() -> None:
    layout = resolve(["DATE", "campaign", "Cost", "clicks", "conversions", "revenue", "platform"], {}, None)
    assert set(layout.columns) == {
        "campaign", "campaign_name", "date", "spend", "clicks", "conversions", "revenue", "platform"
    }  # fmt: skip
    assert layout.platform == "generic"


def test_reporting_starts_is_the_day_and_reporting_ends_guards_it() -> None:
    layout = resolve(["Campaign name", "Reporting starts", "Reporting ends", "Impressions"], {}, None)
    assert (layout.heading("date"), layout.period_end) == ("Reporting starts", 2)


def test_the_mapping_wins_and_a_mapped_column_holds_nothing_else() -> None:
    layout = resolve(["Campaign", "Day", "Clicks", "Impressions"], {"conversions": "Clicks"}, None)
    assert layout.columns["conversions"] == "Clicks"
    assert "clicks" not in layout.columns


def test_a_mapped_column_is_found_without_case() -> None:
    assert resolve(REAL, {"campaign": "FB_Campaign_ID"}, None).heading("campaign") == "fb_campaign_id"


def test_candidates_for_the_campaign_are_listed_with_the_mapping_to_give() -> None:
    with pytest.raises(InputError) as caught:
        resolve(REAL, {}, None)
    assert "xyz_campaign_id, fb_campaign_id" in str(caught.value)
    assert "--map fb_campaign_id=campaign" in str(caught.value)
    assert "ad_id" not in str(caught.value)


def test_everything_that_is_missing_is_reported_at_once() -> None:
    with pytest.raises(InputError) as caught:
        resolve(["a", "b"], {}, None)
    assert len(caught.value.problems) == 3
    assert "a, b" in str(caught.value)


def test_two_columns_of_the_same_meaning_are_ambiguous() -> None:
    with pytest.raises(InputError, match=r'Spend, Cost \(EUR\).*--map Spend=spend or --map "Cost \(EUR\)=spend"'):
        resolve(["Campaign", "Day", "Spend", "Cost (EUR)"], {}, None)


def test_two_columns_of_one_heading_need_headings_of_their_own_and_nothing_else() -> None:
    with pytest.raises(InputError) as caught:
        resolve(["campaign", "date", "spend", "spend"], {}, None)
    [problem] = caught.value.problems
    assert str(problem) == (
        "file: several columns that may hold the spend are headed 'spend' (give each column a heading of its own)"
    )


def test_an_unknown_mapped_column_lists_the_files_columns() -> None:
    with pytest.raises(InputError, match=r"no column 'Budget'.*Campaign, Day, Clicks"):
        resolve(["Campaign", "Day", "Clicks"], {"spend": "Budget"}, None)


def test_mappings_are_parsed_with_equal_signs_in_the_column() -> None:
    assert parse_mapping(["a=b=spend", "Total_Conversion=conversions"]) == {
        "spend": "a=b",
        "conversions": "Total_Conversion",
    }


def test_every_bad_mapping_is_reported() -> None:
    with pytest.raises(InputError) as caught:
        parse_mapping(["Spent", "Spent=money", "=spend", "a=date", "b=date"])
    messages = [problem.message for problem in caught.value.problems]
    assert len(messages) == 4
    assert "'money' is no field" in messages
    assert "date is mapped twice" in messages


@pytest.mark.parametrize(
    ("cells", "mapping", "expected"),
    [
        (["Campaign", "Day"], {}, True),
        (["Campaign"], {}, False),
        (["Campaign", "Campaign", "x"], {}, False),
        (["Campaign report", "August 1", "2023"], {}, False),
        (["Werbung", "Day", "x"], {"campaign": "werbung"}, True),
        (["Werbung (EUR)", "Day"], {"spend": "Werbung (EUR)"}, True),
        (["Werbung", "Day"], {"campaign": "Aktion"}, False),
        ([], {}, False),
    ],
)
def test_a_line_is_the_heading_if_two_of_its_columns_are_known_or_mapped(
    *, cells: list[str], mapping: dict[str, str], expected: bool
) -> None:
    assert is_heading(cells, mapping) is expected
