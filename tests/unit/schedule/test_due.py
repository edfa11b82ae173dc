from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.schedule import due
from engine.schedule.due import CATCH_UP, Plan, State, decide
from engine.schedule.occurrences import next_planned, occurrences
from engine.schedule.policies import MISFIRES, OVERLAPS, Policies
from models import enums
from tests.effort import some
from tests.unit.schedule.making import at, cron, recurring

if TYPE_CHECKING:
    from engine.schedule.definition import Schedule

MINUTELY, HOURLY, DAILY = cron("* * * * *"), cron("0 * * * *"), cron("0 9 * * *")
NINE = "2026-03-02T09:00"


def plan(schedule: Schedule, first: str, now: str, *, limit: int = 5000, **given: Any) -> Plan:
    """Decide a job; what is given goes to its state or to its policies."""
    known = {name: given.pop(name) for name in list(given) if name in State._fields}
    defaults = {"cursor": at(first) - timedelta(seconds=1), "previous": at("2026-03-01T00:00")}
    state = State(first=at(first), **(defaults | known))
    return decide(schedule, Policies(**given), state, now=at(now), limit=limit)


def fates(decided: Plan) -> list[tuple[str, str, str, int]]:
    return [
        (one.decision, f"{one.scheduled_for:%d %H:%M}", f"{one.until:%d %H:%M}", one.times) for one in decided.stretches
    ]


def decisions(decided: Plan) -> list[str]:
    return [stretch.decision for stretch in decided.stretches]


def test_a_due_time_runs_and_the_job_waits_for_the_next() -> None:
    decided = plan(DAILY, NINE, "2026-03-02T09:00:01")
    assert fates(decided) == [("run", "02 09:00", "02 09:00", 1)]
    assert decided.next_run_at == at("2026-03-03T09:00")
    assert decided.last_scheduled_for == at(NINE)
    assert decided.computed == 1
    assert decided.runs == decided.stretches
    assert not decided.cancels


def test_a_job_that_is_not_due_is_left_alone() -> None:
    decided = plan(DAILY, NINE, "2026-03-02T08:59:59")
    assert decided == Plan((), at(NINE), at("2026-03-01T00:00"), 0)


def test_of_several_due_times_the_latest_runs_and_those_within_the_grace_are_coalesced() -> None:
    decided = plan(MINUTELY, NINE, "2026-03-02T09:03:30")
    assert fates(decided) == [("coalesced", "02 09:00", "02 09:02", 3), ("run", "02 09:03", "02 09:03", 1)]


def test_what_is_older_than_the_grace_is_misfired() -> None:
    decided = plan(MINUTELY, "2026-03-02T07:00", NINE)
    assert fates(decided) == [
        ("misfired", "02 07:00", "02 07:59", 60),
        ("coalesced", "02 08:00", "02 08:59", 60),
        ("run", "02 09:00", "02 09:00", 1),
    ]


@pytest.mark.parametrize(("now", "decision"), [("10:00:00", "run"), ("10:00:00.000001", "misfired")])
def test_a_time_may_be_late_by_exactly_the_grace(now: str, decision: str) -> None:
    assert decisions(plan(DAILY, NINE, f"2026-03-02T{now}")) == [decision]


def test_the_grace_is_the_jobs_own() -> None:
    assert decisions(plan(DAILY, NINE, "2026-03-02T09:00:06", misfire_grace_seconds=5)) == ["misfired"]
    assert decisions(plan(DAILY, NINE, "2026-03-02T20:00", misfire_grace_seconds=86_400)) == ["run"]


def test_a_latest_time_older_than_the_grace_does_not_run() -> None:
    decided = plan(DAILY, NINE, "2026-03-05T12:00")
    assert fates(decided) == [("misfired", "02 09:00", "05 09:00", 4)]
    assert decided.runs == ()
    assert decided.next_run_at == at("2026-03-06T09:00")


def test_misfire_skip_makes_up_for_nothing_but_runs_what_is_on_time() -> None:
    decided = plan(MINUTELY, NINE, "2026-03-02T09:03:30", misfire="skip")
    assert fates(decided) == [("misfired", "02 09:00", "02 09:02", 3), ("run", "02 09:03", "02 09:03", 1)]
    assert decisions(plan(HOURLY, NINE, "2026-03-02T09:01:00", misfire="skip")) == ["run"]
    assert decisions(plan(HOURLY, NINE, "2026-03-02T09:01:01", misfire="skip")) == ["misfired"]
    assert decisions(plan(HOURLY, NINE, "2026-03-02T09:00:09", misfire="skip", misfire_grace_seconds=8)) == ["misfired"]


def test_misfire_all_runs_every_time_within_the_grace_each_alone() -> None:
    decided = plan(HOURLY, "2026-03-02T06:00", NINE, misfire="all", misfire_grace_seconds=7_200)
    assert fates(decided) == [
        ("misfired", "02 06:00", "02 06:00", 1),
        ("run", "02 07:00", "02 07:00", 1),
        ("run", "02 08:00", "02 08:00", 1),
        ("run", "02 09:00", "02 09:00", 1),
    ]
    assert [one.scheduled_for for one in decided.runs] == [at(f"2026-03-02T{hour:02}:00") for hour in (7, 8, 9)]


def test_misfire_all_runs_the_latest_100_at_most() -> None:
    decided = plan(MINUTELY, "2026-03-02T06:31", NINE, misfire="all", misfire_grace_seconds=86_400)
    assert fates(decided)[0] == ("coalesced", "02 06:31", "02 07:20", 50)
    assert len(decided.runs) == CATCH_UP


@pytest.mark.parametrize("limit", [1, 7, 49, 50, 51, 149])
def test_misfire_all_runs_the_same_times_whatever_the_batch_is(limit: int) -> None:
    cursor, ran = at("2026-03-02T06:31"), list[datetime]()
    while cursor <= at(NINE):
        decided = plan(MINUTELY, cursor.isoformat(), NINE, misfire="all", misfire_grace_seconds=86_400, limit=limit)
        assert decided.next_run_at is not None
        assert decided.next_run_at > cursor
        cursor = decided.next_run_at
        ran += [one.scheduled_for for one in decided.runs]
    assert ran == [at("2026-03-02T07:21") + timedelta(minutes=n) for n in range(100)]


def test_while_a_run_is_open_the_time_that_would_run_is_skipped() -> None:
    decided = plan(MINUTELY, NINE, "2026-03-02T09:02", run_open=True)
    assert decisions(decided) == ["coalesced", "overlap_skipped"]


def test_overlap_allow_runs_beside_an_open_run() -> None:
    decided = plan(HOURLY, NINE, NINE, run_open=True, overlap="allow")
    assert (decisions(decided), decided.cancels) == (["run"], False)


def test_overlap_cancel_other_runs_and_cancels_the_open_run() -> None:
    assert plan(HOURLY, NINE, NINE, run_open=True, overlap="cancel_other").cancels
    assert not plan(HOURLY, NINE, NINE, run_open=False, overlap="cancel_other").cancels
    misfired = plan(HOURLY, NINE, "2026-03-02T09:30", run_open=True, overlap="cancel_other", misfire_grace_seconds=9)
    assert (decisions(misfired), misfired.cancels) == (["misfired"], False)


def test_overlap_buffer_one_buffers_the_first_time_and_skips_the_later_ones() -> None:
    first = plan(HOURLY, NINE, NINE, run_open=True, overlap="buffer_one")
    assert (decisions(first), first.buffered) == (["buffered"], first.stretches[0])
    assert first.next_run_at == at("2026-03-02T10:00")
    later = plan(HOURLY, NINE, NINE, run_open=True, overlap="buffer_one", buffered=True)
    assert (decisions(later), later.buffered) == (["overlap_skipped"], None)
    several = plan(MINUTELY, NINE, "2026-03-02T09:02", run_open=True, overlap="buffer_one", misfire="all")
    assert fates(several) == [("buffered", "02 09:00", "02 09:00", 1), ("overlap_skipped", "02 09:01", "02 09:02", 2)]


def test_the_times_of_one_catch_up_do_not_overlap_each_other_but_an_open_run() -> None:
    assert decisions(plan(MINUTELY, NINE, "2026-03-02T09:02", misfire="all")) == ["run"] * 3
    held = plan(MINUTELY, NINE, "2026-03-02T09:02", misfire="all", run_open=True)
    assert fates(held) == [("overlap_skipped", "02 09:00", "02 09:02", 3)]


def test_an_open_run_does_not_turn_a_misfire_into_an_overlap() -> None:
    assert decisions(plan(DAILY, NINE, "2026-03-02T20:00", run_open=True)) == ["misfired"]


def test_the_last_run_that_max_executions_allows_ends_the_schedule() -> None:
    last = plan(HOURLY, NINE, NINE, max_executions=5, runs_left=1)
    assert (decisions(last), last.next_run_at) == (["run"], None)
    before = plan(HOURLY, NINE, NINE, max_executions=5, runs_left=2)
    assert before.next_run_at == at("2026-03-02T10:00")


def test_what_would_run_beyond_max_executions_is_limit_reached() -> None:
    decided = plan(MINUTELY, NINE, "2026-03-02T09:04", misfire="all", max_executions=2, runs_left=2)
    assert fates(decided)[2:] == [("limit_reached", "02 09:02", "02 09:04", 3)]
    assert len(decided.runs) == 2
    assert decided.next_run_at is None


def test_a_buffered_time_keeps_its_place_within_max_executions() -> None:
    waiting = plan(HOURLY, NINE, NINE, run_open=True, overlap="buffer_one", max_executions=2, runs_left=1)
    assert (decisions(waiting), waiting.next_run_at) == (["buffered"], at("2026-03-02T10:00"))
    allowed = plan(HOURLY, NINE, NINE, run_open=True, overlap="allow", max_executions=2, runs_left=1, buffered=True)
    assert decisions(allowed) == ["limit_reached"]
    assert allowed.next_run_at == at("2026-03-02T10:00")


def test_a_job_that_may_not_run_again_waits_for_nothing() -> None:
    assert plan(HOURLY, NINE, "2026-03-02T08:30", max_executions=2, runs_left=0).next_run_at is None
    assert decisions(plan(HOURLY, NINE, NINE, max_executions=2, runs_left=0)) == ["limit_reached"]


def test_a_job_that_is_paused_records_its_times_so_and_runs_none() -> None:
    decided = plan(MINUTELY, NINE, "2026-03-02T09:04", pausing=True, run_open=True, overlap="buffer_one")
    assert fates(decided) == [("paused", "02 09:00", "02 09:04", 5)]
    assert decided.next_run_at == at("2026-03-02T09:05")


def test_at_the_limit_nothing_runs_and_the_rest_stays_due() -> None:
    decided = plan(MINUTELY, "2026-03-02T07:59", NINE, limit=3)
    assert fates(decided) == [("misfired", "02 07:59", "02 07:59", 1), ("coalesced", "02 08:00", "02 08:01", 2)]
    assert decided.next_run_at == at("2026-03-02T08:02")
    assert decided.computed == 3


def test_where_no_run_is_left_nothing_is_buffered_and_the_limit_stops_each_time() -> None:
    waiting: dict[str, Any] = {
        "misfire": "all",
        "run_open": True,
        "overlap": "buffer_one",
        "max_executions": 2,
        "runs_left": 0,
    }
    assert fates(plan(MINUTELY, NINE, "2026-03-02T09:02", **waiting)) == [("limit_reached", "02 09:00", "02 09:02", 3)]


def test_a_limit_reached_with_the_last_due_time_runs_it() -> None:
    decided = plan(MINUTELY, "2026-03-02T08:59", "2026-03-02T09:00:30", limit=2)
    assert decisions(decided) == ["coalesced", "run"]
    assert decided.next_run_at == at("2026-03-02T09:01")


def test_the_last_planned_time_completes_the_job() -> None:
    decided = plan(replace(DAILY, end_date=at(NINE)), NINE, "2026-03-02T09:01")
    assert decided.next_run_at is None
    assert decisions(decided) == ["run"]


def test_a_once_job_runs_and_is_completed() -> None:
    once = recurring(NINE, schedule_type="once")
    decided = plan(once, NINE, "2026-03-02T09:30", previous=None)
    assert [(stretch.decision, stretch.previous) for stretch in decided.stretches] == [("run", once.anchor)]
    assert decided.next_run_at is None


def test_the_first_time_of_a_job_follows_its_anchor() -> None:
    decided = plan(HOURLY, NINE, "2026-03-02T09:01", previous=None)
    assert decided.stretches[0].previous == HOURLY.anchor


def test_a_limit_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        plan(DAILY, NINE, NINE, limit=0)


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
        replace(recurring("2025-01-31", frequency="monthly"), month_end="skip"),
        replace(recurring("2025-01-31T02:30", frequency="daily", timezone="America/New_York"), dst_gap="skip"),
        replace(HOURLY, end_date=at("2026-06-01")),
    )
)
lateness = st.one_of(
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(hours=5)),
    st.timedeltas(min_value=timedelta(days=20), max_value=timedelta(days=90)),
)
policies = st.builds(
    Policies,
    misfire=st.sampled_from(MISFIRES),
    misfire_grace_seconds=st.sampled_from([1, 60, 3_600, 2_592_000]),
    overlap=st.sampled_from(OVERLAPS),
    max_executions=st.one_of(st.none(), st.just(9)),
)


def all_planned(schedule: Schedule, since: datetime, until: datetime) -> dict[datetime, str | None]:
    planned = dict[datetime, str | None]()
    found = next_planned(schedule, since)
    while found is not None and found.at <= until:
        planned[found.at] = found.skipped
        found = next_planned(schedule, found.at)
    return planned


@settings(max_examples=some(200), deadline=None)
@given(
    schedule=jobs,
    rules=policies,
    since=moments,
    late=lateness,
    known=st.fixed_dictionaries(
        {"run_open": st.booleans(), "runs_left": st.integers(0, 9), "pausing": st.sampled_from([False, False, True])}
    ),
    limit=st.integers(1, 100),
)
def test_batches_put_every_planned_time_in_exactly_one_stretch_by_its_policy_and_the_chain_never_breaks(
    schedule: Schedule, rules: Policies, since: datetime, late: timedelta, known: dict[str, Any], limit: int
) -> None:
    if schedule.frequency not in {"daily", "monthly"}:
        late %= timedelta(hours=5)
    now = since + late
    planned = all_planned(schedule, since, now)
    firing = [time for time, skipped in planned.items() if not skipped]
    if not firing or (rules.max_executions is None):
        known = known | {"runs_left": None}
    if not firing:
        return
    first: datetime | None = next(takewhile(lambda one: one.at <= now, occurrences(schedule, since))).at
    cursor, previous, left = since, since, known["runs_left"]
    covered: dict[datetime, str] = {}
    while first is not None and first <= now:  # batch after batch, as the scheduler does it
        state = State(first=first, cursor=cursor, previous=previous, **(known | {"runs_left": left}))
        batch = decide(schedule, rules, state, now=now, limit=limit)
        for stretch in batch.stretches:
            inside = [one for one in planned if stretch.scheduled_for <= one <= stretch.until]
            assert (stretch.previous, stretch.times) == (previous, len(inside))
            assert (inside[0], inside[-1]) == (stretch.scheduled_for, stretch.until)
            assert not covered.keys() & set(inside)
            covered |= dict.fromkeys(inside, stretch.decision)
            previous = stretch.until
        assert batch.last_scheduled_for == previous
        assert batch.next_run_at is None or batch.next_run_at > batch.last_scheduled_for
        first, cursor = batch.next_run_at, previous
        left = None if left is None else left - len(batch.runs)
        if batch.buffered:
            known = known | {"buffered": True}
    assert list(covered) == list(planned)[: len(covered)]
    assert set(firing) <= covered.keys()
    assert covered == expected_fates(planned, rules, known, now)


def expected_fates(
    planned: dict[datetime, str | None], rules: Policies, known: dict[str, Any], now: datetime
) -> dict[datetime, str]:
    """Say the same slowly, of all times at once."""
    firing = [time for time, skipped in planned.items() if not skipped]
    found: dict[datetime, str] = {time: skipped for time, skipped in planned.items() if skipped}
    left, buffered = known["runs_left"], False
    for index, time in enumerate(firing):
        later, late = len(firing) - 1 - index, now - time
        if known["pausing"]:
            found[time] = "paused"
            continue
        makes_up = {"skip": late <= timedelta(minutes=1) and not later, "once": not later, "all": later < 100}
        if late > rules.grace:
            found[time] = "misfired"
        elif not makes_up[rules.misfire]:
            found[time] = "misfired" if rules.misfire == "skip" else "coalesced"
        elif known["run_open"] and (rules.overlap == "skip" or (rules.overlap == "buffer_one" and buffered)):
            found[time] = "overlap_skipped"
        elif left == 0:
            found[time] = "limit_reached"
        else:
            buffered = known["run_open"] and rules.overlap == "buffer_one"
            found[time] = "buffered" if buffered else "run"
            left = None if left is None else left - 1
    return {time: found[time] for time in planned if time in found}
