from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.cli.running import Cmis, Done

if TYPE_CHECKING:
    from collections.abc import Callable

    Preview = Callable[..., Done]

DOCS = Path(__file__).resolve().parents[3] / "docs" / "schedules.md"
NEW_YORK = ("--tz", "America/New_York")


@pytest.fixture
def preview(capsys: pytest.CaptureFixture[str]) -> Preview:
    return lambda *arguments: Cmis(capsys, {})("schedules", "preview", *arguments)


def recurring(**columns: object) -> tuple[str, str]:
    return "--recurring", json.dumps(columns)


def utc(done: Done) -> list[str]:
    return [row["utc"] for row in done.json]


def test_a_cron_across_the_repeated_hour_fires_once_and_twice_with_the_policy(preview: Preview) -> None:
    asked = ("--cron", "30 1 * * *", *NEW_YORK, "--from", "2026-10-31T12:00", "--count", "2", "--json")
    assert preview(*asked).json == [
        {"utc": "2026-11-01T05:30:00Z", "local": "2026-11-01T01:30:00-04:00", "note": "fold_first"},
        {"utc": "2026-11-02T06:30:00Z", "local": "2026-11-02T01:30:00-05:00", "note": None},
    ]
    assert preview(*asked, "--policy", "dst_fold=both").json == [
        {"utc": "2026-11-01T05:30:00Z", "local": "2026-11-01T01:30:00-04:00", "note": "fold_first"},
        {"utc": "2026-11-01T06:30:00Z", "local": "2026-11-01T01:30:00-05:00", "note": "fold_second"},
    ]


def test_a_cron_in_the_missing_hour_fires_when_it_ends_or_not_at_all(preview: Preview) -> None:
    asked = ("--cron", "30 2 * * *", *NEW_YORK, "--from", "2026-03-08T00:00", "--count", "1", "--json")
    assert preview(*asked).json == [
        {"utc": "2026-03-08T07:00:00Z", "local": "2026-03-08T03:00:00-04:00", "note": "gap_moved"}
    ]
    assert utc(preview(*asked, "--policy", "dst_gap=skip")) == ["2026-03-09T06:30:00Z"]


def test_a_monthly_recurrence_on_the_31st(preview: Preview) -> None:
    asked = (*recurring(frequency="monthly", day_of_month=31, time_of_day="09:00"), "--tz", "UTC", "--json")
    found = preview(*asked, "--from", "2026-01-31T09:00", "--count", "3").json
    assert [(row["utc"], row["note"]) for row in found] == [
        ("2026-02-28T09:00:00Z", "month_end"),
        ("2026-03-31T09:00:00Z", None),
        ("2026-04-30T09:00:00Z", "month_end"),
    ]
    skipping = preview(*asked, "--from", "2026-01-31T09:00", "--count", "2", "--policy", "month_end=skip")
    assert utc(skipping) == ["2026-03-31T09:00:00Z", "2026-05-31T09:00:00Z"]


def test_policies_may_stand_in_the_recurrence(preview: Preview) -> None:
    done = preview(
        *recurring(frequency="daily", time_of_day="01:30", dst_fold="both"),
        *NEW_YORK,
        "--from",
        "2026-11-01T00:00",
        "--count",
        "2",
        "--json",
    )
    assert [row["note"] for row in done.json] == ["fold_first", "fold_second"]


def test_a_recurrence_without_a_start_counts_from_the_start_of_the_search(preview: Preview) -> None:
    done = preview(*recurring(frequency="hourly", interval=6), *NEW_YORK, "--from", "2020-01-01T10:00Z", "--json")
    assert utc(done)[:2] == ["2020-01-01T16:00:00Z", "2020-01-01T22:00:00Z"]
    weekly = preview(
        *recurring(frequency="weekly", interval=2), "--tz", "Europe/Berlin", "--from", "2026-11-05T07:30", "--json"
    )
    assert [row["local"] for row in weekly.json][:2] == ["2026-11-19T07:30:00+01:00", "2026-12-03T07:30:00+01:00"]


def test_a_recurrence_counts_from_its_start_wherever_the_search_begins(preview: Preview) -> None:
    columns = {"frequency": "daily", "interval": 3, "start_date": "2026-01-01T09:00", "end_date": "2026-01-10T09:00"}
    found = preview(*recurring(**columns), "--tz", "UTC", "--from", "2026-01-04T09:00", "--json")
    assert utc(found) == ["2026-01-07T09:00:00Z", "2026-01-10T09:00:00Z"]
    assert utc(preview(*recurring(**columns), "--tz", "UTC", "--from", "2026-02-01", "--json")) == []
    assert len(preview(*recurring(**columns), "--tz", "UTC", "--from", "2025-12-01", "--json").json) == 4


def test_a_search_may_begin_in_the_past_and_its_beginning_is_left_out(preview: Preview) -> None:
    done = preview("--cron", "0 9 * * *", "--tz", "UTC", "--from", "2001-02-03T09:00", "--count", "1", "--json")
    assert utc(done) == ["2001-02-04T09:00:00Z"]


def test_without_more_ten_times_from_now_on_are_shown(preview: Preview) -> None:
    found = utc(preview("--cron", "* * * * *", "--tz", "UTC", "--json"))
    assert len(found) == 10
    assert timedelta(0) < datetime.fromisoformat(found[0]) - datetime.now(UTC) + timedelta(minutes=1)
    assert len(utc(preview("--cron", "* * * * *", "--tz", "UTC", "--count", "1000", "--json"))) == 1000


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("2026-03-01", "2026-03-01T05:01:00Z"),
        ("2026-03-01T12:00", "2026-03-01T17:01:00Z"),
        ("2026-03-01T12:00Z", "2026-03-01T12:01:00Z"),
        ("2026-03-01T12:00:30.5+01:00", "2026-03-01T11:01:00Z"),
        ("2026-03-08T02:30", "2026-03-08T07:01:00Z"),  # in the gap: its end
        ("2026-11-01T01:30", "2026-11-01T05:31:00Z"),  # in the fold: the first reading
    ],
)
def test_a_time_without_an_offset_is_local(preview: Preview, text: str, first: str) -> None:
    done = preview("--cron", "* * * * *", *NEW_YORK, "--from", text, "--count", "1", "--json")
    assert utc(done) == [first]


def test_people_see_a_table_with_what_happened(preview: Preview) -> None:
    asked = (*NEW_YORK, "--from", "2026-11-01T00:00", "--count", "3")
    done = preview("--cron", "30 1 * * *", *asked, "--policy", "dst_fold=both")
    assert done.code == 0
    assert "Sun 2026-11-01 01:30:00-04:00 │ 2026-11-01 05:30:00Z │ first of two: the clocks go back" in done.out
    assert "Sun 2026-11-01 01:30:00-05:00 │ 2026-11-01 06:30:00Z │ second of two: the clocks went back" in done.out
    assert "Mon 2026-11-02 01:30:00-05:00 │ 2026-11-02 06:30:00Z │" in done.out
    gap = preview("--cron", "30 2 * * *", *NEW_YORK, "--from", "2026-03-08", "--count", "1")
    assert "moved: the clocks pass over its time" in gap.out
    short = preview(*recurring(frequency="monthly", day_of_month=31), "--tz", "UTC", "--from", "2026-02-01")
    assert "last day: the month is shorter" in short.out


def test_people_are_told_when_a_schedule_is_over(preview: Preview) -> None:
    done = preview(
        *recurring(frequency="daily", start_date="2026-01-01", end_date="2026-01-03"),
        "--tz",
        "UTC",
        "--from",
        "2026-02-01",
    )
    assert (done.code, done.out) == (0, "Next times in UTC: none. The schedule is over.\n")


def test_every_policy_of_a_job_is_accepted(preview: Preview) -> None:
    given = {
        "misfire": "all",
        "misfire_grace_seconds": "60",
        "overlap": "allow",
        "jitter_seconds": "0",
        "max_executions": "2",
        "timeout_seconds": "3600",
        "pause_on_failure_count": "3",
        "dst_gap": "skip",
        "dst_fold": "first",
        "month_end": "last_day",
    }
    options = [word for name, value in given.items() for word in ("--policy", f"{name}={value}")]
    done = preview("--cron", "0 9 * * *", "--tz", "UTC", *options, "--json")
    assert len(done.json) == 10


CRON = ("--cron", "0 9 * * *")
UTC_ZONE = ("--tz", "UTC")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((*UTC_ZONE,), ["schedule:", "--cron", "--recurring"]),
        ((*CRON, *recurring(frequency="daily"), *UTC_ZONE), ["schedule:", "--cron", "--recurring"]),
        ((*CRON,), ["--tz"]),
        ((*CRON, "--tz", "Mars/Olympus"), ["--tz: unknown time zone 'Mars/Olympus'"]),
        ((*CRON, "--tz", "Mars/Olympus", "--from", "2026-01-01"), ["--tz: unknown time zone 'Mars/Olympus'"]),
        (("--cron", "0 9 * *", *UTC_ZONE), ["--cron: has 4 fields instead of 5"]),
        (("--cron", "61 25 * * *", *UTC_ZONE), ["--cron: minute '61'", "--cron: hour '25'"]),
        (("--cron", "0 0 30 2 *", *UTC_ZONE), ["--cron: never fires"]),
        (("--cron", "", *UTC_ZONE), ["--cron: has 0 fields"]),
        ((*CRON, *UTC_ZONE, "--count", "0"), ["--count", "1<=x<=1000"]),
        ((*CRON, *UTC_ZONE, "--count", "1001"), ["--count", "1<=x<=1000"]),
        ((*CRON, *UTC_ZONE, "--count", "many"), ["--count"]),
        ((*CRON, *UTC_ZONE, "--from", "soon"), ["--from: 'soon' is no time"]),
        ((*CRON, *UTC_ZONE, "--from", "9999-12-31"), ["--from: '9999-12-31' is out of range"]),
        ((*CRON, *UTC_ZONE, "--policy", "dst_gab=skip"), ["--policy: 'dst_gab' is no policy", "dst_gap", "misfire"]),
        ((*CRON, *UTC_ZONE, "--policy", "dst_gap"), ["--policy: 'dst_gap' has no value", "dst_gap=VALUE"]),
        (
            (*CRON, *UTC_ZONE, "--policy", "dst_gap=jump"),
            ["--policy dst_gap: 'jump' is not known", "next_valid, skip"],
        ),
        (
            (*CRON, *UTC_ZONE, "--policy", "dst_gap=skip", "--policy", "dst_gap=skip"),
            ["--policy: dst_gap is given twice"],
        ),
        ((*CRON, *UTC_ZONE, "--policy", "timeout_seconds=0"), ["--policy timeout_seconds: 0", "from 1 to 3600"]),
        ((*CRON, *UTC_ZONE, "--policy", "jitter_seconds=1e3"), ["--policy jitter_seconds: '1e3'", "from 0 to 3600"]),
        ((*CRON, *UTC_ZONE, "--policy", "jitter_seconds=" + "9" * 5000), ["--policy jitter_seconds:"]),
        ((*CRON, *UTC_ZONE, "--policy", "month_end=skip"), ["--policy month_end: 'skip' would mean nothing"]),
        (
            ("--cron", "* * * * *", *UTC_ZONE, "--policy", "dst_fold=both"),
            ["--policy dst_fold: 'both' would mean nothing"],
        ),
        ((*CRON, *UTC_ZONE, "--policy", "colour=red", "--policy", "shape"), ["'colour' is no policy", "'shape'"]),
        (("--recurring", "", *UTC_ZONE), ["--recurring: is empty"]),
        (("--recurring", "{", *UTC_ZONE), ["--recurring: is no JSON", "line 1, column 2"]),
        (("--recurring", "[" * 100_000, *UTC_ZONE), ["--recurring: is nested too deep"]),
        (("--recurring", "[]", *UTC_ZONE), ["--recurring: cannot be a list"]),
        (("--recurring", '{"interval": NaN}', *UTC_ZONE), ["--recurring: NaN is no JSON number"]),
        (("--recurring", '{"a": 1, "a": 2}', *UTC_ZONE), ["--recurring: the key 'a' stands twice"]),
        (("--recurring", "{}", *UTC_ZONE), ["frequency: is missing"]),
        ((*recurring(frequency="yearly"), *UTC_ZONE), ["frequency: 'yearly' is not known"]),
        ((*recurring(frequency="daily", interval=0), *UTC_ZONE), ["interval: 0 is no whole number from 1 to 10000"]),
        ((*recurring(frequency="daily", interval=True), *UTC_ZONE), ["interval: true is no whole number"]),
        ((*recurring(frequency="daily", time_of_day="25:00"), *UTC_ZONE), ["time_of_day: '25:00' is no time of day"]),
        ((*recurring(frequency="weekly", days_of_week=[7, True]), *UTC_ZONE), ["days_of_week:"]),
        ((*recurring(frequency="monthly", day_of_month=32), *UTC_ZONE), ["day_of_month: 32 is no day of a month"]),
        ((*recurring(frequency="daily", colour="red"), *UTC_ZONE), ["colour: is no field of a schedule"]),
        ((*recurring(frequency="daily", cron_expression="* * * * *"), *UTC_ZONE), ["cron_expression: does not belong"]),
        ((*recurring(schedule_type="once", start_date="2026-01-01"), *UTC_ZONE), ["schedule_type: 'once'"]),
        ((*recurring(frequency="daily", timezone="Europe/Berlin"), *UTC_ZONE), ["timezone: 'Europe/Berlin'"]),
        (
            (*recurring(frequency="daily", dst_gap="skip"), *UTC_ZONE, "--policy", "dst_gap=skip"),
            ["--policy dst_gap: stands in --recurring, too"],
        ),
        (
            (*recurring(frequency="daily", start_date="2026-03-02", end_date="2026-03-01"), *UTC_ZONE),
            ["end_date: is before start_date"],
        ),
        (
            (
                *recurring(
                    frequency="monthly", start_date="2026-02-01", interval=12, day_of_month=31, month_end="skip"
                ),
                *UTC_ZONE,
            ),
            ["month_end:", "none of its months has a day 31"],
        ),
    ],
    ids=itertools.count(),
)
@pytest.mark.timeout(10)
def test_bad_input_is_refused_and_named(preview: Preview, arguments: tuple[str, ...], said: list[str]) -> None:
    done = preview(*arguments, "--json")
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err
    for words in said:
        assert words in done.err
    assert len(done.err) < 2000


def test_several_problems_are_told_at_once(preview: Preview) -> None:
    columns: dict[str, Any] = {"frequency": "weekly", "interval": -1, "days_of_week": [], "dst_fold": 1}
    done = preview(*recurring(**columns), *UTC_ZONE, "--policy", "misfire=never")
    assert done.code == 2
    assert [line.split(":")[0] for line in done.err.splitlines()] == [
        "error --policy misfire",
        "error interval",
        "error days_of_week",
        "error dst_fold",
    ]


def test_the_documents_show_what_is_printed(preview: Preview) -> None:
    section = DOCS.read_text(encoding="utf-8").partition("## Preview")[2].partition("\n## ")[0]
    blocks = re.findall(r"```(?:sh|text|json)\n(.*?)```", section, re.DOTALL)
    for command, printed in zip(blocks[::2], blocks[1::2], strict=True):
        done = preview(*shlex.split(command.replace("\\\n", " "))[3:])
        assert [line.rstrip() for line in done.out.splitlines()] == printed.splitlines()
    assert len(blocks) == 4


def test_no_variable_of_the_environment_is_needed() -> None:
    command = Path(sys.executable).parent / "cmis"
    asked = ["schedules", "preview", *CRON, "--tz", "Europe/Berlin", "--from", "2026-03-28T12:00", "--json"]
    environ = {"PATH": os.environ["PATH"]}
    done = subprocess.run([command, *asked], capture_output=True, text=True, check=False, env=environ, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)[0]["utc"] == "2026-03-29T07:00:00Z"
