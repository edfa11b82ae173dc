from __future__ import annotations

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InputError
from engine.schedule import zones
from tests.unit.schedule.making import at

if TYPE_CHECKING:
    from pathlib import Path

moments = st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2040, 1, 1)).map(  # noqa: DTZ001 - made aware next
    lambda moment: moment.replace(tzinfo=UTC, microsecond=0)
)
some_zone = st.sampled_from(sorted(zones.names()))


def wall(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    "name", ["Mars/Olympus", "", "America", "../etc/passwd", "/etc/localtime", "europe/berlin", "\0"]
)
def test_a_name_that_is_no_zone_is_refused_with_the_field_and_a_remedy(name: str) -> None:
    with pytest.raises(InputError) as refusal:
        zones.zone(name)
    (problem,) = refusal.value.problems
    assert problem.field == "timezone"
    assert "IANA" in (problem.remedy or "")


def test_a_misspelled_zone_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="did you mean 'Europe/Berlin'"):
        zones.zone("europe/berln")


def test_every_zone_of_the_package_can_be_loaded_and_knows_its_name() -> None:
    assert len(zones.names()) > 500
    assert all(zones.zone(name).key == name for name in zones.names())


def test_a_zone_is_read_once() -> None:
    assert zones.zone("Asia/Tokyo") is zones.zone("Asia/Tokyo")


def test_the_local_day_is_the_zones_and_not_utcs() -> None:
    now = at("2026-03-01T11:00")
    assert zones.local_day(now, zones.zone("Pacific/Kiritimati")) == date(2026, 3, 2)
    assert zones.local_day(now, zones.zone("Pacific/Niue")) == date(2026, 3, 1)
    assert zones.local_day(now, zones.zone("UTC")) == date(2026, 3, 1)


@pytest.mark.parametrize(
    ("name", "inside", "end"),
    [
        ("America/New_York", "2026-03-08T02:30", "2026-03-08T07:00"),
        ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30"),  # half an hour
        ("Antarctica/Troll", "2026-03-29T01:00", "2026-03-29T01:00"),  # two hours
        ("Antarctica/Troll", "2026-03-29T02:59:59", "2026-03-29T01:00"),
        ("Pacific/Apia", "2011-12-30T00:00", "2011-12-30T10:00"),  # a whole day
        ("Pacific/Apia", "2011-12-30T23:59", "2011-12-30T10:00"),
        ("America/Sao_Paulo", "2018-11-04T00:00", "2018-11-04T03:00"),  # midnight does not exist
    ],
)
def test_a_wall_time_in_a_gap_has_no_instant_and_the_gap_ends(name: str, inside: str, end: str) -> None:
    tz = zones.zone(name)
    assert zones.instants(wall(inside), tz) == ()
    assert zones.gap_end(wall(inside), tz) == at(end)


@pytest.mark.parametrize(
    ("name", "inside", "first", "second", "turn"),
    [
        ("America/New_York", "2026-11-01T01:30", "2026-11-01T05:30", "2026-11-01T06:30", "2026-11-01T06:00"),
        ("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45", "2026-04-04T15:15", "2026-04-04T15:00"),
        ("Antarctica/Troll", "2026-10-25T01:30", "2026-10-24T23:30", "2026-10-25T01:30", "2026-10-25T01:00"),
    ],
)
def test_a_wall_time_in_a_fold_has_two_instants_and_the_clock_turns_between(
    name: str, inside: str, first: str, second: str, turn: str
) -> None:
    tz = zones.zone(name)
    assert zones.instants(wall(inside), tz) == (at(first), at(second))
    assert zones.fold_turn(at(first), tz) == at(turn)
    assert zones.fold_turn(at(second), tz) is None


@pytest.mark.timeout(10)
@pytest.mark.parametrize("fraction", ["00.000001", "00.5", "00.999999", "01.5"])
def test_fractions_of_a_second_do_not_hide_the_turn_of_the_clock(fraction: str) -> None:
    tz = zones.zone("America/New_York")
    assert zones.fold_turn(at(f"2026-11-01T05:00:{fraction}"), tz) == at("2026-11-01T06:00")
    assert zones.gap_end(wall(f"2026-03-08T02:00:{fraction}"), tz) == at("2026-03-08T07:00")
    assert zones.gap_end(wall(f"2026-03-08T02:59:58{fraction[2:]}"), tz) == at("2026-03-08T07:00")


@given(moment=moments, name=some_zone)
def test_every_instant_is_found_again_from_the_wall_time_it_shows(moment: datetime, name: str) -> None:
    tz = zones.zone(name)
    found = zones.instants(zones.wall_of(moment, tz), tz)
    assert moment in found
    assert all(zones.wall_of(instant, tz) == zones.wall_of(moment, tz) for instant in found)


@given(moment=moments, name=some_zone)
def test_a_wall_time_that_no_instant_shows_lies_before_what_the_gaps_end_shows(moment: datetime, name: str) -> None:
    tz, local = zones.zone(name), moment.replace(tzinfo=None)
    if zones.instants(local, tz) == ():
        end = zones.gap_end(local, tz)
        assert zones.wall_of(end - timedelta(seconds=1), tz) < local < zones.wall_of(end, tz) + timedelta(seconds=1)


def test_the_rules_do_not_depend_on_the_operating_systems_files(tmp_path: Path) -> None:
    utc = (resources.files("tzdata") / "zoneinfo" / "UTC").read_bytes()
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_bytes(utc)
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    try:
        noon = at("2026-07-01T12:00")
        assert noon.astimezone(zoneinfo.ZoneInfo.no_cache("Europe/Berlin")).hour == 12
        assert noon.astimezone(zones._load.__wrapped__("Europe/Berlin")).hour == 14
    finally:
        zoneinfo.reset_tzpath()
