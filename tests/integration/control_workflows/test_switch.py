"""Runs are paused, resumed and cancelled by people."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from core.errors import ConflictError, InputError, NotFoundError
from core.ids import uuid7
from engine.control_workflows import steps, switch
from engine.control_workflows.approve import approve
from engine.control_workflows.begin import begin
from engine.control_workflows.fork import fork
from engine.control_workflows.migrate import Wanted, migrate
from engine.workflows.advance import Completed
from tests.integration.control_workflows.flows import Flows, approval, delay, fails, noop, split


def test_a_paused_run_begins_no_step_until_it_is_resumed(flows: Flows) -> None:
    instance_id = flows.started(delay("wait", "after"), noop("after"))
    done = switch.pause(flows.hand, instance_id, note="until Monday")
    assert (done.status, done.already) == ("paused", False)
    flows.world.advance(hours=2)
    flows.work()
    assert flows.statuses(instance_id) == {"wait": "waiting", "after": "pending"}
    assert flows.instance(instance_id).pause_note == "until Monday"
    assert switch.resume(flows.hand, instance_id).status == "running"
    flows.work()
    row = flows.instance(instance_id)
    assert (row.status, row.pause_note, row.error) == ("completed", None, None)
    [paused] = flows.entries(instance_id, "instance_paused")
    assert (paused.details, paused.user_id) == ({"note": "until Monday"}, flows.org.context.user_id)
    assert len(flows.entries(instance_id, "instance_resumed")) == 1


def test_a_delay_keeps_its_clock_while_its_run_is_paused(flows: Flows) -> None:
    instance_id = flows.started(delay("wait", "after"), noop("after"))
    switch.pause(flows.hand, instance_id)
    flows.world.advance(minutes=30)
    switch.resume(flows.hand, instance_id)
    flows.world.advance(minutes=31)
    flows.work()
    assert flows.instance(instance_id).status == "completed"


def test_a_run_that_was_paused_before_it_began_has_not_begun(flows: Flows) -> None:
    instance_id = flows.start(flows.template(noop("a")))
    switch.pause(flows.hand, instance_id)
    flows.work()
    assert flows.instance(instance_id).started_at is None
    switch.resume(flows.hand, instance_id)
    flows.work()
    row = flows.instance(instance_id)
    assert (row.status, row.started_at is None) == ("completed", False)


def test_a_run_whose_last_step_ended_while_it_was_paused_completes_once_it_is_resumed(flows: Flows) -> None:
    instance_id = flows.started(approval("ask"))
    switch.pause(flows.hand, instance_id)
    flows.end(instance_id, Completed("ask"))
    assert flows.instance(instance_id).status == "paused"
    switch.resume(flows.hand, instance_id)
    flows.work()
    assert flows.instance(instance_id).status == "completed"


def test_pausing_what_is_paused_and_resuming_what_runs_changes_nothing(flows: Flows) -> None:
    instance_id = flows.started(delay("wait"))
    before = flows.snapshot(instance_id)
    assert switch.resume(flows.hand, instance_id).already
    assert flows.snapshot(instance_id) == before
    switch.pause(flows.hand, instance_id, note="first")
    before = flows.snapshot(instance_id)
    assert switch.pause(flows.hand, instance_id, note="second").already
    assert flows.snapshot(instance_id) == before


def test_what_a_paused_run_was_told_is_kept(flows: Flows) -> None:
    steps = [split("both", "a", "b"), delay("a", "m"), delay("b", "m", hours=2), noop("m")]
    instance_id = flows.started(*steps)
    switch.pause(flows.hand, instance_id)
    flows.world.advance(hours=3)
    flows.work()
    held = "SELECT count(*) FROM cmis.tasks WHERE state = 'held'"
    assert flows.world.one(held) == 2
    switch.resume(flows.hand, instance_id)
    assert flows.world.one(held) == 0
    flows.work()
    assert flows.instance(instance_id).status == "completed"


def test_a_cancelled_run_stops_all_of_it(flows: Flows) -> None:
    steps = [split("both", "a", "b"), delay("a", "m"), approval("b", "m"), noop("m")]
    instance_id = flows.started(*steps)
    done = switch.cancel(flows.hand, instance_id, reason="not wanted")
    assert done.status == "cancelled"
    row = flows.instance(instance_id)
    assert (row.status, row.error) == ("cancelled", {"code": "CANCELLED", "message": "not wanted"})
    assert flows.statuses(instance_id) == {"both": "completed", "a": "cancelled", "b": "cancelled", "m": "cancelled"}
    flows.world.advance(hours=2)
    assert flows.work() == 0
    assert flows.snapshot(instance_id)[0] == row
    before = flows.snapshot(instance_id)
    assert switch.cancel(flows.hand, instance_id, reason="again").already
    assert flows.snapshot(instance_id) == before


def test_cancelling_a_paused_run_drops_what_it_had_waiting(flows: Flows) -> None:
    instance_id = flows.started(delay("wait"))
    switch.pause(flows.hand, instance_id)
    flows.signal(instance_id, "wait", kind="effect", action_id="of nobody")
    flows.world.advance(hours=2)
    flows.work()
    assert flows.world.one("SELECT count(*) FROM cmis.tasks WHERE state = 'held'") == 2
    switch.cancel(flows.hand, instance_id, reason=None)
    assert flows.world.one("SELECT count(*) FROM cmis.tasks WHERE state IN ('held', 'ready')") == 0


def test_a_cancelled_run_takes_its_child_with_it_and_tells_its_parent(flows: Flows) -> None:
    flows.template(delay("wait"), name="child")
    config = {"template": "child"}
    parent = {"id": "sub", "type": "subworkflow", "config": config, "retry": {"max_retries": 0}}
    outer = flows.started(parent)
    child = flows.step(outer, "sub").child_instance_id
    switch.cancel(flows.hand, outer, reason=None)
    flows.work()
    assert flows.instance(child).status == "cancelled"
    outer = flows.started(parent)
    switch.cancel(flows.hand, flows.step(outer, "sub").child_instance_id, reason="by itself")
    flows.work()
    row = flows.instance(outer)
    assert (row.status, row.error["code"]) == ("failed", "SUBWORKFLOW")


@pytest.mark.parametrize("verb", ["pause", "resume", "cancel"])
def test_what_has_ended_stays_as_it_is(flows: Flows, verb: str) -> None:
    instance_id = flows.started(noop("a"))
    before = flows.snapshot(instance_id)
    more: dict[str, Any] = {"reason": None} if verb == "cancel" else {}
    with pytest.raises(ConflictError, match=r"is completed and cannot be .* \(start a new run, or fork this one"):
        getattr(switch, verb)(flows.hand, instance_id, **more)
    assert flows.snapshot(instance_id) == before


def test_a_run_that_waits_for_a_person_because_a_step_failed_is_not_resumed(flows: Flows) -> None:
    flows.broken = {"a"}
    instance_id = flows.started(fails("a", "b", on_failure="pause"), noop("b"))
    assert flows.instance(instance_id).status == "paused"
    with pytest.raises(ConflictError, match="these steps failed: a"):
        switch.resume(flows.hand, instance_id)


def test_a_cancelled_run_of_a_job_ends_its_occurrence_and_an_overlap_counts_it_no_more(flows: Flows) -> None:
    template_id = flows.template(delay("wait"))
    job = flows.org.job(None, target_type="workflow", template_id=template_id, timeout_seconds=None)
    flows.world.dispatch()
    flows.work()
    [row] = flows.world.rows("SELECT instance_id FROM cmis.workflow_instances WHERE job_id = :job", job=job)
    switch.cancel(flows.hand, row.instance_id, reason=None)
    outcome = "SELECT outcome FROM cmis.occurrences WHERE job_id = :job"
    assert flows.world.one(outcome, job=job) == "cancelled"


def test_a_run_of_another_org_is_not_there(flows: Flows) -> None:
    instance_id = flows.started(delay("wait"))
    before = flows.snapshot(instance_id)
    stranger = Flows(flows.world.org("stranger")).hand
    for verb in (
        partial(switch.pause, stranger, instance_id),
        partial(switch.cancel, stranger, instance_id, reason=None),
        partial(steps.skip, stranger, instance_id, "wait", reason="no"),
        partial(steps.retry, stranger, instance_id, "wait"),
        partial(approve, stranger, instance_id, "wait"),
        partial(fork, stranger, instance_id, "wait"),
        partial(begin, stranger, before[0].template_id, {}),
        partial(migrate, stranger, Wanted(before[0].template_id, 1)),
    ):
        with pytest.raises(NotFoundError):
            verb()
    assert flows.snapshot(instance_id) == before


def test_what_is_not_there_is_said_to_be_missing(flows: Flows) -> None:
    with pytest.raises(NotFoundError, match="see `cmis workflows instances`"):
        switch.pause(flows.hand, uuid7(flows.world.now()))


@pytest.mark.parametrize("note", ["", "  ", "x" * 2_001, "a\0b"])
def test_a_note_that_cannot_be_kept_is_refused(flows: Flows, note: str) -> None:
    with pytest.raises(InputError, match="--note"):
        switch.pause(flows.hand, uuid7(flows.world.now()), note=note)
