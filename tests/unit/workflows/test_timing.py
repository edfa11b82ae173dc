"""Until when delays wait: spans, times and references to them, business hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PermanentError
from engine.schedule import zones
from engine.schedule.business import BusinessHours, parse
from engine.workflows.timing import wakes_at
from tests.unit.schedule.making import at

NOW: Final = at("2026-03-27T15:30")  # a Friday, 16:30 in Berlin; clocks change on the Sunday
BERLIN: Final = zones.zone("Europe/Berlin")


def wakes(config: dict[str, Any], context: Any = None, hours: BusinessHours = BusinessHours.DEFAULT) -> datetime:
    filled = {"seconds": 0.0, "until": None, "business_hours": False} | config
    return wakes_at(filled, {"context": context}, now=NOW, tz=BERLIN, hours=hours)


@given(st.floats(0, 1e8))
def test_a_span_counts_from_now_in_real_seconds(seconds: float) -> None:
    assert wakes({"seconds": seconds}) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("until", "instant"),
    [
        ("2026-04-01T09:00:00+02:00", "2026-04-01T07:00"),
        ("2026-04-01T09:00Z", "2026-04-01T09:00"),
        ("{{ context.at }}", "2026-05-01T08:00"),
        ("{{ context.day }}T10:00-05:00", "2026-06-01T15:00"),
        ("2026-03-27T15:29Z", "2026-03-27T15:30"),
        ("1970-01-01T00:00Z", "2026-03-27T15:30"),
    ],
)
def test_a_time_is_waited_for_and_a_past_one_is_now(until: str, instant: str) -> None:
    assert wakes({"until": until}, {"at": "2026-05-01T10:00+02:00", "day": "2026-06-01"}) == at(instant)


def test_a_span_comes_on_top_of_a_time() -> None:
    assert wakes({"until": "2026-04-01T09:00Z", "seconds": 3600.0}) == at("2026-04-01T10:00")
    assert wakes({"until": "2026-03-27T15:00Z", "seconds": 3600.0}) == at("2026-03-27T16:00")


@pytest.mark.parametrize(
    ("config", "instant"),
    [
        ({}, "2026-03-27T15:30"),
        ({"seconds": 1799.0}, "2026-03-27T15:59:59"),
        ({"seconds": 1800.0}, "2026-03-30T07:00"),
        ({"seconds": 86400.0}, "2026-03-30T07:00"),
        ({"until": "2026-04-01T03:00+02:00"}, "2026-04-01T07:00"),
    ],
)
def test_business_hours_are_waited_for_after_the_span_by_the_orgs_clock(config: dict[str, Any], instant: str) -> None:
    assert wakes(config | {"business_hours": True}) == at(instant)


def test_business_hours_are_the_orgs_own() -> None:
    assert wakes({"business_hours": True}, hours=parse("sun 02:30-12:00")) == at("2026-03-29T01:00")


@pytest.mark.parametrize("value", ["soon", "", None, 1775000000, True, {}, [], "2026-13-01T00:00Z"])
def test_what_is_no_time_fails_for_good_and_says_what_it_was(value: Any) -> None:
    with pytest.raises(PermanentError, match=r"until is .* no time: give it like"):
        wakes({"until": "{{ context.at }}"}, {"at": value})


@pytest.mark.parametrize("until", ["2026-04-01T09:00", "2026-04-01"])
def test_a_time_without_an_offset_is_no_instant(until: str) -> None:
    with pytest.raises(PermanentError, match="no offset"):
        wakes({"until": until})


@pytest.mark.parametrize(
    "config",
    [{"seconds": 1e10}, {"seconds": 1e300}, {"until": "2200-01-01T00:00Z"}, {"until": "9999-12-31T23:59-12:00"}],
)
def test_what_would_wait_beyond_all_years_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(PermanentError, match="2199"):
        wakes(config)


def test_the_instant_is_in_utc() -> None:
    assert wakes({"until": "2026-04-01T09:00+02:00"}).tzinfo is UTC
