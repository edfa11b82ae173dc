"""Steps are retried and skipped by people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.errors import ConflictError, InputError, NotFoundError
from engine.control_workflows import steps, switch
from engine.workflows.advance import Failed
from tests.integration.control_workflows.flows import approval, delay, fails, noop, split

if TYPE_CHECKING:
    from tests.integration.control_workflows.flows import Flows


def test_a_failed_step_that_is_retried_lets_its_run_go_on(flows: Flows) -> None:
    flows.broken = {"a"}
    instance_id = flows.started(fails("a", "b", on_failure="pause"), noop("b"))
    assert flows.instance(instance_id).pause_note == "step a: broken as the test wants it"
    flows.broken = set()
    done = steps.retry(flows.hand, instance_id, "a", note="mended")
    assert (done.status, done.already, done.said) == ("running", False, None)
    flows.work()
    row, step = flows.instance(instance_id), flows.step(instance_id, "a")
    assert (row.status, row.error, row.steps_failed, row.steps_completed) == ("completed", None, 0, 2)
    assert (step.attempt, step.note, step.decided_by) == (2, "mended", flows.org.context.user_id)
    [retried] = flows.entries(instance_id, "step_retried")
    assert retried.details == {"step": "a", "note": "mended"}


def test_a_retry_that_fails_again_pauses_the_run_again(flows: Flows) -> None:
    flows.broken = {"a"}
    instance_id = flows.started(fails("a", on_failure="pause"))
    steps.retry(flows.hand, instance_id, "a")
    flows.work()
    row = flows.instance(instance_id)
    assert (row.status, row.error["code"], row.steps_failed) == ("paused", "PERMANENT", 1)


def test_a_run_goes_on_once_none_of_its_failed_steps_waits_for_a_person(flows: Flows) -> None:
    pauses = {"on_failure": "pause"}
    asks = {"timeout": {"hours": 1}}
    ask = [approval(one, "m", **asks) | pauses for one in ("a", "b")]
    instance_id = flows.started(split("both", "a", "b"), *ask, noop("m"))
    for step_id in ("a", "b"):  # the second one had begun when the end of the first one paused the run
        flows.end(instance_id, Failed(step_id))
    done = steps.retry(flows.hand, instance_id, "a")
    assert (done.status, done.said) == ("paused", "it stays paused: these steps failed, too: b")
    flows.work()
    assert flows.step(instance_id, "a").status == "queued"
    assert steps.skip(flows.hand, instance_id, "b", reason="done by hand", branch="next").status == "running"
    flows.work()
    assert flows.step(instance_id, "a").status == "waiting"
    steps.skip(flows.hand, instance_id, "a", reason="this one, too", branch="next")
    flows.work()
    assert flows.instance(instance_id).status == "completed"


def test_a_run_that_a_person_paused_stays_paused_when_a_step_is_retried(flows: Flows) -> None:
    flows.broken = {"a"}
    instance_id = flows.start(flows.template(fails("a", "b", on_failure="pause"), noop("b")))
    flows.work()
    flows.world.meddle("UPDATE cmis.workflow_instances SET error = NULL WHERE instance_id = %(id)s", id=instance_id)
    done = steps.retry(flows.hand, instance_id, "a")
    assert (done.status, done.said) == ("paused", "it stays paused: a person paused it (`cmis workflows resume`)")
    flows.work()
    assert flows.step(instance_id, "a").status == "queued"
    flows.broken = set()
    switch.resume(flows.hand, instance_id)
    flows.work()
    assert flows.instance(instance_id).status == "completed"


def test_a_step_that_waits_for_its_next_attempt_is_tried_at_once(flows: Flows) -> None:
    retry = {"max_retries": 3, "base_seconds": 86_400, "cap_seconds": 86_400}
    unknown = {"id": "sub", "type": "subworkflow", "config": {"template": "child"}, "retry": retry, "next": "b"}
    flows.template(delay("wait"), name="child")
    instance_id = flows.started(unknown, noop("b"))
    switch.cancel(flows.hand, flows.step(instance_id, "sub").child_instance_id, reason=None)
    flows.work()
    assert flows.step(instance_id, "sub").status == "retrying"
    assert not steps.retry(flows.hand, instance_id, "sub").already
    assert steps.retry(flows.hand, instance_id, "sub").already
    flows.work()
    step = flows.step(instance_id, "sub")
    assert (step.status, step.attempt) == ("waiting", 2)
    flows.world.advance(days=2)
    flows.work()
    assert flows.instance(instance_id).status == "completed"


def test_a_retry_of_a_run_that_failed_makes_one_fork_however_often_it_is_asked_for(flows: Flows) -> None:
    flows.broken = {"b"}
    instance_id = flows.started(noop("a", "b"), fails("b", "c"), noop("c"))
    before = flows.snapshot(instance_id)
    assert before[0].status == "failed"
    flows.broken = set()
    made = steps.retry(flows.hand, instance_id, "b")
    assert (made.already, made.instance_id != instance_id) == (False, True)
    assert made.said == f"a run that failed stays as it is: {made.instance_id} goes on from b in its place"
    again = steps.retry(flows.hand, instance_id, "b")
    assert (again.already, again.instance_id) == (True, made.instance_id)
    flows.work()
    assert flows.instance(made.instance_id).status == "completed"
    assert flows.step(made.instance_id, "a").note == f"copied from {instance_id}"
    assert flows.snapshot(instance_id) == before


@pytest.mark.parametrize(
    ("made", "step_id", "said"),
    [
        ([noop("a", "b"), delay("b")], "a", "the step a is completed .*only a step that has failed"),
        ([delay("a", "b"), noop("b")], "b", "the step b is pending"),
        ([delay("a")], "a", "the step a is waiting"),
        ([fails("a", "b", on_failure="continue"), delay("b")], "a", "the step a is failed .*the run went on from it"),
        ([fails("a", "b", on_failure="continue"), noop("b")], "a", "is completed and cannot be continued by a retry"),
        ([delay("a")], "x", "the workflow has no step 'x'"),
    ],
)
def test_only_a_step_that_failed_is_retried(flows: Flows, made: list[Any], step_id: str, said: str) -> None:
    flows.broken = {"a"}
    instance_id = flows.started(*made)
    before = flows.snapshot(instance_id)
    with pytest.raises((ConflictError, NotFoundError), match=said):
        steps.retry(flows.hand, instance_id, step_id)
    assert flows.snapshot(instance_id) == before


def test_a_step_that_waits_is_skipped_with_a_reason(flows: Flows) -> None:
    instance_id = flows.started(delay("wait", "after"), noop("after"))
    assert steps.skip(flows.hand, instance_id, "wait", reason="no need to wait").status == "running"
    flows.work()
    row, step = flows.instance(instance_id), flows.step(instance_id, "wait")
    assert (row.status, row.steps_skipped, row.steps_completed) == ("completed", 1, 1)
    assert (step.status, step.branch_taken, step.note) == ("skipped", "next", "no need to wait")
    assert step.decided_by == flows.org.context.user_id
    [told] = flows.entries(instance_id, "step_skipped")
    assert (told.details["note"], told.user_id) == ("no need to wait", flows.org.context.user_id)
    flows.world.advance(hours=2)
    assert flows.work() == 0
    assert steps.skip(flows.hand, instance_id, "wait", reason="again").already


def test_the_only_step_of_a_run_that_has_not_begun_is_skipped(flows: Flows) -> None:
    instance_id = flows.start(flows.template(noop("a")))
    assert steps.skip(flows.hand, instance_id, "a", reason="no").status == "completed"
    assert flows.instance(instance_id).status == "completed"
    flows.work()


def test_the_last_failed_step_of_a_paused_run_is_skipped_and_completes_it(flows: Flows) -> None:
    flows.broken = {"a"}
    instance_id = flows.started(fails("a", on_failure="pause"))
    assert steps.skip(flows.hand, instance_id, "a", reason="no").status == "completed"
    row = flows.instance(instance_id)
    assert (row.status, row.steps_failed, row.steps_skipped, row.error) == ("completed", 0, 1, None)
    assert {"instance_resumed", "step_skipped", "instance_completed"} <= set(flows.told(instance_id))


def test_a_step_of_a_paused_run_is_skipped_and_what_follows_waits(flows: Flows) -> None:
    instance_id = flows.started(delay("wait", "after"), noop("after"))
    switch.pause(flows.hand, instance_id)
    done = steps.skip(flows.hand, instance_id, "wait", reason="no")
    assert (done.status, done.said) == ("paused", "it stays paused: a person paused it (`cmis workflows resume`)")
    flows.work()
    assert flows.step(instance_id, "after").status == "queued"
    switch.resume(flows.hand, instance_id)
    flows.work()
    assert flows.instance(instance_id).status == "completed"


def test_a_skipped_subworkflow_is_cancelled(flows: Flows) -> None:
    flows.template(delay("wait"), name="child")
    instance_id = flows.started({"id": "sub", "type": "subworkflow", "config": {"template": "child"}})
    child = flows.step(instance_id, "sub").child_instance_id
    steps.skip(flows.hand, instance_id, "sub", reason="no")
    flows.work()
    assert flows.instance(child).status == "cancelled"


def test_whoever_skips_an_approval_says_where_the_run_goes_on(flows: Flows) -> None:
    instance_id = flows.started(approval("ask", "yes", rejected_next="no"), noop("yes"), noop("no"))
    with pytest.raises(InputError, match=r"--branch: is required: where does the run go on\? \(give one of"):
        steps.skip(flows.hand, instance_id, "ask", reason="away")
    with pytest.raises(InputError, match=r"--branch: 'maybe' is none of ask"):
        steps.skip(flows.hand, instance_id, "ask", reason="away", branch="maybe")
    steps.skip(flows.hand, instance_id, "ask", reason="away", branch="rejected")
    flows.work()
    assert flows.statuses(instance_id) == {"ask": "skipped", "yes": "skipped", "no": "completed"}


@pytest.mark.parametrize(
    ("made", "step_id", "said"),
    [
        ([noop("a", "b"), delay("b")], "a", "the step a is completed and cannot be skipped"),
        ([delay("a", "b"), noop("b")], "b", "the step b is pending .*skip the steps that it waits for"),
        ([noop("a")], "a", "is completed and cannot be continued by a skip"),
        ([fails("a", "b", on_failure="continue"), delay("b")], "a", "the step a is failed and cannot be skipped"),
    ],
)
def test_what_is_over_or_has_not_begun_is_not_skipped(flows: Flows, made: list[Any], step_id: str, said: str) -> None:
    flows.broken = {"a"}
    instance_id = flows.started(*made)
    before = flows.snapshot(instance_id)
    with pytest.raises(ConflictError, match=said):
        steps.skip(flows.hand, instance_id, step_id, reason="no")
    assert flows.snapshot(instance_id) == before
