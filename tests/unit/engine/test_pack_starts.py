"""Starts of instances share tasks: at most 25, of one org and one time, in their order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from core.ids import uuid7
from engine.pack import pack_starts
from engine.workflows.job_start import TOGETHER, DueStart, JobStart

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
TEMPLATE, JOB = UUID(int=1), UUID(int=2)


def due(org: int, seconds: int, **values: Any) -> DueStart:
    start = JobStart(uuid7(NOW), TEMPLATE, JOB, "schedule", NOW)._replace(**values)
    return DueStart(UUID(int=org), start, NOW + timedelta(seconds=seconds))


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 1)), max_size=120))
def test_each_start_is_in_one_task_of_its_org_and_time(made: list[tuple[int, int]]) -> None:
    starts = [due(org, seconds) for org, seconds in made]
    tasks, carriers = pack_starts(starts, NOW)
    by_id = {task["task_id"]: task for task in tasks}
    assert len(by_id) == len(tasks)
    assert carriers.keys() == {one.start.instance_id for one in starts}
    for one in starts:
        task = by_id[carriers[one.start.instance_id]]
        assert (task["org_id"], task["run_at"]) == (one.org_id, one.run_at)
        assert one.start.document() in task["payload"]["items"]
    for task in tasks:
        assert 1 <= len(task["payload"]["items"]) <= TOGETHER
    assert sum(len(task["payload"]["items"]) for task in tasks) == len(starts)
    groups = {pair: made.count(pair) for pair in made}
    assert len(tasks) == sum(-(-count // TOGETHER) for count in groups.values())


def test_what_a_start_does_not_say_is_left_out_of_its_document() -> None:
    bare = due(1, 0).start
    assert bare.document() == {
        "instance_id": str(bare.instance_id),
        "start": {
            "template_id": str(TEMPLATE),
            "job_id": str(JOB),
            "origin": "schedule",
            "scheduled_for": "2026-03-02T09:00:00+00:00",
        },
    }
    full = due(1, 0, context={"a": 1}, timeout_seconds=60, requested_by=UUID(int=3)).start
    further = {"context": {"a": 1}, "timeout_seconds": 60, "requested_by": str(UUID(int=3))}
    assert full.document()["start"] == bare.document()["start"] | further
