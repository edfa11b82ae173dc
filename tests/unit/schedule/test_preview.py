from __future__ import annotations

from dataclasses import replace

from engine.schedule.preview import rows
from tests.unit.schedule.making import at, cron, recurring

NEW_YORK = "America/New_York"


def test_a_row_has_the_instant_its_local_time_and_what_happened_to_it() -> None:
    assert rows(cron("30 1 * * *", NEW_YORK, dst_fold="both"), at("2026-10-31T12:00"), 3) == [
        {"utc": "2026-11-01T05:30:00Z", "local": "2026-11-01T01:30:00-04:00", "note": "fold_first"},
        {"utc": "2026-11-01T06:30:00Z", "local": "2026-11-01T01:30:00-05:00", "note": "fold_second"},
        {"utc": "2026-11-02T06:30:00Z", "local": "2026-11-02T01:30:00-05:00", "note": None},
    ]


def test_a_time_out_of_a_gap_is_shown_where_it_went() -> None:
    [row] = rows(cron("30 2 * * *", NEW_YORK), at("2026-03-08T00:00"), 1)
    assert row == {"utc": "2026-03-08T07:00:00Z", "local": "2026-03-08T03:00:00-04:00", "note": "gap_moved"}


def test_what_a_policy_leaves_out_is_not_shown() -> None:
    [row] = rows(cron("30 2 * * *", NEW_YORK, dst_gap="skip"), at("2026-03-08T00:00"), 1)
    assert row["utc"] == "2026-03-09T06:30:00Z"
    monthly = recurring("2026-01-31", frequency="monthly", time_of_day="09:00", day_of_month=31)
    assert [row["note"] for row in rows(monthly, at("2026-02-01"), 2)] == ["month_end", None]
    assert [row["note"] for row in rows(replace(monthly, month_end="skip"), at("2026-02-01"), 2)] == [None, None]


def test_a_schedule_that_ends_has_fewer_rows_than_asked_for_and_the_start_of_the_search_is_none() -> None:
    job = recurring("2026-03-01", frequency="daily", end_date="2026-03-03")
    assert [row["utc"][:10] for row in rows(job, at("2026-03-01"), 10)] == ["2026-03-02", "2026-03-03"]
    assert rows(job, at("2026-03-03"), 10) == []


def test_utc_is_written_as_such_in_the_zone_utc_as_well() -> None:
    [row] = rows(cron("0 9 * * *"), at("2026-03-01"), 1)
    assert row == {"utc": "2026-03-01T09:00:00Z", "local": "2026-03-01T09:00:00+00:00", "note": None}
