"""Workers that die of what they execute, or stand still beyond their lease: a step is lost, and nothing else."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from core import clock
from core.db import ENGINE_ACTOR, Context
from engine import emit, rescue
from engine.callables import registry
from engine.run_workflow import service
from engine.run_workflow.work import Finished, TakenApart
from engine.start_workflow import Start, start
from models.workflow_enums import InstanceTrigger
from tests.integration.workflows import dying

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from tests.stepping import Flow

EXPIRE = "UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE state = 'running'"
AGAIN = "UPDATE cmis.tasks SET delivery = 2 WHERE task_id = %(id)s"


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process, and the workers that it forks, know the callables."""
    ours = dict(registry.callables()) | {one.name: one for one in (dying.kill, dying.stand)}
    monkeypatch.setattr(registry, "callables", lambda: ours)


def begin(flow: Flow, template_id: UUID, *contexts: dict[str, Any]) -> tuple[list[UUID], UUID]:
    """Start runs together; returns them and their task."""
    with flow.world.app.transaction(Context(flow.org.id, ENGINE_ACTOR)) as connection:
        starts = [Start(template_id, context, InstanceTrigger.MANUAL) for context in contexts]
        made = start(connection, flow.org.id, starts, now=clock.now(connection), sent=True)
    [task_id] = {one.task_id for one in made}
    assert task_id is not None
    return [one.instance_id for one in made], task_id


def run(flow: Flow, task_id: UUID) -> object:
    """Be a worker that lives."""
    return service.run(flow.world.app, flow.org.id, task_id, worker="lives", send=lambda _: None)


def lose(flow: Flow) -> None:
    """Let the leases of all who work expire, and the reaper take their tasks."""
    flow.world.meddle(EXPIRE)
    assert rescue.reap(flow.world.scheduler) == 1


def task_of(flow: Flow, instance_id: UUID) -> UUID:
    """Return the task that has the open step of a run."""
    query = """SELECT DISTINCT s.task_id FROM cmis.workflow_steps s JOIN cmis.tasks t USING (org_id, task_id)
                WHERE s.instance_id = :id AND t.state = 'ready'"""
    task_id: UUID = flow.world.one(query, id=instance_id)
    return task_id


def die_of(flow: Flow, task_id: UUID) -> None:
    """Let workers die of a task until its attempts are used up."""
    flow.world.meddle(AGAIN, id=task_id)
    while flow.world.task(task_id).state != "dead":
        assert dying.ended(dying.worker(flow.org, task_id)) == -signal.SIGKILL
        lose(flow)


@pytest.mark.parametrize(
    ("on_failure", "status", "after"),
    [
        ("fail", "failed", "cancelled"),
        ("continue", "completed", "completed"),
        ("pause", "paused", "pending"),
        ({"next": "other"}, "completed", "skipped"),
    ],
)
def test_a_step_that_kills_its_workers_fails_by_its_rule_and_the_runs_beside_it_are_unharmed(
    flow: Flow, on_failure: Any, status: str, after: str
) -> None:
    killer = {"id": "kill", "type": "action", "config": {"callable": "test.kill"}, "next": "after"}
    steps: list[dict[str, Any]] = [killer | {"on_failure": on_failure, "retry": {"max_retries": 20}}]
    steps.append({"id": "after", "type": "action", "config": {"callable": "cmis.noop"}})
    if isinstance(on_failure, dict):
        steps.append({"id": "other", "type": "action", "config": {"callable": "cmis.noop"}})
    runs, together = begin(flow, flow.publish(*steps), {}, {"kills": True}, {})

    assert dying.ended(dying.worker(flow.org, together)) == -signal.SIGKILL
    assert {flow.instance(one).status for one in runs} == {"pending"}, "a first delivery leaves nothing behind"
    flow.world.meddle(AGAIN, id=together)
    assert run(flow, together) == TakenApart(3)
    for unharmed in (runs[0], runs[2]):
        assert run(flow, task_of(flow, unharmed)) == Finished(steps=2, instances=1)
        assert flow.instance(unharmed).status == "completed"
    die_of(flow, task_of(flow, runs[1]))
    flow.run()

    step = flow.step(runs[1], "kill")
    assert (step.status, step.error["code"]) == ("failed", "LOST")
    assert (flow.instance(runs[1]).status, flow.step(runs[1], "after").status) == (status, after)
    told = "SELECT action FROM cmis.automation_audit_log WHERE action IN ('task_lost', 'task_died')"
    assert [action for (action,) in flow.world.rows(told + " ORDER BY created_at")] == ["task_lost"] * 4 + ["task_died"]


@pytest.mark.parametrize("timer", [False, True])
def test_what_nobody_lived_to_tell_a_waiting_step_fails_it(flow: Flow, timer: bool) -> None:  # noqa: FBT001
    config: dict[str, Any] = {"event_type": "lead.won"} | ({"timeout": {"days": 3}} if timer else {})
    waits = {"id": "waits", "type": "wait_for_event", "config": config, "next": "kill"}
    kill = {"id": "kill", "type": "action", "config": {"callable": "test.kill"}}
    [instance_id], task_id = begin(flow, flow.publish(waits, kill), {"kills": True})
    assert run(flow, task_id) == Finished(steps=1, instances=1)
    assert emit.emit(flow.world.app, flow.org.context, emit.read("lead.won", {})).woken == 1
    [(signal_id,)] = flow.world.rows("SELECT task_id FROM cmis.tasks WHERE state = 'ready' AND run_at <= cmis.clock()")

    die_of(flow, signal_id)
    flow.run()

    assert (flow.step(instance_id, "waits").status, flow.step(instance_id, "waits").error["code"]) == ("failed", "LOST")
    assert flow.instance(instance_id).status == "failed"
    assert flow.world.one("SELECT count(*) FROM cmis.tasks WHERE state IN ('ready', 'held', 'running')") == 0


def test_a_task_that_is_about_an_instance_as_a_whole_is_tried_again_though_workers_died_of_it(flow: Flow) -> None:
    delay = {"id": "waits", "type": "delay", "config": {"days": 1}}
    [instance_id], task_id = begin(flow, flow.publish(delay), {})
    run(flow, task_id)
    flow.wake(instance_id, None, {"kind": "cancel", "reason": "no longer"})
    query = "SELECT task_id FROM cmis.tasks WHERE payload #>> '{items,0,signal,kind}' = 'cancel' AND state = 'ready'"
    [(signal_id,)] = flow.world.rows(query)
    flow.world.meddle("UPDATE cmis.tasks SET delivery = 2, max_attempts = 1 WHERE task_id = %(id)s", id=signal_id)
    flow.world.meddle(
        "UPDATE cmis.tasks SET state = 'running', attempt = 1, lease_owner = 'gone', lease_expires_at = now() "
        "WHERE task_id = %(id)s",
        id=signal_id,
    )
    assert rescue.reap(flow.world.scheduler) == 1
    flow.run()
    assert flow.instance(instance_id).status == "running"
    flow.world.advance(minutes=6)
    flow.run()
    assert flow.instance(instance_id).status == "cancelled"


def test_a_worker_that_stands_still_in_a_call_for_longer_than_its_lease_writes_nothing(
    flow: Flow, tmp_path: Path
) -> None:
    paths = {name: str(tmp_path / name) for name in ("begun", "goes_on")}
    for path in paths.values():
        os.mkfifo(path)
    stands = {"id": "stands", "type": "action", "config": {"callable": "test.stand"}, "next": "after"}
    stands["retry"] = {"base_seconds": 0, "cap_seconds": 0}
    steps = [stands, {"id": "after", "type": "action", "config": {"callable": "cmis.noop"}}]
    [instance_id], task_id = begin(flow, flow.publish(*steps), paths)

    pid = dying.worker(flow.org, task_id)
    with open(paths["begun"], "rb") as begun:  # noqa: PTH123 - a pipe
        assert begun.read() == b"."
    os.kill(pid, signal.SIGSTOP)
    lose(flow)
    flow.run()
    assert flow.instance(instance_id).status == "completed"
    seen = flow.instance(instance_id), flow.step(instance_id, "stands"), flow.step(instance_id, "after")
    assert seen[1].output_data == {"attempt": 2}

    os.kill(pid, signal.SIGCONT)
    with open(paths["goes_on"], "wb"):  # noqa: PTH123 - a pipe
        pass
    assert dying.ended(pid) == dying.NOT_CLAIMED
    assert seen == (flow.instance(instance_id), flow.step(instance_id, "stands"), flow.step(instance_id, "after"))
