"""Steps that fail again and again, and tasks of theirs that do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core.db import ENGINE_ACTOR, Context
from core.errors import PermanentError, TransientError
from engine.callables import registry
from engine.callables.base import Call, step
from engine.run_workflow import service
from engine.run_workflow.ending import give_back
from engine.run_workflow.work import Finished, GaveUp, Retrying
from engine.store import tasks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from tests.stepping import Flow


@step("test.fails", internal=True)
def fails(call: Call) -> Mapping[str, Any] | None:
    """Fail as many times as its params say."""
    if call.attempt <= call.params["times"]:
        raise ValueError(f"failed {call.attempt} times")
    return {"attempt": call.attempt}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = dict(registry.callables()) | {fails.name: fails}
    monkeypatch.setattr(registry, "callables", lambda: ours)


def failing(times: int, **others: Any) -> dict[str, Any]:
    config = {"callable": "test.fails", "params": {"times": times}}
    return {"id": "fails", "type": "action", "config": config, "next": "after", "retry": {"max_retries": 4}, **others}


AFTER = {"id": "after", "type": "action", "config": {"callable": "cmis.noop"}}


def run_once(flow: Flow) -> object:
    """Run the one task that is ready, when it is."""
    flow.world.advance(hours=1)
    [(task_id,)] = flow.world.rows("SELECT task_id FROM cmis.tasks WHERE state = 'ready'")
    return service.run(flow.world.app, flow.org.id, task_id, worker="w", send=lambda _: None)


def give_up(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the one task that is ready fail for good, whatever it is about."""

    def broken(*_: object) -> None:
        message = "it cannot be written"
        raise PermanentError(message)

    flow.world.meddle("UPDATE cmis.tasks SET delivery = 2 WHERE state = 'ready'")
    with monkeypatch.context() as patched:
        patched.setattr(service, "proceed", broken)
        assert isinstance(run_once(flow), GaveUp)


@pytest.mark.parametrize("times", [1, 3, 4])
def test_a_step_is_tried_as_often_as_its_policy_says_in_one_task(flow: Flow, times: int) -> None:
    instance_id = flow.start(flow.publish(failing(times), AFTER))
    for attempt in range(1, times + 1):
        assert isinstance(run_once(flow), Retrying)
        row = flow.step(instance_id, "fails")
        assert (row.status, row.attempt, row.error["code"]) == ("retrying", attempt, "INTERNAL_ERROR")
    assert isinstance(run_once(flow), Finished)
    assert flow.step(instance_id, "fails").output_data == {"attempt": times + 1}
    assert flow.instance(instance_id).status == "completed"
    assert flow.world.one("SELECT count(DISTINCT task_id) FROM cmis.task_attempts") == 1


def test_a_step_whose_retries_are_used_up_fails_with_what_it_said_last(flow: Flow) -> None:
    instance_id = flow.start(flow.publish(failing(9), AFTER))
    results = [type(run_once(flow)) for _ in range(5)]
    assert results == [Retrying] * 4 + [Finished]
    row = flow.step(instance_id, "fails")
    assert (row.status, row.attempt, row.error["message"]) == ("failed", 5, "failed 5 times")
    assert flow.instance(instance_id).status == "failed"


@pytest.mark.parametrize("follows", ["continue", {"next": "other"}])
def test_what_follows_from_the_failure_of_a_task_is_not_left_to_that_task(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, follows: Any
) -> None:
    other = {**AFTER, "id": "other"}
    steps = [failing(0, on_failure=follows), AFTER] + ([other] if isinstance(follows, dict) else [])
    instance_id = flow.start(flow.publish(*steps))
    task_id: UUID = flow.step(instance_id, "fails").task_id
    give_up(flow, monkeypatch)
    assert flow.world.task(task_id).state == "failed"
    assert flow.step(instance_id, "fails").error["message"] == "it cannot be written"
    flow.world.advance(minutes=1)
    flow.run()
    assert flow.instance(instance_id).status == "completed"
    assert flow.step(instance_id, "other" if isinstance(follows, dict) else "after").status == "completed"


def test_a_run_that_goes_on_from_the_failure_of_its_last_step_has_no_error(flow: Flow) -> None:
    last = {**failing(1, on_failure="continue"), "retry": {"max_retries": 0}, "next": None}
    instance_id = flow.play(last)
    assert flow.step(instance_id, "fails").error["message"] == "failed 1 times"
    assert (flow.instance(instance_id).status, flow.instance(instance_id).error) == ("completed", None)


def test_a_step_that_waits_for_somebody_is_not_lost_with_the_task_that_began_it(flow: Flow) -> None:
    instance_id = flow.play({"id": "ask", "type": "approval", "config": {"title": "May it?"}})
    flow.wake(instance_id, "ask", {"kind": "lost", "error": {"message": "its workers died"}})
    task_id = flow.world.one("SELECT task_id FROM cmis.tasks WHERE state = 'ready'")
    flow.world.meddle("UPDATE cmis.workflow_steps SET task_id = %(id)s", id=task_id)  # as cmis.abandon_steps does
    flow.run()
    assert flow.world.task(task_id).state == "succeeded"
    assert flow.step(instance_id, "ask").status == "waiting"


def test_a_child_is_stopped_when_the_time_of_the_attempt_is_up_and_the_step_is_tried_again(flow: Flow) -> None:
    flow.publish({"id": "rest", "type": "delay", "config": {"days": 1}}, name="Child")
    calling = {"id": "call", "type": "subworkflow", "config": {"template": "Child"}, "timeout_seconds": 600}
    instance_id = flow.play({**calling, "retry": {"max_retries": 1, "base_seconds": 0}})
    for attempt, status in [(1, "waiting"), (2, "waiting"), (2, "failed")]:
        row = flow.step(instance_id, "call")
        assert (row.attempt, row.status) == (attempt, status)
        flow.world.advance(seconds=601)
        flow.run()
    assert row.error["message"].endswith("is failed: the instance's time is up")
    assert {one.status for one in flow.world.rows("SELECT status FROM cmis.workflow_instances")} == {"failed"}


WAITS = {"id": "waits", "type": "wait_for_event", "config": {"event_type": "x.y"}}


def test_what_an_instance_as_a_whole_could_not_be_told_is_told_later(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance_id = flow.play(WAITS)
    flow.wake(instance_id, None, {"kind": "timeout"})
    give_up(flow, monkeypatch)
    flow.run()
    assert flow.instance(instance_id).status == "running"
    flow.world.advance(minutes=5)
    flow.run()
    row = flow.instance(instance_id)
    assert (row.status, row.error["code"]) == ("failed", "TIMEOUT")


@pytest.mark.parametrize(("kind", "status"), [("event", "failed"), ("instance", "waiting")])
def test_a_step_fails_with_what_it_could_not_be_told_if_it_waits_for_that(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, kind: str, status: str
) -> None:
    instance_id = flow.play(WAITS)
    flow.wake(instance_id, "waits", {"kind": kind, f"{kind}_id": str(instance_id)})
    give_up(flow, monkeypatch)
    assert flow.step(instance_id, "waits").status == status


def test_a_task_that_was_asked_to_stop_and_then_failed_is_no_task_for_ever(flow: Flow) -> None:
    instance_id = flow.start(flow.publish(AFTER))
    task_id: UUID = flow.step(instance_id, "after").task_id
    with flow.world.app.transaction(Context(flow.org.id, ENGINE_ACTOR)) as connection:
        claimed = tasks.claim(connection, flow.org.id, task_id, worker="w", now=flow.world.now())
    assert claimed is not None
    flow.world.meddle("UPDATE cmis.tasks SET cancel_requested = true")
    assert isinstance(give_back(flow.world.app, claimed, TransientError("the database was away")), Retrying)
    assert isinstance(run_once(flow), Finished)
    assert flow.world.task(task_id).state == "succeeded"
