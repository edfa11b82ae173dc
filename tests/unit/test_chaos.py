"""What the chaos suite chooses and measures. Nothing here harms anything."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.__main__ import main
from chaos.crew import children_of
from chaos.faults import Fault
from chaos.measures import Measured, _everyone, _late, _recovered, _resumed
from chaos.report import _faults, document
from chaos.run import Result, _broken_bounds, _unmeasured
from chaos.scenario import Bound, Scenario, all_scenarios, chosen
from chaos.scenarios.c09_poison import _is_given_up
from chaos.turns import in_turn
from core.errors import InputError
from dev.launch import wait_until

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def lost(worker: str, started: float, again: float | None) -> Any:
    return SimpleNamespace(worker=worker, started_at=after(started), again=None if again is None else after(again))


def scenario(*bounds: Bound) -> Scenario:
    return Scenario("C99", "nothing", 1, lambda _: None, bounds=bounds)


def test_scenarios_are_found_in_order_and_each_has_its_own_name() -> None:
    found = [*all_scenarios()]
    assert {"C1", "C2", "C3", "C6", "C11", "C12", "POWER"} <= {*found}
    numbers = [int(name[1:]) for name in found if name[1:].isdigit()]
    assert numbers == sorted(numbers)


def test_some_scenarios_are_chosen_by_name_once_each() -> None:
    assert [one.name for one in chosen("c2, C1,C2")] == ["C2", "C1"]
    assert [one.name for one in chosen(None)] == [*all_scenarios()]


@pytest.mark.parametrize("names", ["C1,C0", "", ","])
def test_a_name_that_is_none_is_refused_with_those_that_are(names: str) -> None:
    with pytest.raises(InputError, match="one or more of C1, C2"):
        chosen(names)


def test_the_command_line_says_so_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "C0"]) == 2
    assert "C0 names no scenario" in capsys.readouterr().err


def test_a_lost_attempt_recovers_from_the_death_of_its_own_process() -> None:
    log = [Fault("child killed", after(5), (71,)), Fault("main killed", after(9), (70, 72)), Fault("other", after(9))]
    rows = [
        lost("worker1@host:71", 4, 7),
        lost("worker1@host:72", 1, 40),
        lost("worker1@host:72", 9.5, 50),  # the pid was given to a process that began after
        lost("worker1@host:99", 1, 50),  # nobody's
        lost("worker1@host:71", 1, None),  # not claimed again yet
    ]
    assert _recovered(log, rows) == [("child killed", 2.0), ("main killed", 31.0)]


def test_what_was_away_resumes_with_the_first_claim_after_it_is_back() -> None:
    log = [
        Fault("stopped", after(0), over=after(30)),
        Fault("killed", after(1)),
        Fault("late", after(50), over=after(60)),
    ]
    assert _resumed(log, [after(-1), after(31.5), after(40)]) == [("stopped", 1.5)]


def test_a_planned_time_is_late_under_the_fault_that_it_fell_due_in() -> None:
    log = [Fault("killed", after(0)), Fault("stopped", after(10), over=after(17))]
    starts = [(after(-0.5), after(1)), (after(5), after(5.1)), (after(12), after(18)), (after(30), after(31))]
    assert _late(log, starts) == [("killed", 1.5), ("stopped", 6.0)]


def claim(worker: str, published: float | None, started: float) -> Any:
    at = None if published is None else after(published)
    return SimpleNamespace(worker=worker, published_at=at, started_at=after(started))


def test_everybody_is_at_work_again_with_what_was_published_after_the_fault() -> None:
    log = [Fault("away", after(0), over=after(30))]
    in_hand = [claim("one", 0, 31), claim("two", -5, 31), claim("two", None, 32)]
    again = claim("two", 40, 33)  # in hand, and published once more after it had failed
    news = [claim("one", 31, 34), claim("two", 41, 44), claim("one", 45, 46)]
    assert _everyone(log, [*in_hand, again, *news], {"one", "two"}) == [("away", 14.0)]
    assert _everyone(log, [*in_hand, again, news[0]], {"one", "two"}) == [("away", float("inf"))]
    assert _everyone(log, news, {"one", "two", "never seen"}) == [("away", float("inf"))]


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_has_its_turn_whatever_the_seed_and_the_time(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    late: Any = SimpleNamespace(chance=chance, left=0.0)
    assert sorted(in_turn(late, "abcd")) == ["a", "b", "c", "d"]
    left = count(9, -1)
    arena: Any = type("Arena", (), {"chance": chance, "left": property(lambda _: next(left))})()
    kinds = [*islice(in_turn(arena, "abcd", needs=3), 99)]
    assert (sorted(kinds[:4]), sorted(kinds[4:8])) == (["a", "b", "c", "d"], ["a", "b", "c", "d"])
    assert len(kinds) == 10  # 9 to 4 s are left before six more


def test_a_bound_is_broken_by_its_worst_and_untested_where_nothing_was_measured() -> None:
    measured = Measured([0.1] * 99 + [5.0], 2, {("killed", "recovered"): [1.0, 33.0]})
    kept, broken, unmeasured = (
        Bound("killed", "recovered", 40),
        Bound("killed", "recovered", 32),
        Bound("x", "late", 1),
    )
    assert _broken_bounds(scenario(kept, unmeasured), measured) == []
    assert _unmeasured(scenario(kept, broken), measured, {}) == []
    assert _unmeasured(scenario(kept, unmeasured), measured, Counter(x=2)) == [
        "x: late was never measured, and the fault happened 2 times"
    ]
    assert _broken_bounds(scenario(broken), measured) == ["killed: recovered after 33.0 s, which is more than 32 s"]
    assert measured.percentile(50) == pytest.approx(0.1)
    assert measured.percentile(99) > 0.1  # type: ignore[operator]
    assert replace(measured, lateness=[1.0]).percentile(50) is None


def test_a_result_as_json_says_what_was_promised_and_what_did_not_hold() -> None:
    bound = Bound("killed", "recovered", 32)
    measured = Measured([0.5, 1.5], 1, {("killed", "recovered"): [33.0]})
    result = Result(scenario(bound), 7, 12.34, 5, Counter([Fault("killed", NOON).kind]), 1, measured, ["late"])
    said = document(result)
    assert said["promises"] == [
        {"fault": "killed", "measure": "recovered", "times": 1, "worst": 33.0, "bound": 32, "ok": False}
    ]
    assert (said["seed"], said["faults"], said["violations"]) == (7, {"killed": 1}, ["late"])
    assert said["start_lateness"]["p50"] == 1.0


def test_a_promise_that_nothing_was_measured_of_is_not_tested_and_one_that_was_never_met_is_broken() -> None:
    bounds = (Bound("killed", "recovered", 32), Bound("away", "everyone", 20))
    measured = Measured([], 0, {("away", "everyone"): [float("inf")]})
    result = Result(scenario(*bounds), 7, 1, 1, Counter(), 0, measured)
    unmeasured, never = document(result)["promises"]
    assert (unmeasured["times"], unmeasured["worst"], unmeasured["ok"]) == (0, None, None)
    assert (never["times"], never["worst"], never["ok"]) == (1, None, False)
    assert ["not tested" in row[-1] for row in _faults(result)] == [True, False]


def test_the_children_of_a_process_are_found() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as parent:
        assert wait_until(lambda: len(children_of(parent.pid)) == 1, 60)
        assert children_of(children_of(parent.pid)[0]) == []


@pytest.mark.parametrize(
    ("name", "state", "attempt", "given_up"),
    [
        ("poison: poison_kills", "dead", 5, True),
        ("poison: poison_hoards", "dead", 4, False),
        ("poison: poison_kills", "failed", 5, False),
        ("poison: poison_spins", "failed", 1, True),
        ("poison: poison_spins", "ready", 5, False),
    ],
)
def test_what_kills_must_be_dead_and_what_spins_may_have_failed(
    name: str, state: str, attempt: int, *, given_up: bool
) -> None:
    row = SimpleNamespace(name=name, state=state, attempt=attempt, max_attempts=5)
    assert _is_given_up(row) is given_up
