"""Runs steered and looked at on the command line, against the real database as the app role."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.control_workflows.flows import approval, delay, fails, noop, split
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site
    from tests.integration.control_workflows.flows import Flows
    from tests.unit.cli.running import Done


@pytest.fixture
def cmis(database: Site, flows: Flows, capsys: pytest.CaptureFixture[str]) -> Cmis:
    environ = {"DATABASE_URL": database.urls.app, "CMIS_ORG": str(flows.org.id), "CMIS_TEST_CLOCK": "1"}
    return Cmis(capsys, environ)


@pytest.fixture
def template(flows: Flows) -> str:
    flows.template(noop("a", "ask"), approval("ask", "wait"), delay("wait", "z"), noop("z"), name="Nurture")
    return "Nurture"


def start(cmis: Cmis, *options: str) -> Any:
    return cmis("workflows", "start", "Nurture", *options, "--json").json


def refused(done: Done, said: str) -> None:
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.usefixtures("template")
def test_a_run_is_started_and_found(flows: Flows, cmis: Cmis, tmp_path: Path) -> None:
    (tmp_path / "context.json").write_text('{"lead": 1}', encoding="utf-8")
    made = start(cmis, "--context", f"@{tmp_path / 'context.json'}", "--as", str(flows.org.context.user_id))
    assert (made["status"], made["already"]) == ("pending", False)
    row = flows.instance(made["instance_id"])
    assert (row.trigger_type, row.triggered_by, row.context_data) == ("manual", flows.org.context.user_id, {"lead": 1})
    # no broker is told: the task is due at once, and the schedulers are woken
    [task] = flows.world.rows("SELECT * FROM cmis.tasks")
    assert (task.delivery, task.publish_at == task.run_at) == (0, True)
    other = cmis("workflows", "start", "Nurture")
    assert "cmis workflows show" in other.out
    assert flows.world.one("SELECT count(*) FROM cmis.workflow_instances WHERE trigger_type = 'api'") == 1
    [_, found] = cmis("workflows", "instances", "--template", "Nurture", "--status", "pending", "--json").json
    assert (found["instance_id"], found["progress"]) == (made["instance_id"], 0)
    assert "context_data" not in found
    assert cmis("workflows", "instances", "--status", "failed", "--json").json == []


@pytest.mark.usefixtures("template")
def test_a_key_starts_one_run(flows: Flows, cmis: Cmis) -> None:
    first = start(cmis, "--idempotency-key", "k", "--context", '{"a": 1}')
    again = start(cmis, "--idempotency-key", "k", "--context", '{"a": 1}')
    assert (again["instance_id"], again["already"]) == (first["instance_id"], True)
    told = cmis("workflows", "start", "Nurture", "--idempotency-key", "k", "--context", '{"a": 1}')
    assert "was started with this key before" in told.out
    refused(cmis("workflows", "start", "Nurture", "--idempotency-key", "k"), "'k' was used for the run")
    assert flows.world.one("SELECT usage_count FROM cmis.workflow_templates") == 1


@pytest.mark.usefixtures("template")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--context", "[1]"), "--context: must be an object"),
        (("--context", "{"), "--context: is no JSON"),
        (("--context", json.dumps({"a": "x" * 300_000})), "--context: has 300,008 bytes as JSON"),
        (("--context", '{"a": "\\u0000"}'), "--context.a"),
        (("--idempotency-key", "x" * 201), "--idempotency-key: has 201 characters"),
        (("--idempotency-key", "job:1"), "--idempotency-key: begins with job:, as keys of the engine do"),
        (("--version", "7"), "the workflow has no version 7"),
    ],
)
def test_what_cannot_be_started_is_refused(cmis: Cmis, options: tuple[str, ...], said: str) -> None:
    refused(cmis("workflows", "start", "Nurture", *options), said)


def test_an_archived_or_unknown_workflow_is_not_started(flows: Flows, cmis: Cmis, template: str) -> None:
    flows.world.meddle("UPDATE cmis.workflow_templates SET status = 'archived'")
    refused(cmis("workflows", "start", template), "'Nurture' is archived")
    refused(cmis("workflows", "start", "Other"), "TEMPLATE: there is no workflow 'Other'")


@pytest.mark.usefixtures("template")
def test_who_may_only_look_may_not_steer(flows: Flows, cmis: Cmis) -> None:
    run = start(cmis)["instance_id"]
    flows.world.meddle("UPDATE cmis.user_orgs SET role = 'viewer'")
    by = ("--as", str(flows.org.context.user_id))
    for verb in (
        ("start", "Nurture"),
        ("pause", run),
        ("resume", run),
        ("cancel", run),
        ("retry", run, "a"),
        ("skip", run, "a", "--reason", "x"),
        ("fork", run, "--from", "a"),
        ("migrate", "Nurture", "--to", "1"),
    ):
        refused(cmis("workflows", *verb, *by), "act as a member who is")
    assert cmis("workflows", "show", run, *by).code == 0


def test_a_run_is_shown_step_by_step(flows: Flows, cmis: Cmis, template: str) -> None:
    run = start(cmis, "--context", '{"x": 1}')["instance_id"]
    flows.work()
    shown = cmis("workflows", "show", run, "--json").json
    assert (shown["status"], shown["progress"], shown["template"], shown["current_step"]) == (
        "running", 25, template, "ask",
    )  # fmt: skip
    assert [(step["step_id"], step["status"], step["attempt"]) for step in shown["steps"]] == [
        ("a", "completed", 1), ("ask", "waiting", 1), ("wait", "pending", 0), ("z", "pending", 0),
    ]  # fmt: skip
    assert "output_data" not in shown["steps"][0]
    whole = cmis("workflows", "show", run, "--json", "--outputs").json
    assert whole["steps"][0]["output_data"] == {"id": "a"}
    text = cmis("workflows", "show", run).out
    assert all(said in text for said in ("25 %", "approval", "waiting", "1 completed"))
    assert cmis("workflows", "approve", run, "ask", "--note", "go").out.startswith(f"run {run}: step ask is approved;")
    flows.work()
    assert " until 20" in cmis("workflows", "show", run).out
    assert cmis("workflows", "show", template, "--json").json["name"] == "Nurture"


@pytest.mark.usefixtures("template")
def test_a_run_goes_through_every_verb(flows: Flows, cmis: Cmis) -> None:
    run = start(cmis)["instance_id"]
    flows.work()
    assert cmis("workflows", "pause", run, "--note", "wait").out == f"run {run}: paused; it is paused\n"
    assert "was paused before" in cmis("workflows", "pause", run).out
    assert "the answer is kept until it goes on" in cmis("workflows", "approve", run, "ask").out
    assert cmis("workflows", "resume", run, "--json").json["status"] == "running"
    flows.work()
    assert "step wait is skipped" in cmis("workflows", "skip", run, "wait", "--reason", "now").out
    flows.work()
    assert cmis("workflows", "show", run, "--json").json["progress"] == 100
    refused(cmis("workflows", "cancel", run), "is completed and cannot be cancelled")
    made = cmis("workflows", "fork", run, "--from", "z", "--context", '{"y": 2}', "--json").json["instance_id"]
    flows.work()
    shown = cmis("workflows", "show", made, "--json").json
    assert (shown["status"], shown["forked_from"], shown["context_data"]) == ("completed", run, {"y": 2})
    [other] = cmis("workflows", "show", run, "--json").json["others"]
    assert (other["relation"], other["instance_id"]) == ("fork", made)


def test_a_failed_run_is_retried_as_another(flows: Flows, cmis: Cmis) -> None:
    flows.broken = {"a"}
    run = str(flows.started(fails("a", "b"), noop("b")))
    assert "PERMANENT: broken as the test wants it" in cmis("workflows", "show", run).out
    assert "goes on from a in its place" in cmis("workflows", "retry", run, "a").out
    refused(cmis("workflows", "retry", run, "b"), "is failed and cannot be continued by a retry")


@pytest.mark.usefixtures("template")
def test_several_runs_are_steered_at_once_and_each_is_told_of(flows: Flows, cmis: Cmis) -> None:
    runs = [start(cmis)["instance_id"] for _ in range(4)]
    flows.work()
    cmis("workflows", "cancel", runs[3])
    done = cmis("workflows", "pause", "--template", "Nurture", "--status", "running", "--json").json
    assert [(each["instance_id"], each["outcome"]) for each in done] == [(run, "changed") for run in runs[:3]]
    mixed = cmis("workflows", "resume", runs[0], runs[3], runs[0], "--json")
    assert mixed.code == 2
    told_of = [(each["outcome"], each["status"]) for each in json.loads(mixed.out)]
    assert told_of == [("changed", "running"), ("refused", None)]
    told = cmis("workflows", "cancel", "--template", "Nurture", "--reason", "all of them")
    assert (told.code, "Runs (3)" in told.out) == (0, True)
    assert {flows.instance(run).status for run in runs} == {"cancelled"}
    refused(cmis("workflows", "pause"), "name runs, or give --template or --status")
    refused(cmis("workflows", "pause", "x"), "INSTANCE: 'x' is no id")


def test_a_migration_says_which_can_and_which_cannot(flows: Flows, cmis: Cmis) -> None:
    template_id = flows.template(split("both", "x", "y"), delay("x"), approval("y"), name="Moving")
    run = str(flows.start(template_id))
    flows.work()
    flows.publish(template_id, 2, split("both", "x", "y"), delay("x"), approval("y", "z"), noop("z"))
    flows.publish(template_id, 3, split("both", "x", "y"), delay("x", hours=9), approval("y"))
    tried = cmis("workflows", "migrate", "Moving", "--to", "2", "--dry-run")
    assert (tried.code, "can be moved" in tried.out) == (0, True)
    stays = cmis("workflows", "migrate", "Moving", "--to", "3")
    assert (stays.code, "step x is waiting, and is configured otherwise there" in stays.out) == (2, True)
    moved = cmis("workflows", "migrate", "Moving", "--to", "2", "--instance", run, "--json").json
    assert [(move["instance_id"], move["outcome"], move["version"]) for move in moved] == [(run, "moved", 1)]
    assert cmis("workflows", "show", run, "--json").json["version"] == 2


@pytest.mark.usefixtures("template")
def test_whoever_waits_for_an_end_hears_of_it_or_that_it_has_not_come(flows: Flows, cmis: Cmis) -> None:
    flows.template(noop("a"), name="Quick")
    done = cmis("workflows", "start", "Quick", "--idempotency-key", "k")
    assert done.code == 0
    flows.work()
    again = cmis("workflows", "start", "Quick", "--idempotency-key", "k", "--wait", "1", "--json").json
    assert again["status"] == "completed"
    late = cmis("workflows", "start", "Nurture", "--wait", "1")
    assert (late.code, "has not ended within 1 s: it goes on" in late.err) == (1, True)
