from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schedule import due
from engine.schedule.due import MISFIRE_GRACE, Plan, decide
from engine.schedule.occurrences import occurrences
from models import enums
from tests.unit.schedule.making import at, cron, recurring

if TYPE_CHECKING:
    from engine.schedule.definition import Schedule

MINUTELY, HOURLY, DAILY = cron("* * * * *"), cron("0 * * * *"), cron("0 9 * * *")


def plan(
    schedule: Schedule,
    first: str,
    now: str,
    *,
    previous: str | None = "2026-03-01T00:00",
    run_open: bool = False,
    limit: int = 5000,
) -> Plan:
    known = None if previous is None else at(previous)
    return decide(schedule, first=at(first), now=at(now), previous=known, run_open=run_open, limit=limit)


def fates(decided: Plan) -> list[tuple[str, str, str, int]]:
    return [
        (one.decision, f"{one.scheduled_for:%d %H:%M}", f"{one.until:%d %H:%M}", one.count) for one in decided.stretches
    ]


def test_a_due_time_runs_and_the_job_waits_for_the_next() -> None:
    decided = plan(DAILY, "2026-03-02T09:00", "2026-03-02T09:00:01")
    assert fates(decided) == [("run", "02 09:00", "02 09:00", 1)]
    assert decided.next_run_at == at("2026-03-03T09:00")
    assert decided.last_scheduled_for == at("2026-03-02T09:00")
    assert decided.computed == 1
    assert decided.run is decided.stretches[0]


def test_a_job_that_is_not_due_is_left_alone() -> None:
    decided = plan(DAILY, "2026-03-02T09:00", "2026-03-02T08:59:59")
    assert decided == Plan((), at("2026-03-02T09:00"), at("2026-03-01T00:00"), 0)
    assert decided.run is None


def test_of_several_due_times_the_latest_runs_and_those_within_the_grace_are_coalesced() -> None:
    decided = plan(MINUTELY, "2026-03-02T09:00", "2026-03-02T09:03:30")
    assert fates(decided) == [("coalesced", "02 09:00", "02 09:02", 3), ("run", "02 09:03", "02 09:03", 1)]


def test_what_is_older_than_the_grace_is_misfired() -> None:
    decided = plan(MINUTELY, "2026-03-02T07:00", "2026-03-02T09:00")
    assert fates(decided) == [
        ("misfired", "02 07:00", "02 07:59", 60),
        ("coalesced", "02 08:00", "02 08:59", 60),
        ("run", "02 09:00", "02 09:00", 1),
    ]


@pytest.mark.parametrize(("now", "decision"), [("10:00:00", "run"), ("10:00:00.000001", "misfired")])
def test_a_time_may_be_late_by_exactly_the_grace(now: str, decision: str) -> None:
    decided = plan(DAILY, "2026-03-02T09:00", f"2026-03-02T{now}")
    assert [stretch.decision for stretch in decided.stretches] == [decision]


def test_a_latest_time_older_than_the_grace_does_not_run() -> None:
    decided = plan(DAILY, "2026-03-02T09:00", "2026-03-05T12:00")
    assert fates(decided) == [("misfired", "02 09:00", "05 09:00", 4)]
    assert decided.run is None
    assert decided.next_run_at == at("2026-03-06T09:00")


def test_while_a_run_is_open_the_time_that_would_run_is_skipped() -> None:
    decided = plan(MINUTELY, "2026-03-02T09:00", "2026-03-02T09:02", run_open=True)
    assert [stretch.decision for stretch in decided.stretches] == ["coalesced", "overlap_skipped"]
    assert decided.run is None


def test_an_open_run_does_not_turn_a_misfire_into_an_overlap() -> None:
    decided = plan(DAILY, "2026-03-02T09:00", "2026-03-02T20:00", run_open=True)
    assert [stretch.decision for stretch in decided.stretches] == ["misfired"]


def test_at_the_limit_nothing_runs_and_the_rest_stays_due() -> None:
    decided = plan(MINUTELY, "2026-03-02T07:59", "2026-03-02T09:00", limit=3)
    assert fates(decided) == [("misfired", "02 07:59", "02 07:59", 1), ("coalesced", "02 08:00", "02 08:01", 2)]
    assert decided.next_run_at == at("2026-03-02T08:02")
    assert decided.computed == 3


def test_a_limit_reached_with_the_last_due_time_runs_it() -> None:
    decided = plan(MINUTELY, "2026-03-02T08:59", "2026-03-02T09:00:30", limit=2)
    assert [stretch.decision for stretch in decided.stretches] == ["coalesced", "run"]
    assert decided.next_run_at == at("2026-03-02T09:01")


def test_the_last_planned_time_completes_the_job() -> None:
    ending = replace(DAILY, end_date=at("2026-03-02T09:00"))
    decided = plan(ending, "2026-03-02T09:00", "2026-03-02T09:01")
    assert decided.next_run_at is None
    assert decided.run is not None


def test_a_once_job_runs_and_is_completed() -> None:
    once = recurring("2026-03-02T09:00", schedule_type="once")
    decided = plan(once, "2026-03-02T09:00", "2026-03-02T09:30", previous=None)
    assert [(stretch.decision, stretch.previous) for stretch in decided.stretches] == [("run", once.anchor)]
    assert decided.next_run_at is None


def test_the_first_time_of_a_job_follows_its_anchor() -> None:
    decided = plan(HOURLY, "2026-03-02T09:00", "2026-03-02T09:01", previous=None)
    assert decided.stretches[0].previous == HOURLY.anchor


def test_a_limit_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        plan(DAILY, "2026-03-02T09:00", "2026-03-02T09:00", limit=0)


def test_decisions_are_spelled_as_the_ledger_spells_them() -> None:
    assert set(get_args(due.Decision)) <= {decision.value for decision in enums.Decision}


moments = st.datetimes(min_value=datetime(2026, 1, 1), max_value=datetime(2027, 1, 1)).map(  # noqa: DTZ001 - made aware next
    lambda moment: moment.replace(tzinfo=UTC)
)
jobs = st.sampled_from(
    (
        MINUTELY,
        HOURLY,
        DAILY,
        cron("*/20 * * * *", "Australia/Lord_Howe"),
        cron("30 1,2 * * *", "America/New_York"),
        recurring("2025-01-31", frequency="monthly"),
        recurring("2025-01-31", frequency="hourly", interval=3),
        replace(HOURLY, end_date=at("2026-06-01")),
    )
)


@settings(max_examples=120, deadline=None)
@given(
    schedule=jobs,
    since=moments,
    late=st.timedeltas(min_value=timedelta(0), max_value=timedelta(hours=5)),
    run_open=st.booleans(),
    limit=st.integers(1, 100),
)
def test_batches_put_every_planned_time_in_exactly_one_stretch_and_the_chain_never_breaks(
    schedule: Schedule, since: datetime, late: timedelta, limit: int, *, run_open: bool
) -> None:
    planned = [one.at for one in takewhile(lambda one: one.at <= since + late, occurrences(schedule, since))]
    if not planned:
        return
    now, cursor, previous, covered = since + late, planned[0], since, list[datetime]()
    for _ in range(len(planned)):  # batch after batch, as the scheduler does it
        batch = decide(schedule, first=cursor, now=now, previous=previous, run_open=run_open, limit=limit)
        assert 0 < batch.computed <= limit
        for stretch in batch.stretches:
            inside = [one for one in planned if stretch.scheduled_for <= one <= stretch.until]
            assert (stretch.previous, stretch.count) == (previous, len(inside))
            assert (inside[0], inside[-1]) == (stretch.scheduled_for, stretch.until)
            assert (stretch.decision == "misfired") == (now - stretch.until > MISFIRE_GRACE)
            assert stretch.decision not in {"run", "overlap_skipped"} or inside == [planned[-1]]
            covered += inside
            previous = stretch.until
        assert batch.last_scheduled_for == previous
        if batch.next_run_at is None or batch.next_run_at > now:
            break
        cursor = batch.next_run_at
    assert covered == planned
    last = batch.stretches[-1].decision
    expected = "overlap_skipped" if run_open else "run"
    assert last == (expected if now - planned[-1] <= MISFIRE_GRACE else "misfired")
