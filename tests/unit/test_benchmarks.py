"""What the benchmarks say of their figures. Nothing here measures anything."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from benchmarks.__main__ import main
from benchmarks.burst import Burst, Sample, arrivals, burst
from benchmarks.peer_venv import PeerError
from benchmarks.rows import Better, Row, missed
from benchmarks.schedules.scale import expressions
from benchmarks.workflows.chains import best
from benchmarks.workflows.scale import FULL
from benchmarks.workflows.series import Series, attempt
from benchmarks.workflows.state import document
from engine.schedule import definition
from engine.workflows.reading import parse_definition


def row(better: Better = "higher", **values: Any) -> Row:
    return Row(name="part.row", unit="jobs/s", better=better, **({"value": 8.0, "baseline": 2.0} | values))


def test_a_row_has_the_promised_keys_and_its_own_details_in_the_environment() -> None:
    said = row(target=3.0, details={"runs": [1, 2]}).document({"cpus": 2})
    assert said == {
        "name": "part.row",
        "value": 8.0,
        "baseline": 2.0,
        "ratio": 4.0,
        "unit": "jobs/s",
        "better": "higher",
        "target": 3.0,
        "ok": True,
        "environment": {"cpus": 2, "runs": [1, 2]},
    }


@pytest.mark.parametrize(
    ("better", "target", "misses"),
    [("higher", 4.0, []), ("higher", 4.1, ["part.row"]), ("lower", 4.0, []), ("lower", 3.9, ["part.row"])],
)
def test_a_target_is_a_ratio_to_reach_or_not_to_exceed(better: Better, target: float, misses: list[str]) -> None:
    measured = row(better, target=target)
    assert [one.name for one in missed([measured])] == misses
    assert measured.ok is (misses == [])


def test_a_row_without_a_target_informs_and_is_ok() -> None:
    said = row(baseline=None).document({})
    assert (said["target"], said["ratio"], said["ok"]) == (None, None, True)
    assert "reason" not in said


@pytest.mark.parametrize("missing", [{"value": None}, {"baseline": None}, {"baseline": 0.0}])
def test_a_target_without_both_figures_is_missed_and_the_row_says_why(missing: dict[str, float | None]) -> None:
    failed = row("higher", target=3.0, reason="the peer could not run", **missing)
    assert failed.document({})["ok"] is False
    assert failed.document({})["reason"] == "the peer could not run"
    assert missed([failed]) == [failed]


def test_an_information_that_could_not_be_had_is_not_ok_but_misses_no_target() -> None:
    failed = row(value=None, reason="the peer could not run")
    assert not failed.ok
    assert missed([failed]) == []


def test_a_message_arrives_when_its_list_is_first_seen_that_long() -> None:
    samples = [Sample(1.0, (0, 0)), Sample(2.0, (2, 0)), Sample(3.0, (2, 1)), Sample(4.0, (3, 1))]
    assert arrivals(samples) == [[2.0, 2.0, 4.0], [3.0]]


def test_a_burst_counts_what_each_message_carries_when_it_came_first() -> None:
    found = burst(5, due=10.0, published=[("a", 10.5), ("b", 12.0), ("a", 11.0), ("x", 13.0)], weights={"a": 3, "b": 1})
    assert found == Burst(expected=5, lateness=(0.5, 0.5, 0.5, 2.0))
    assert found.reached == 4
    assert found.rate == 2.0


def test_the_rate_of_nothing_is_zero() -> None:
    assert burst(5, due=10.0, published=[]).rate == 0.0


def test_the_99th_percentile_is_the_lateness_that_99_of_100_do_not_exceed() -> None:
    assert Burst(200, tuple(float(second) for second in range(1, 201))).p99 == 198.0
    assert Burst(3, (1.0, 2.0, 3.0)).p99 == 3.0


def test_the_benchmarks_cron_jobs_have_50_valid_expressions() -> None:
    assert len(set(expressions())) == 50
    for expression in expressions():
        definition.parse({"cron_expression": expression}, now=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("part", ["rule", "nonsense"])
def test_a_part_that_does_not_exist_is_refused_with_those_that_do(
    part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([part, "--json"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"error: PART: there is no part {part!r} (the parts are: schedules, rules, workflows)\n"


def series(*runs: float, unit: str = "steps/s") -> Series:
    return Series("a peer", unit, list(runs))


def test_a_peer_that_breaks_loses_its_figures_says_why_and_is_not_tried_again() -> None:
    tried: list[int] = []

    def breaking() -> None:
        tried.append(1)
        raise PeerError("no such database")

    one, other = series(1.0), series(2.0)
    attempt(breaking, one, other)
    attempt(breaking, one, other)
    assert len(tried) == 1
    assert (one.median, other.median) == (None, None)
    assert one.reason == "a peer could not run: no such database"


def test_runs_are_added_and_the_median_counts() -> None:
    measured = series(5.0)
    attempt(lambda: measured.add([1.0, 3.0]), measured)
    assert (measured.runs, measured.median, measured.reason) == ([5.0, 1.0, 3.0], 3.0, None)


def test_the_best_pool_is_the_quickest_for_one_chain_and_the_most_productive_for_many() -> None:
    pools = {"prefork": series(9.0, 1.0, 9.0), "solo": series(5.0, 5.0, 6.0)}
    assert best(pools, min) == (pools["solo"], {"baseline_pool": "solo", "baseline_pools": _runs(pools)})
    assert best(pools, max)[0] is pools["prefork"]


def _runs(pools: dict[str, Series]) -> dict[str, list[float]]:
    return {way: one.runs for way, one in pools.items()}


def test_the_benchmarks_workflow_is_a_chain_that_the_engine_takes() -> None:
    chain = parse_definition(document(FULL.steps))
    names = [f"step{number}" for number in range(FULL.steps)]
    assert [chain.start, *(step.edges["next"] for step in chain.steps.values())] == [*names, None]
