from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InputError
from engine.schedule import policies, stored
from engine.schedule.definition import Schedule, parse, parse_job
from engine.schedule.occurrences import next_occurrence
from models.schedules import ScheduledJob
from tests.effort import some
from tests.unit.schedule.making import at

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 1, 15, 10, 23, 45, 678, tzinfo=UTC)


def problems(document: dict[str, object]) -> dict[str, str]:
    """Return message and remedy of each problem by its field."""
    with pytest.raises(InputError) as refusal:
        parse(document, now=NOW)
    assert all(problem.remedy for problem in refusal.value.problems)
    return {problem.field: f"{problem.message}; {problem.remedy}" for problem in refusal.value.problems}


def cron(expression: object) -> dict[str, object]:
    return {"schedule_type": "cron", "cron_expression": expression}


def test_a_cron_is_read() -> None:
    schedule = parse({**cron(" 30 9 * * 1-5 "), "timezone": "Europe/Berlin", "end_date": None}, now=NOW)
    assert schedule == Schedule(
        schedule_type="cron",
        cron_expression="30 9 * * 1-5",
        timezone="Europe/Berlin",
        anchor=NOW.replace(microsecond=0),
    )


def test_a_recurrence_is_read() -> None:
    document = {
        "schedule_type": "recurring",
        "frequency": "weekly",
        "interval": 2,
        "time_of_day": "09:30",
        "days_of_week": [4, 1, 4],
        "timezone": "America/New_York",
        "start_date": "2026-03-01T00:00",
        "end_date": "2026-12-31T00:00+01:00",
    }
    assert parse(document, now=NOW) == Schedule(
        schedule_type="recurring",
        frequency="weekly",
        interval=2,
        time_of_day=time(9, 30),
        days_of_week=(1, 4),
        timezone="America/New_York",
        start_date=at("2026-03-01T05:00"),
        end_date=at("2026-12-30T23:00"),
        anchor=at("2026-03-01T05:00"),
    )


def test_what_a_recurrence_leaves_open_comes_from_its_anchor_in_its_zone() -> None:
    document = {"start_date": "2026-03-08T01:30Z", "timezone": "America/New_York"}
    daily = parse({"frequency": "daily", **document}, now=NOW)
    weekly = parse({"frequency": "weekly", **document}, now=NOW)
    monthly = parse({"frequency": "monthly", **document}, now=NOW)
    assert (daily.time_of_day, daily.interval) == (time(20, 30), 1)
    assert (weekly.days_of_week, weekly.time_of_day) == ((6,), time(20, 30))
    assert (monthly.day_of_month, monthly.time_of_day) == (7, time(20, 30))
    assert parse({"frequency": "daily"}, now=NOW).time_of_day == time(10, 23, 45)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01", "2026-03-01T05:00"),
        ("2026-03-01T09:00Z", "2026-03-01T09:00"),
        ("2026-03-08T02:30", "2026-03-08T07:00"),  # a gap: when it ends
        ("2026-11-01T01:30", "2026-11-01T05:30"),  # a fold: the first
        (datetime(2026, 3, 1, 9, 0, 0, 5), "2026-03-01T14:00"),  # noqa: DTZ001 - naive on purpose
        (datetime(2026, 3, 1, 9, tzinfo=timezone(timedelta(hours=1))), "2026-03-01T08:00"),
    ],
)
def test_a_time_without_an_offset_is_local_to_the_jobs_zone(text: object, expected: str) -> None:
    schedule = parse({"schedule_type": "once", "start_date": text, "timezone": "America/New_York"}, now=NOW)
    assert schedule.start_date == at(expected) == schedule.anchor


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("0 0 * * * *", "6 fields"),
        ("0 0 1 1 * * 2030", "7 fields"),
        ("* * *", "3 fields"),
        ("", "0 fields"),
        ("60 * * * *", "minute '60' is out of range; use 0-59"),
        ("* 24 * * *", "hour '24' is out of range"),
        ("* * 0 * *", "day of month '0' is out of range"),
        ("* * 32 * *", "day of month '32' is out of range"),
        ("* * * 13 *", "month '13' is out of range"),
        ("* * * * 8", "day of week '8' is out of range"),
        ("5-5 * * * *", "from a value to itself"),
        ("* * * jan-1 *", "from a value to itself"),
        ("* * * * 7-sun", "from a value to itself"),
        ("* * * * 1/2", "a start with a step"),
        ("0 22-6/2 * * *", "backwards range with a step"),
        ("R * * * *", "random"),
        ("H H(0-3) * * *", "hashed"),
        ("* * ? * *", "instead of '?'"),
        ("*/0 * * * *", "a step of 0"),
        ("* * L-3 * *", "not understood"),
        ("* * 15W * *", "nearest weekdays"),
        ("* * * * 5L", "last and nearest"),
        ("* * * * 1#2", "nth"),
        ("* * * foo *", "not understood"),
        ("-1 * * * *", "not understood"),
        ("1,,2 * * * *", "not understood"),
        ("٣ * * * *", "not understood"),
        ("@reboot", "unknown name"),
        ("1," * 200 + "1 * * * *", "longer than"),
        (5, "no text"),
        ("0 0 30 2 *", "never fires"),
        ("0 0 31 4,6 *", "never fires"),
    ],
)
def test_a_cron_that_is_refused_says_why(expression: object, reason: str) -> None:
    found = problems(cron(expression))
    assert set(found) == {"cron_expression"}
    assert reason in found["cron_expression"]


@pytest.mark.parametrize(
    "expression",
    ["@daily", "@HOURLY", "0 0 L * *", "0 0 * JAN-mar MON,fri", "0 22-6 * * *", "5/15 * * * *", "\t0  0 * * 7"],
)
def test_a_cron_of_the_grammar_is_accepted(expression: str) -> None:
    assert parse(cron(expression), now=NOW).cron_expression == expression.strip()


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "schedule_type"),
        ({"schedule_type": "yearly"}, "schedule_type"),
        ({"schedule_type": "recurring"}, "frequency"),
        ({"frequency": "yearly"}, "frequency"),
        ({"schedule_type": "cron"}, "cron_expression"),
        ({"schedule_type": "once"}, "start_date"),
        ({"schedule_type": "once", "start_date": "2026-01-15T09:00"}, "start_date"),
        ({"frequency": "daily", "timezone": "Mars/Olympus"}, "timezone"),
        ({"frequency": "daily", "timezone": 3}, "timezone"),
        ({"frequency": "daily", "interval": 0}, "interval"),
        ({"frequency": "daily", "interval": -1}, "interval"),
        ({"frequency": "daily", "interval": True}, "interval"),
        ({"frequency": "daily", "interval": 1.5}, "interval"),
        ({"frequency": "daily", "interval": 10**9}, "interval"),
        ({"frequency": "monthly", "interval": 10_000}, "interval"),
        ({"frequency": "daily", "time_of_day": "24:00"}, "time_of_day"),
        ({"frequency": "daily", "time_of_day": "9"}, "time_of_day"),
        ({"frequency": "daily", "time_of_day": time(9, tzinfo=UTC)}, "time_of_day"),
        ({"frequency": "weekly", "days_of_week": [7]}, "days_of_week"),
        ({"frequency": "weekly", "days_of_week": []}, "days_of_week"),
        ({"frequency": "weekly", "days_of_week": "mon"}, "days_of_week"),
        ({"frequency": "weekly", "days_of_week": [True]}, "days_of_week"),
        ({"frequency": "monthly", "day_of_month": 0}, "day_of_month"),
        ({"frequency": "monthly", "day_of_month": "32"}, "day_of_month"),
        ({"frequency": "monthly", "day_of_month": "first"}, "day_of_month"),
        ({"frequency": "daily", "start_date": "tomorrow"}, "start_date"),
        ({"frequency": "daily", "start_date": "9999-12-31"}, "start_date"),
        ({"frequency": "daily", "start_date": "2026-03-02", "end_date": "2026-03-01"}, "end_date"),
        ({"frequency": "daily", "end_date": "2026-01-15"}, "end_date"),
        ({"frequency": "daily", "days_of_week": [1]}, "days_of_week"),
        ({"frequency": "hourly", "time_of_day": "09:00"}, "time_of_day"),
        ({**cron("0 9 * * *"), "interval": 2}, "interval"),
        ({**cron("0 9 * * *"), "misfire": "all"}, "misfire"),
        ({**cron("0 */2 * * *"), "dst_fold": "both"}, "dst_fold"),
    ],
)
def test_a_wrong_field_is_named_with_a_remedy(document: dict[str, object], field: str) -> None:
    assert set(problems(document)) == {field}


@pytest.mark.parametrize(
    ("document", "policies"),
    [
        (cron("0 9 * * *"), {"dst_gap": "skip", "dst_fold": "both"}),
        ({"frequency": "daily"}, {"dst_gap": "skip"}),
        ({"frequency": "weekly"}, {"dst_fold": "both"}),
        ({"frequency": "monthly"}, {"dst_gap": "skip", "dst_fold": "both", "month_end": "skip"}),
    ],
)
def test_policies_are_read_where_they_mean_something(document: dict[str, object], policies: dict[str, str]) -> None:
    schedule = parse({**document, **policies}, now=NOW)
    assert {name: getattr(schedule, name) for name in policies} == policies


DEFAULTS = {"dst_gap": "next_valid", "dst_fold": "first", "month_end": "last_day"}
OF_EVERY_KIND: tuple[dict[str, object], ...] = (
    {"schedule_type": "once", "start_date": "2026-03-01"},
    cron("0 9 * * *"),
    cron("*/5 * * * *"),
    {"frequency": "hourly"},
    {"frequency": "daily"},
    {"frequency": "weekly"},
    {"frequency": "monthly"},
)


@pytest.mark.parametrize("document", OF_EVERY_KIND)
def test_a_policy_may_be_spelled_out_everywhere_as_its_default(document: dict[str, object]) -> None:
    assert parse({**document, **DEFAULTS}, now=NOW) == parse(document, now=NOW)


@pytest.mark.parametrize(
    ("document", "policies", "reason"),
    [
        ({"schedule_type": "once", "start_date": "2026-03-01"}, {"dst_gap": "skip"}, "one instant"),
        ({"frequency": "hourly"}, {"dst_fold": "both"}, "real hours"),
        (cron("*/5 9 * * *"), {"dst_gap": "skip"}, "follows the wall clock"),
        (cron("5 */2 * * *"), {"dst_fold": "both"}, "follows the wall clock"),
        (cron("@hourly"), {"dst_gap": "skip", "dst_fold": "both"}, "follows the wall clock"),
        (cron("0 9 31 * *"), {"month_end": "skip"}, "only monthly recurrences"),
        ({"frequency": "daily"}, {"month_end": "skip"}, "only monthly recurrences"),
        ({"schedule_type": "once", "start_date": "2026-03-01"}, {"month_end": "skip"}, "only monthly recurrences"),
    ],
)
def test_a_policy_that_would_mean_nothing_is_refused_with_the_reason(
    document: dict[str, object], policies: dict[str, object], reason: str
) -> None:
    found = problems({**document, **policies})
    assert set(found) == set(policies)
    assert all(reason in text for text in found.values())


@pytest.mark.parametrize("name", sorted(DEFAULTS))
@pytest.mark.parametrize("value", ["", "none", "SKIP", True, 0, ["skip"], {}])
def test_a_policy_of_an_unknown_value_is_refused_with_the_known_ones(name: str, value: object) -> None:
    assert DEFAULTS[name] in problems({"frequency": "monthly", name: value})[name]


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("document", "field", "said"),
    [
        (
            {"frequency": "monthly", "start_date": "2026-02-01", "interval": 12, "day_of_month": 31},
            "month_end",
            "none of its months has a day 31",
        ),
        (
            {"frequency": "monthly", "start_date": "2026-04-01", "interval": 12, "day_of_month": 31},
            "month_end",
            "none of its months has a day 31",
        ),
        (
            {"frequency": "monthly", "start_date": "2026-02-01", "day_of_month": 31, "end_date": "2026-03-30"},
            "end_date",
            "2026-03-31",
        ),
    ],
)
def test_a_schedule_that_its_policy_leaves_without_any_time_is_refused(
    document: dict[str, object], field: str, said: str
) -> None:
    found = problems({**document, "month_end": "skip"})
    assert set(found) == {field}
    assert said in found[field]
    assert parse(document, now=NOW).month_end == "last_day"


def test_a_schedule_whose_only_time_before_its_end_is_in_a_gap_is_refused_if_that_is_left_out() -> None:
    document = {**cron("30 2 8 3 *"), "timezone": "America/New_York", "end_date": "2026-12-31"}
    assert parse(document, now=NOW).dst_gap == "next_valid"
    assert "2027-03-08" in problems({**document, "dst_gap": "skip"})["end_date"]


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        {"frequency": "weekly", "timezone": "X", "interval": 0, "days_of_week": [9], "time_of_day": "25:00"}
    )
    assert set(found) == {"timezone", "interval", "days_of_week", "time_of_day"}


def test_a_once_time_that_has_just_gone_by_is_accepted() -> None:
    assert parse({"schedule_type": "once", "start_date": "2026-01-15T10:23:40"}, now=NOW).start_date == at(
        "2026-01-15T10:23:40"
    )


words = (
    "",
    "skip",
    "both",
    "all",
    "x",
    "once",
    "cron",
    "recurring",
    "daily",
    "weekly",
    "last",
    "31",
    "09:00",
    "2027-01-01",
    "0 9 * * *",
    "UTC",
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 40), st.floats(), st.sampled_from(words)),
    st.lists,
    max_leaves=3,
)
names = st.sampled_from(sorted(set(Schedule.__dataclass_fields__) - {"anchor"} | policies.NAMES))


@settings(max_examples=some(300), deadline=None)
@given(
    document=st.dictionaries(names, values),
    read=st.sampled_from((lambda given: parse(given, now=NOW), lambda given: parse_job(given, now=NOW)[0])),
)
def test_whatever_is_given_is_read_or_refused_and_never_breaks(
    document: dict[str, object], read: Callable[[dict[str, object]], Schedule]
) -> None:
    with suppress(InputError):
        schedule = read(document)
        assert next_occurrence(schedule, NOW) is not None or schedule.schedule_type == "once"


@pytest.mark.parametrize(
    "document",
    [
        cron("0 9 * * *"),
        {"schedule_type": "once", "start_date": "2026-03-01"},
        {"frequency": "weekly", "days_of_week": [0, 3], "end_date": "2026-12-31"},
        {"frequency": "monthly", "day_of_month": "last"},
        {"frequency": "monthly", "day_of_month": 31, "month_end": "skip", "dst_gap": "skip", "dst_fold": "both"},
    ],
)
def test_a_schedule_is_the_same_after_being_stored(document: dict[str, object]) -> None:
    schedule = parse(document, now=NOW)
    columns = stored.to_columns(schedule)
    assert stored.from_columns(columns) == schedule
    assert set(columns) <= {column.name for column in ScheduledJob.__table__.columns}
