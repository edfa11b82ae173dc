"""Times that went by are recorded once each, in a chain without a hole, however many steps that takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from engine.schedule.definition import parse
from engine.schedule.failures import failures_in_a_row
from engine.schedule.occurrences import next_planned
from engine.schedule.past import Gone, cursor, settle

if TYPE_CHECKING:
    from engine.schedule.definition import Schedule

NOW = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC)
SCHEDULES = [
    {"cron_expression": "*/7 * * * *"},
    {"cron_expression": "30 2 * * *", "timezone": "Europe/Berlin", "dst_gap": "skip"},
    {"frequency": "monthly", "day_of_month": 31, "month_end": "skip"},
    {"frequency": "hourly", "interval": 5, "end_date": "2026-03-04"},
    {"frequency": "weekly", "days_of_week": [1, 4], "interval": 2},
]


def planned(schedule: Schedule, after: datetime, until: datetime) -> list[datetime]:
    times = []
    found = next_planned(schedule, after)
    while found is not None and found.at <= until:
        times.append(found.at)
        found = next_planned(schedule, found.at)
    return times


@given(st.sampled_from(SCHEDULES), st.timedeltas(timedelta(0), timedelta(days=3)), st.integers(1, 50))
def test_steps_of_any_size_record_each_planned_time_once(
    document: dict[str, object], pause: timedelta, limit: int
) -> None:
    schedule = parse(document, now=NOW)
    if schedule.frequency == "monthly" or schedule.dst_gap == "skip":
        pause *= 100
    until = NOW + pause
    after, previous, rows, complete = NOW, schedule.anchor, list[Gone](), False
    while not complete:
        past = settle(schedule, after=after, now=until, previous=previous, reason="paused", limit=limit)
        assert sum(row.count for row in past.rows) <= limit
        rows += past.rows
        complete = past.complete
        after = previous = past.last or previous
        assert past.rows or complete
    times = planned(schedule, NOW, until)
    assert sum(row.count for row in rows) == len(times)
    covered = [time for row in rows for time in times if row.scheduled_for <= time <= row.until]
    assert covered == times
    assert [row.previous for row in rows] == [schedule.anchor, *(row.until for row in rows)][: len(rows)]
    assert all(row.until < following.scheduled_for for row, following in pairwise(rows))


def test_each_row_is_of_one_fate() -> None:
    schedule = parse({"frequency": "monthly", "day_of_month": 30, "month_end": "skip"}, now=NOW)
    until = NOW + timedelta(days=365 * 2)
    past = settle(schedule, after=NOW, now=until, previous=NOW, reason="cancelled", limit=100)
    assert [(row.decision, row.count) for row in past.rows] == [
        ("cancelled", 11),
        ("month_end_skipped", 1),
        ("cancelled", 11),
        ("month_end_skipped", 1),
    ]


def test_nothing_went_by_is_no_row() -> None:
    past = settle(
        parse({"cron_expression": "@daily"}, now=NOW), after=NOW, now=NOW, previous=NOW, reason="paused", limit=1
    )
    assert (past.rows, past.complete, past.last) == ((), True, None)


def test_the_cursor_is_the_later_of_what_is_decided_and_what_the_definition_plans() -> None:
    daily = parse({"cron_expression": "@daily"}, now=NOW)
    later = NOW + timedelta(days=1)
    assert cursor(daily, None, NOW) == NOW
    assert cursor(daily, later, NOW) == later
    assert cursor(daily, NOW, later) == later


def test_the_time_of_a_once_job_may_lie_before_its_creation() -> None:
    late = NOW - timedelta(minutes=5)
    once = parse({"schedule_type": "once", "start_date": late}, now=NOW)
    assert next_planned(once, cursor(once, None, NOW)) is not None
    assert next_planned(once, cursor(once, late.replace(microsecond=0), NOW)) is None


def test_failures_are_counted_up_to_the_first_run_that_is_open() -> None:
    assert failures_in_a_row(0, []) == 0
    assert failures_in_a_row(2, ["failure", "lost"]) == 4
    assert failures_in_a_row(2, ["failure", "success", "failure"]) == 1
    assert failures_in_a_row(2, ["cancelled", "failure", None, "success"]) == 3
    assert failures_in_a_row(2, ["skipped"]) == failures_in_a_row(2, ["partial"]) == 0
