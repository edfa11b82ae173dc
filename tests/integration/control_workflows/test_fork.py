"""Runs are done anew from one of their steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.errors import ConflictError, InputError, NotFoundError
from engine.control_workflows import steps, switch
from engine.control_workflows.fork import fork, merged
from tests.integration.control_workflows.flows import approval, delay, fails, noop, split

if TYPE_CHECKING:
    from tests.integration.control_workflows.flows import Flows

PATHS = {
    "id": "which",
    "type": "condition",
    "config": {
        "conditions": [{"field": "score", "operator": ">", "value": 50}],
        "true_next": "high",
        "false_next": "low",
    },
}


def test_a_fork_takes_over_what_was_done_and_does_the_rest_anew(flows: Flows) -> None:
    instance_id = flows.started(noop("a", "b"), noop("b", "c"), noop("c"), tags=["x"], score=1)
    before = flows.snapshot(instance_id)
    made = fork(flows.hand, instance_id, "b", note="once more")
    assert (made.status, made.already) == ("pending", False)
    assert flows.statuses(made.instance_id) == {"a": "completed", "b": "queued", "c": "pending"}
    source, copy = flows.step(instance_id, "a"), flows.step(made.instance_id, "a")
    kept = ("input_data", "output_data", "attempt", "branch_taken", "started_at", "finished_at", "duration_ms")
    assert [getattr(copy, name) for name in kept] == [getattr(source, name) for name in kept]
    assert copy.note == f"copied from {instance_id}"
    flows.work()
    row = flows.instance(made.instance_id)
    assert (row.status, row.steps_completed, row.forked_from) == ("completed", 3, instance_id)
    assert row.context_data == {"tags": ["x"], "score": 1}
    [told] = flows.entries(made.instance_id, "instance_forked")
    assert told.details == {"source": str(instance_id), "step": "b", "note": "once more"}
    assert flows.snapshot(instance_id) == before


def test_a_fork_may_have_another_context_and_so_take_another_way(flows: Flows) -> None:
    instance_id = flows.started(noop("a", "which"), PATHS, noop("high"), noop("low"), score=1, keep=1, drop=1)
    assert flows.statuses(instance_id)["low"] == "completed"
    made = fork(flows.hand, instance_id, "which", patch={"score": 99, "drop": None})
    flows.work()
    assert flows.statuses(made.instance_id) == {
        "a": "completed", "which": "completed", "high": "completed", "low": "skipped",
    }  # fmt: skip
    assert flows.instance(made.instance_id).context_data == {"score": 99, "keep": 1}


def test_a_fork_from_the_first_step_copies_nothing(flows: Flows) -> None:
    instance_id = flows.started(noop("a", "b"), noop("b"))
    made = fork(flows.hand, instance_id, "a")
    assert flows.statuses(made.instance_id) == {"a": "queued", "b": "pending"}
    flows.work()
    assert flows.instance(made.instance_id).status == "completed"


def test_what_had_not_ended_in_the_source_is_done_in_the_fork(flows: Flows) -> None:
    made = [split("both", "a", "wait"), noop("a", "m"), delay("wait", "m"), noop("m")]
    instance_id = flows.started(*made)
    copy = fork(flows.hand, instance_id, "a").instance_id
    assert flows.statuses(copy) == {"both": "completed", "a": "queued", "wait": "queued", "m": "pending"}
    flows.work()
    flows.world.advance(hours=2)
    flows.work()
    assert {flows.instance(one).status for one in (instance_id, copy)} == {"completed"}


def test_a_branch_that_a_failure_cut_off_is_done_in_the_fork(flows: Flows) -> None:
    flows.broken = {"a"}
    made = [split("both", "a", "wait"), fails("a", "m"), delay("wait", "m"), noop("m")]
    instance_id = flows.started(*made)
    assert flows.statuses(instance_id)["wait"] == "cancelled"
    flows.broken = set()
    copy = fork(flows.hand, instance_id, "a").instance_id
    flows.work()
    flows.world.advance(hours=2)
    flows.work()
    assert flows.instance(copy).status == "completed"


def test_losers_of_a_merge_are_losers_of_the_copy(flows: Flows) -> None:
    merge = {"id": "m", "type": "merge", "config": {"mode": "any"}, "next": "z"}
    instance_id = flows.started(split("both", "a", "wait"), noop("a", "m"), delay("wait", "m"), merge, noop("z"))
    assert flows.statuses(instance_id)["wait"] == "cancelled"
    copy = fork(flows.hand, instance_id, "z").instance_id
    flows.work()
    row = flows.instance(copy)
    assert (row.status, flows.statuses(copy)["wait"]) == ("completed", "cancelled")


def test_steps_that_were_skipped_and_failures_that_were_passed_are_copied(flows: Flows) -> None:
    flows.broken = {"a"}
    instance_id = flows.started(fails("a", "ask", on_failure="continue"), approval("ask", "b"), noop("b"))
    steps.skip(flows.hand, instance_id, "ask", reason="no need", branch="next")
    flows.work()
    copy = fork(flows.hand, instance_id, "b").instance_id
    flows.work()
    row = flows.instance(copy)
    assert (row.status, row.steps_failed, row.steps_skipped, row.steps_completed) == ("completed", 1, 1, 1)
    assert flows.step(copy, "ask").note == f"copied from {instance_id}: no need"
    assert flows.step(copy, "a").error["code"] == "PERMANENT"


@pytest.mark.parametrize("state", ["running", "paused", "cancelled"])
def test_a_run_in_any_state_is_forked_and_stays_in_it(flows: Flows, state: str) -> None:
    instance_id = flows.started(noop("a", "wait"), delay("wait"))
    if state == "paused":
        switch.pause(flows.hand, instance_id)
    if state == "cancelled":
        switch.cancel(flows.hand, instance_id, reason=None)
    before = flows.snapshot(instance_id)
    copy = fork(flows.hand, instance_id, "wait").instance_id
    flows.work()
    assert flows.snapshot(instance_id) == before
    assert flows.statuses(copy) == {"a": "completed", "wait": "waiting"}


@pytest.mark.parametrize(
    ("made", "step_id", "said"),
    [
        ([delay("a", "b"), noop("b")], "b", "--from: the run never came to b: a had not ended"),
        ([PATHS, noop("high"), noop("low")], "high", "--from: no way that the run took leads to high"),
        ([noop("a")], "x", "the workflow has no step 'x'"),
    ],
)
def test_a_run_is_forked_only_from_where_it_was(flows: Flows, made: list[Any], step_id: str, said: str) -> None:
    instance_id = flows.started(*made, score=1)
    count = "SELECT count(*) FROM cmis.workflow_instances"
    before = flows.world.one(count)
    with pytest.raises((ConflictError, NotFoundError), match=said):
        fork(flows.hand, instance_id, step_id)
    assert flows.world.one(count) == before


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ([1], "--context: must be an object"),
        ({"a": "x" * 300_000}, "--context: has 300,0.. bytes as JSON"),
        ({"a": "\0"}, "--context.a"),
    ],
)
def test_a_context_that_cannot_be_kept_is_refused(flows: Flows, patch: Any, said: str) -> None:
    instance_id = flows.started(noop("a"))
    with pytest.raises(InputError, match=said):
        fork(flows.hand, instance_id, "a", patch=patch)


@pytest.mark.parametrize("key", ["", "x" * 201, "retry:a", "step:a"])
def test_a_key_that_cannot_be_kept_or_is_the_engines_is_refused(flows: Flows, key: str) -> None:
    instance_id = flows.started(noop("a"))
    with pytest.raises(InputError, match="--idempotency-key"):
        fork(flows.hand, instance_id, "a", idempotency_key=key)


def test_a_merge_patch_reaches_into_objects() -> None:
    assert merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": None, "e": {"f": None}}, "d": [2]}) == {
        "a": {"c": 2, "e": {}}, "d": [2],
    }  # fmt: skip
