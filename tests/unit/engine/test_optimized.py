"""The result of an optimisation follows from those of its rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.run_rules.optimized import counts_of, status_of
from engine.store.optimizations import Tally
from models.enums import ExecutionStatus

TALLIES = st.lists(
    st.builds(
        Tally,
        st.sampled_from([one.value for one in ExecutionStatus]),
        st.booleans(),
        st.booleans(),
        st.integers(1, 200),
    ),
    max_size=6,
)


@pytest.mark.parametrize(
    ("statuses", "retried", "result"),
    [
        ([], 0, "skipped"),
        (["skipped"], 0, "skipped"),
        (["skipped", "success"], 0, "success"),
        (["running"], 0, "success"),  # what waits for a person is no failure
        (["failure"], 0, "failure"),
        (["failure", "skipped"], 0, "failure"),
        (["failure", "success"], 0, "partial"),
        (["failure", "running"], 0, "partial"),
        (["partial"], 0, "partial"),
        (["partial", "failure"], 0, "partial"),
        (["success"], 1, "partial"),
        (["failure"], 1, "partial"),
        ([], 1, "partial"),
    ],
)
def test_the_status_of_an_optimisation(statuses: list[str], retried: int, result: str) -> None:
    tally = [Tally(status, status == "success", status == "running", 1) for status in statuses]
    assert status_of(tally, retried) == result


@given(TALLIES, st.integers(0, 3))
def test_counts_of_rules_add_up(tally: list[Tally], retried: int) -> None:
    counts = counts_of(tally, retried)
    others = sum(one.executions for one in tally if one.status in {"success", "running"})
    assert counts["evaluated"] == others + counts["failed"] + counts["skipped"]
    assert counts["held"] == sum(one.executions for one in tally if one.held)
    assert counts["retried"] == retried
    assert counts["acted"] <= counts["evaluated"]
