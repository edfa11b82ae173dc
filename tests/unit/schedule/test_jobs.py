"""Schedule and policies of a job, read from one document."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from core.errors import InputError
from engine.schedule.definition import parse, parse_job
from engine.schedule.policies import Policies
from tests.unit.schedule.making import at

NOW = datetime(2026, 1, 15, 10, 23, 45, tzinfo=UTC)
DAILY: dict[str, object] = {"frequency": "daily", "time_of_day": "09:00"}
BOUNDS = {
    "misfire_grace_seconds": (1, 2_592_000),
    "jitter_seconds": (0, 3_600),
    "timeout_seconds": (1, 3_600),
    "max_executions": (1, 1_000_000_000),
    "pause_on_failure_count": (1, 1_000),
}


def problems(document: dict[str, object], *, ahead: bool = True) -> dict[str, str]:
    """Return what is said of each field."""
    with pytest.raises(InputError) as refusal:
        parse_job(document, now=NOW, ahead=ahead)
    assert all(problem.remedy for problem in refusal.value.problems)
    return {problem.field: str(problem) for problem in refusal.value.problems}


def test_a_job_without_policies_has_the_defaults() -> None:
    assert parse_job(DAILY, now=NOW) == (parse(DAILY, now=NOW), Policies())


def test_policies_and_schedule_are_read_from_one_document() -> None:
    given: dict[str, Any] = {
        "misfire": "all",
        "misfire_grace_seconds": 60,
        "overlap": "buffer_one",
        "jitter_seconds": 30,
        "max_executions": 5,
        "timeout_seconds": 10,
        "pause_on_failure_count": 3,
    }
    schedule, policies = parse_job({**DAILY, **given, "dst_gap": "skip"}, now=NOW)
    assert schedule.dst_gap == "skip"
    assert policies == Policies(**given)


@pytest.mark.parametrize("name", sorted(BOUNDS))
def test_a_number_may_reach_its_bounds_and_not_pass_them(name: str) -> None:
    low, high = BOUNDS[name]
    for value in (low, high):
        assert getattr(parse_job({**DAILY, name: value}, now=NOW)[1], name) == value
    for value in (low - 1, high + 1, -1, 10**5000):
        said = problems({**DAILY, name: value})[name]
        assert f"from {low} to {high}" in said
        assert len(said) < 200


@pytest.mark.parametrize("name", [*sorted(BOUNDS), "interval"])
@pytest.mark.parametrize("value", [True, False, 1.0, 1.5, math.nan, math.inf, "5", "", [], [1], {}, {"a": 1}])
def test_what_is_no_whole_number_is_none(name: str, value: object) -> None:
    assert set(problems({**DAILY, name: value})) == {name}


@pytest.mark.parametrize("name", ["misfire", "overlap"])
@pytest.mark.parametrize("value", ["", "SKIP", "never", True, 1, math.nan, ["skip"]])
def test_an_unknown_word_is_refused_with_the_known_ones(name: str, value: object) -> None:
    assert "skip" in problems({**DAILY, name: value})[name]


def test_unknown_fields_are_refused_with_the_known_ones() -> None:
    found = problems({**DAILY, "misfires": "all", "a\nb": 1, "x" * 10_000: None, "y" * 10_000: 1})
    assert set(found) == {"misfires", "'a\\nb'", "y" * 60}
    assert "misfire_grace_seconds" in found["misfires"]
    assert "time_of_day" in found["misfires"]


def test_the_problems_of_schedule_and_policies_are_told_together() -> None:
    found = problems(
        {
            "frequency": "weekly",
            "timezone": "Mars/Olympus",
            "interval": 10_001,
            "days_of_week": [7, 10**5000],
            "time_of_day": "24:00",
            "start_date": "2026-03-02T00:00Z",
            "end_date": "2026-03-01T00:00Z",
            "dst_gap": "jump",
            "misfire": "twice",
            "timeout_seconds": 0,
            "colour": "red",
        }
    )
    assert set(found) == {
        "timezone",
        "interval",
        "days_of_week",
        "time_of_day",
        "dst_gap",
        "misfire",
        "timeout_seconds",
        "colour",
    }


def test_an_end_before_the_start_and_an_expression_that_never_fires_are_told_beside_a_wrong_policy() -> None:
    ends = {**DAILY, "start_date": "2026-03-02", "end_date": "2026-03-01", "jitter_seconds": -1}
    assert set(problems(ends)) == {"end_date", "jitter_seconds"}
    never = {"cron_expression": "0 0 30 2 *", "jitter_seconds": -1}
    assert set(problems(never)) == {"cron_expression", "jitter_seconds"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule_type", 10**5000),
        ("frequency", ["daily"]),
        ("timezone", 10**5000),
        ("timezone", "x" * 100_000),
        ("time_of_day", 10**5000),
        ("time_of_day", "0" * 100_000),
        ("days_of_week", [10**5000]),
        ("days_of_week", [[]] * 1000),
        ("day_of_month", 10**5000),
        ("day_of_month", "1" * 5000),
        ("start_date", 10**5000),
        ("start_date", "2" * 100_000),
        ("cron_expression", 10**5000),
        ("cron_expression", "*" * 100_000),
    ],
    ids=itertools.count(),
)
def test_a_huge_value_is_refused_in_few_words(name: str, value: object) -> None:
    document = {"schedule_type": "recurring", "frequency": "monthly", name: value}
    assert 0 < len(problems(document)[name]) < 500


def test_a_value_of_any_depth_is_refused() -> None:
    deep: object = []
    for _ in range(100_000):
        deep = [deep]
    assert set(problems({"frequency": "weekly", "days_of_week": deep, "misfire": deep})) == {"days_of_week", "misfire"}


def test_a_once_time_may_be_late_by_the_jobs_own_grace() -> None:
    once: dict[str, object] = {"schedule_type": "once", "start_date": "2026-01-15T08:00Z"}
    assert set(problems(once)) == {"start_date"}
    schedule, _ = parse_job({**once, "misfire_grace_seconds": 10_000}, now=NOW)
    assert schedule.start_date == at("2026-01-15T08:00")
    assert set(problems({**once, "misfire_grace_seconds": 60, "start_date": "2026-01-15T10:22Z"})) == {"start_date"}


def test_what_is_looked_back_at_may_be_over_but_must_have_had_a_time() -> None:
    over: dict[str, object] = {**DAILY, "start_date": "2025-01-01", "end_date": "2025-02-01"}
    assert set(problems(over)) == {"end_date"}
    assert parse_job(over, now=NOW, ahead=False)[0].end_date == at("2025-02-01")
    once: dict[str, object] = {"schedule_type": "once", "start_date": "2025-01-01"}
    assert parse_job(once, now=NOW, ahead=False)[0].start_date == at("2025-01-01")
    never: dict[str, object] = {**DAILY, "start_date": "2025-01-01T10:00", "end_date": "2025-01-01T11:00"}
    assert set(problems(never, ahead=False)) == {"end_date"}
    assert set(problems({"cron_expression": "0 0 31 4 *"}, ahead=False)) == {"cron_expression"}
