"""The reason of a planned time that did not run, in plain English."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest

from cli.job_history import reason
from models.enums import Decision, Outcome

NOW = datetime(2026, 3, 2, tzinfo=UTC)
JOB = cast("Any", SimpleNamespace(misfire="once", misfire_grace_seconds=3600))


def of(decision: str, outcome: str | None = "skipped", **job: object) -> str | None:
    row = {"decision": decision, "outcome": outcome, "decided_at": NOW, "instance_id": None, "reason": None}
    return reason(row, cast("Any", SimpleNamespace(**(vars(JOB) | job))), [])


@pytest.mark.parametrize("decision", [one.value for one in Decision if one is not Decision.RUN])
def test_each_decision_that_does_not_run_has_a_reason(decision: str) -> None:
    assert of(decision)


@pytest.mark.parametrize("outcome", [None, *(one.value for one in Outcome)])
def test_a_run_needs_a_reason_only_where_it_never_began(outcome: str | None) -> None:
    assert (of("run", outcome) is not None) == (outcome in {"cancelled", "lost"})


def test_a_run_that_left_no_result_says_why_and_an_instance_may_be_cancelled_after_it_began() -> None:
    row = {"decision": "run", "outcome": "cancelled", "decided_at": NOW, "instance_id": uuid4(), "reason": None}
    assert reason(row, JOB, []) == "its instance was cancelled"
    assert reason(row | {"reason": "it was cancelled before it began"}, JOB, []) == "it was cancelled before it began"
    assert reason(row | {"outcome": "failure", "reason": "archived"}, JOB, []) == "archived"
    assert reason(row | {"outcome": "failure"}, JOB, []) is None


def test_lateness_is_told_by_the_policy() -> None:
    assert of("misfired") == "more than 3600 s late"
    assert of("misfired", misfire="skip") == "more than 60 s late"
    assert of("misfired", misfire="skip", misfire_grace_seconds=5) == "more than 5 s late"


def test_a_pause_is_told_by_the_note_that_held_when_it_was_recorded() -> None:
    minute = timedelta(minutes=1)
    notes = [(NOW - minute, "before"), (NOW, "then"), (NOW + minute, "after"), (None, "now")]
    row = {"decision": "paused", "outcome": "skipped", "decided_at": NOW}
    assert reason(row, JOB, notes) == "paused: then"
    assert reason(row, JOB, notes[3:]) == "paused: now"
    assert reason(row, JOB, [(None, None)]) == "paused"
