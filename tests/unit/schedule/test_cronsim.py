"""Where cronsim on the zone's own clock differs from us: each difference has one of the reasons that the docs list.

cronsim steps in real time but expects the clock to have moved as far, and starts a day at its naive midnight. A cronsim
with one of these mended must agree: that is what makes it the reason.
"""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from cronsim import CronSim

from engine.schedule import zones
from engine.schedule.grammar import follows_wall_clock
from tests.unit.schedule.expressions import generated
from tests.unit.schedule.making import AWKWARD_ZONES, cron
from tests.unit.schedule.walking import (
    HOUR,
    MINUTE,
    Change,
    changes,
    cron_names,
    planned,
    steps,
    walk,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.schedule.occurrences import Occurrence

DOCS = Path(__file__).resolve().parents[3] / "docs" / "schedules.md"
ZONES = tuple(name for name in AWKWARD_ZONES if name in changes())
EXPRESSIONS = generated(200, seed=2026)


class EndlessError(Exception):
    """No end is in sight."""


class Sim(CronSim):
    """cronsim as it is, but one that gives up where it would search for ever."""

    MOST_STEPS = 3000

    def __next__(self) -> datetime:
        self.left = self.MOST_STEPS
        found: datetime = super().__next__()
        return found

    def tick(self, seconds: int = 1) -> None:
        self.left -= 1
        if self.left < 0:
            raise EndlessError
        super().tick(seconds)


class ReadsTheClock(Sim):
    """One that looks at the clock after every minute instead of expecting it to be a whole hour or more further."""

    def advance_hour(self) -> bool:
        if self.dt.hour in self.hours:
            return False
        self.dt, day = self.dt.replace(second=0), self.dt.date()
        while self.dt.hour not in self.hours and self.dt.date() == day:
            self.tick(60)
        return True

    def advance_minute(self) -> bool:
        if self.dt.minute in self.minutes:
            return False
        self.dt, hour = self.dt.replace(second=0), (self.dt.hour, self.dt.fold)
        while self.dt.minute not in self.minutes and (self.dt.hour, self.dt.fold) == hour:
            self.tick(60)
        return True


class ReadsTheCalendar(Sim):
    """One that looks at the date after every minute instead of setting the clock to the next midnight."""

    MOST_STEPS = 10_000

    def advance_day(self) -> bool:
        return self._minute_by_minute() or bool(super().advance_day())

    def advance_month(self) -> None:
        self._minute_by_minute()
        super().advance_month()

    def _minute_by_minute(self) -> bool:
        if self._named():
            return False
        self.dt = self.dt.replace(second=0)
        for _ in range(2 * 24 * 60):
            if not self._named():
                self.tick(60)
        return True

    def _named(self) -> bool:
        return self.dt.month in self.months and bool(self.match_day(self.dt.date()))


class Case(NamedTuple):
    """An expression on the clock of a zone, from a start to an end around one change."""

    expression: str
    zone: str
    change: Change
    start: datetime
    end: datetime

    @property
    def ours(self) -> list[datetime]:
        return [one.at for one in found(self)]

    def theirs(self, sim: type[Sim]) -> list[datetime]:
        """Return what cronsim says up to the end, or up to where it goes back or searches for ever."""
        said = list[datetime]()
        with suppress(EndlessError):
            for one in sim(self.expression, self.start.astimezone(zones.zone(self.zone))):
                instant = one.astimezone(UTC)
                if instant > self.end or (said and instant <= said[-1]):
                    break
                said.append(instant)
        return said

    @property
    def reason(self) -> str | None:
        """Return why the two differ: what makes them agree once it is mended."""
        fixed = not follows_wall_clock(self.expression)
        if fixed and [one for one in self.theirs(Sim) if one > self.start] == self.ours:
            return "start in a second pass"
        if self.theirs(ReadsTheClock) == self.ours:
            return "whole hours and minutes"
        if self.theirs(ReadsTheCalendar) == self.ours:
            return "midnight in a gap" if self.change.size > timedelta(0) else "back over midnight"
        return None


@cache
def found(case: Case) -> tuple[Occurrence, ...]:
    """Return our planned times of a case."""
    return tuple(planned(cron(case.expression, case.zone), case.start, case.end))


@cache
def cases() -> tuple[Case, ...]:
    """Return each expression in each zone around one of its changes, and once more from within a second pass."""
    made = []
    for name in ZONES:
        known = changes()[name]
        chosen = random.Random(name).sample(known, min(10, len(known)))  # noqa: S311 - the same in each run
        for expression, change in zip(EXPRESSIONS, itertools.cycle(chosen), strict=False):
            room = 6 * HOUR + abs(change.size)
            made.append(Case(expression, name, change, change.at - room, change.at + room))
            if change.size < timedelta(0):
                made.append(made[-1]._replace(start=change.at - change.size // 2))
    return tuple(made)


@cache
def differing() -> dict[Case, str | None]:
    """Return the cases in which cronsim differs from us, each with the reason."""
    return {case: case.reason for case in cases() if case.theirs(Sim) != case.ours}


def test_at_least_twenty_zones_and_two_hundred_expressions_are_compared() -> None:
    assert len(ZONES) >= 20
    assert len(EXPRESSIONS) == 200
    assert len({(case.zone, case.expression) for case in cases()}) == len(ZONES) * 200
    assert sum(bool(case.ours) for case in cases()) > len(cases()) / 2


@pytest.mark.exhaustive
def test_a_walk_over_the_minutes_agrees_everywhere() -> None:
    for case in cases():
        if case.start < case.change.at:
            schedule, names = cron(case.expression, case.zone), cron_names(case.expression)
            wild = follows_wall_clock(case.expression)
            way = steps(case.zone, case.start, case.end)
            assert list(found(case)) == walk(way, names, follows_wall_clock=wild, schedule=schedule), case


def test_every_difference_from_cronsim_has_a_reason() -> None:
    assert [case for case, reason in differing().items() if reason is None] == []


def test_the_docs_list_the_reasons_and_no_others() -> None:
    listed = DOCS.read_text(encoding="utf-8").partition("### Differences from cronsim")[2].partition("\n#")[0]
    assert set(re.findall(r"^\| \*\*(.+?)\*\* \|", listed, re.MULTILINE)) == set(differing().values())


def test_fixed_times_differ_only_where_cronsim_starts_in_a_second_pass() -> None:
    reasons = Counter(reason for case, reason in differing().items() if not follows_wall_clock(case.expression))
    assert set(reasons) == {"start in a second pass"}


@pytest.mark.parametrize(
    ("reason", "applies"),
    [
        ("midnight in a gap", lambda change: change.size > timedelta(0)),
        ("back over midnight", lambda change: change.size < timedelta(0)),
        ("start in a second pass", lambda change: change.size < timedelta(0)),
    ],
)
def test_a_reason_holds_only_at_its_kind_of_change(reason: str, applies: Callable[[Change], bool]) -> None:
    assert all(applies(case.change) for case, why in differing().items() if why == reason)


def test_steps_of_whole_hours_fail_only_where_the_clock_changes_off_the_hour_or_by_half_of_one() -> None:
    for case, reason in differing().items():
        if reason == "whole hours and minutes":
            before = zones.wall_of(case.change.at - MINUTE, zones.zone(case.zone)) + MINUTE
            assert before.minute or case.change.size % HOUR, case
