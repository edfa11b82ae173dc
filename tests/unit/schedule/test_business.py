"""Business hours: how they are written, and the next open instant against stepping minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.errors import InputError
from engine.schedule import zones
from engine.schedule.business import DAYS, BusinessHours, Span, next_open, parse
from tests.unit.schedule.making import at

MINUTE: Final = timedelta(minutes=1)
BERLIN: Final = zones.zone("Europe/Berlin")

spans = st.lists(st.integers(0, 1440), min_size=2, max_size=2, unique=True).map(lambda ends: Span(*sorted(ends)))
weeks = st.lists(st.none() | spans, min_size=7, max_size=7).filter(any).map(lambda days: BusinessHours(tuple(days)))
# By the minute: zones whose clocks change at midnight, by half an hour, by a day, twice a year, often.
changes = st.sampled_from(
    [
        ("Europe/Berlin", "2026-03-29T01:00"),
        ("Europe/Berlin", "2026-10-25T01:00"),
        ("America/Sao_Paulo", "2017-10-15T03:00"),
        ("America/Sao_Paulo", "2018-02-18T02:00"),
        ("Australia/Lord_Howe", "2026-04-04T15:00"),
        ("Australia/Lord_Howe", "2026-10-03T15:30"),
        ("Pacific/Apia", "2011-12-30T10:00"),
        ("Africa/Casablanca", "2026-02-15T02:00"),
        ("Africa/Casablanca", "2026-03-22T02:00"),
        ("Asia/Kathmandu", "2026-06-01T00:00"),
    ]
)


def is_open(instant: datetime, zone: str, hours: BusinessHours) -> bool:
    wall = zones.wall_of(instant, zones.zone(zone))
    span = hours.days[wall.isoweekday() % 7]
    return span is not None and span.opens <= wall.hour * 60 + wall.minute < span.closes


@settings(deadline=None)
@given(changes, st.integers(-3000, 3000), weeks)
@example(("Europe/Berlin", "2026-03-29T01:00"), -60, BusinessHours((Span(125, 150), *[None] * 6)))
@example(("Europe/Berlin", "2026-10-25T01:00"), -60, BusinessHours((Span(125, 150), *[None] * 6)))
@example(("Europe/Berlin", "2026-10-25T01:00"), -15, BusinessHours((Span(125, 150), *[None] * 6)))
def test_the_next_open_instant_is_the_first_that_stepping_by_minutes_finds(
    change: tuple[str, str], offset: int, hours: BusinessHours
) -> None:
    zone, moment = change
    start = at(moment) + offset * MINUTE
    stepped = start
    while not is_open(stepped, zone, hours):
        stepped += MINUTE
    assert next_open(start, zones.zone(zone), hours) == stepped


@settings(deadline=None)
@given(changes, st.timedeltas(timedelta(days=-3), timedelta(days=3)), weeks)
def test_an_open_instant_is_its_own_next_and_none_lies_before_what_is_asked(
    change: tuple[str, str], offset: timedelta, hours: BusinessHours
) -> None:
    zone, moment = change
    start = at(moment) + offset
    found = next_open(start, zones.zone(zone), hours)
    assert start <= found <= start + timedelta(days=15)
    assert found.tzinfo is UTC
    assert is_open(found, zone, hours)
    assert (found == start) == is_open(start, zone, hours)
    assert next_open(found, zones.zone(zone), hours) == found


@pytest.mark.parametrize(
    ("asked", "opens"),
    [
        ("2026-03-27T16:00", "2026-03-30T07:00"),  # Friday 17:00: closed; Monday is a summer day
        ("2026-03-27T15:59:59", "2026-03-27T15:59:59"),
        ("2026-03-27T07:59:59.5", "2026-03-27T08:00"),
        ("2026-10-23T15:00", "2026-10-26T08:00"),
        ("2026-12-31T12:00", "2026-12-31T12:00"),
    ],
)
def test_the_default_is_monday_to_friday_nine_to_five(asked: str, opens: str) -> None:
    assert next_open(at(asked), BERLIN, BusinessHours.DEFAULT) == at(opens)


def test_an_opening_that_a_change_of_clocks_leaves_out_is_the_end_of_the_gap() -> None:
    night = parse("sun 02:30-05:00")
    assert next_open(at("2026-03-28T12:00"), BERLIN, night) == at("2026-03-29T01:00")


def test_hours_that_lie_in_a_gap_are_those_of_the_week_after() -> None:
    night = parse("sun 02:10-02:50")
    assert next_open(at("2026-03-28T12:00"), BERLIN, night) == at("2026-04-05T00:10")


def test_a_clock_that_is_put_back_opens_again() -> None:
    night = parse("sun 02:10-02:30")
    assert next_open(at("2026-10-25T00:20"), BERLIN, night) == at("2026-10-25T00:20")
    assert next_open(at("2026-10-25T00:30"), BERLIN, night) == at("2026-10-25T01:10")


@given(weeks)
def test_hours_are_read_as_they_are_written_and_stored(hours: BusinessHours) -> None:
    assert parse(str(hours)) == hours
    assert BusinessHours.stored(hours.document()) == hours


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("mon-fri 09:00-17:00", "mon-fri 09:00-17:00"),
        ("MON - Fri 9:00 - 17:00,sat 10:00-24:00", "mon-fri 09:00-17:00, sat 10:00-24:00"),
        ("fri-mon 0:00-24:00", "mon 00:00-24:00, fri-sun 00:00-24:00"),
        ("sun-sat 08:00-20:00", "mon-sun 08:00-20:00"),
    ],
)
def test_hours_are_written_by_days_from_monday_on(text: str, written: str) -> None:
    assert str(parse(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "mon",
        "mon-fri",
        "9-17",
        "mon 9-17",
        "foo 09:00-17:00",
        "mon 25:00-26:00",
        "mon 09:00-24:01",
        "mon 17:00-09:00",
        "mon 09:00-09:00",
        "mon 09:60-17:00",
        "mon-fri 09:00-17:00, wed 10:00-12:00",
        "mon 09:00-17:00;",
        "x" * 10_000,
        "mon 09:00-17:00" + " " * 500,
    ],
)
def test_what_is_no_hours_is_refused_with_the_field_and_a_remedy(text: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse(text, "--set")
    (problem,) = refusal.value.problems
    assert problem.field == "--set"
    assert problem.remedy
    assert len(problem.message) < 200


def test_all_parts_that_are_wrong_are_told_at_once() -> None:
    with pytest.raises(InputError) as refusal:
        parse("mon 17:00-09:00, someday 10:00-12:00, tue 09:00-17:00, tue 10:00-11:00")
    assert len(refusal.value.problems) == 3


def test_nothing_stored_is_the_default_and_days_that_are_not_named_are_closed() -> None:
    assert BusinessHours.stored(None) == BusinessHours.DEFAULT
    assert BusinessHours.stored({"wed": "10:00-12:30"}) == parse("wed 10:00-12:30")
    assert [day for day, span in zip(DAYS, parse("sat-sun 10:00-11:00").days, strict=True) if span] == ["sun", "sat"]
