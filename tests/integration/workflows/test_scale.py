"""How workflows grow: wide, many, long, and deep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from core import clock
from core.db import ENGINE_ACTOR, Context
from engine.run_workflow import service
from engine.run_workflow.work import Finished
from engine.start_workflow import Start, start
from engine.store import instances
from models.workflow_enums import InstanceTrigger

if TYPE_CHECKING:
    from uuid import UUID

    from tests.stepping import Flow

WIDE = 1_000


def noop(step_id: str, next_: str | None = None, params: dict[str, Any] | None = None) -> dict[str, Any]:
    step = {"id": step_id, "type": "action", "config": {"callable": "cmis.noop", "params": params or {"id": step_id}}}
    return step if next_ is None else step | {"next": next_}


def test_a_split_of_a_thousand_is_merged_once_and_its_branches_share_tasks(flow: Flow) -> None:
    branches = [f"b{number}" for number in range(WIDE)]
    instance_id = flow.play(
        {"id": "split", "type": "split", "config": {"mode": "parallel", "branches": branches}},
        *[noop(branch, "merge") for branch in branches],
        {"id": "merge", "type": "merge", "config": {"mode": "all"}, "next": "end"},
        noop("end"),
    )
    row = flow.instance(instance_id)
    assert (row.status, row.steps_completed) == ("completed", WIDE + 3)
    assert len(flow.step(instance_id, "merge").output_data["taken"]) == WIDE
    told = (
        "SELECT count(*) FROM cmis.automation_audit_log WHERE details ->> 'step' = :step AND action = 'step_completed'"
    )
    assert flow.world.one(told, step="merge") == 1
    assert flow.world.one(told, step="end") == 1
    assert flow.world.one("SELECT count(*) FROM cmis.tasks WHERE kind = 'run_workflow'") == 1 + WIDE // 25


def test_what_waits_for_days_costs_a_row_and_no_worker(flow: Flow) -> None:
    template_id = flow.publish({"id": "wait", "type": "delay", "config": {"days": 3}, "next": "end"}, noop("end"))
    with flow.world.app.transaction(Context(flow.org.id, ENGINE_ACTOR)) as connection:
        wanted = [Start(template_id, {}, InstanceTrigger.API)] * 500
        start(connection, flow.org.id, wanted, now=clock.now(connection))
    assert flow.world.one("SELECT count(*) FROM cmis.tasks WHERE kind = 'run_workflow'") == 500 / 25
    flow.run()
    waiting = "SELECT count(*), count(published_at), min(run_at) > cmis.clock() FROM cmis.tasks WHERE state = 'ready'"
    [row] = flow.world.rows(waiting + " AND kind = 'run_workflow'")
    assert tuple(row) == (500, 0, True)
    flow.world.advance(days=3, seconds=1)
    flow.run()
    assert flow.world.rows("SELECT status, count(*) FROM cmis.workflow_instances GROUP BY 1")[0][:2] == (
        "completed",
        500,
    )
    [usage] = flow.world.rows("SELECT usage_count, active_instances FROM cmis.workflow_templates")
    assert tuple(usage) == (500, 0)


def test_a_step_reads_no_output_but_those_that_it_refers_to(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    real = instances.outputs

    def spied(connection: Any, org_id: UUID, instance_id: UUID, step_ids: Any) -> dict[str, Any]:
        asked.append(sorted(step_ids))
        return real(connection, org_id, instance_id, step_ids)

    monkeypatch.setattr(instances, "outputs", spied)
    instance_id = flow.play(
        noop("a", "b", {"text": "x" * 100_000}),
        noop("b", "wait", {"n": 1}),
        {"id": "wait", "type": "delay", "config": {"hours": 1}, "next": "c"},
        noop("c", None, {"n": "{{ steps.b.output.n }}"}),
    )
    flow.world.advance(hours=2)
    flow.run()
    assert flow.step(instance_id, "c").output_data == {"n": 1}
    assert asked == [["b"]]


def test_steps_share_commits_up_to_their_bound(flow: Flow) -> None:
    template_id = flow.publish(*[noop(f"s{number}", f"s{number + 1}") for number in range(9)], noop("s9"))
    for commit_steps, revisions in ((1_000, 1), (4, 3), (1, 10)):
        instance_id = flow.start(template_id)
        query = "SELECT task_id FROM cmis.tasks WHERE state = 'ready' AND kind = 'run_workflow'"
        task_id = flow.world.one(query)
        done = service.run(
            flow.world.app, flow.org.id, task_id, worker="w", send=lambda _: None, commit_steps=commit_steps
        )
        assert done == Finished(10, 1)
        row = flow.instance(instance_id)
        assert (row.status, row.revision) == ("completed", revisions)


@pytest.mark.parametrize(("params", "status"), [({"id": "x"}, "completed"), (None, "failed")])
def test_a_subworkflow_ends_its_step_as_it_ends(flow: Flow, params: dict[str, Any] | None, status: str) -> None:
    inner = noop("x") if params else {"id": "x", "type": "action", "config": {"callable": "cmis.fail", "params": {}}}
    flow.publish(inner, name="inner")
    step = {"id": "sub", "type": "subworkflow", "config": {"template": "inner", "context": {"a": "{{ context.a }}"}}}
    instance_id = flow.play(step | {"retry": {"max_retries": 0}}, a=7)
    assert flow.instance(instance_id).status == status
    child = flow.instance(flow.step(instance_id, "sub").child_instance_id)
    assert (child.status, child.context_data) == (status, {"a": 7})
    if params:
        assert flow.step(instance_id, "sub").output_data["output"] == {"x": params}
    else:
        assert flow.step(instance_id, "sub").error["code"] == "SUBWORKFLOW"


def test_an_instance_whose_time_is_up_fails_with_all_that_it_has_under_way(flow: Flow) -> None:
    template_id = flow.publish(
        {"id": "both", "type": "split", "config": {"mode": "parallel", "branches": ["a", "b"]}},
        {"id": "a", "type": "delay", "config": {"days": 2}},
        {"id": "b", "type": "approval", "config": {"title": "Go?"}},
    )
    with flow.world.app.transaction(Context(flow.org.id, ENGINE_ACTOR)) as connection:
        wanted = Start(template_id, {}, InstanceTrigger.API, timeout_seconds=3600)
        [started] = start(connection, flow.org.id, [wanted], now=clock.now(connection))
    flow.run()
    assert flow.instance(started.instance_id).status == "running"
    flow.world.advance(hours=1, seconds=1)
    flow.run()
    row = flow.instance(started.instance_id)
    assert (row.status, row.error["code"], row.steps_cancelled) == ("failed", "TIMEOUT", 2)
    assert flow.world.one("SELECT count(*) FROM cmis.tasks WHERE state IN ('ready', 'held', 'running')") == 0
