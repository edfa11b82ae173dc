"""Jobs that start workflows, and events for their instances, on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.engine.instances import DAY, NOOP, publish, run_all, started
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from dev.site import Site
    from tests.world import Org, World


@pytest.fixture
def org(world: World) -> Org:
    made = world.org("Acme")
    publish(made, NOOP, name="Weekly report")
    return made


@pytest.fixture
def cmis(database: Site, org: Org, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": str(org.id), "CMIS_TEST_CLOCK": "1"})


def add(cmis: Cmis, *options: str) -> Any:
    return cmis("jobs", "add", "--workflow", "Weekly report", "--cron", "0 9 * * 1", *options, "--json").json


def test_a_job_of_a_workflow_is_added_listed_and_shown(cmis: Cmis) -> None:
    job = add(cmis, "--context", '{"season": "spring"}')
    assert (job["name"], job["target_type"], job["timeout_seconds"]) == ("Weekly report", "workflow", None)
    assert job["execution_context"] == {"season": "spring"}
    assert "start Weekly report" in cmis("jobs", "list").out
    assert cmis("jobs", "show", "Weekly report", "--json").json["template_id"] == job["template_id"]
    assert len(cmis("jobs", "preview", "Weekly report", "--json").json) == 10
    assert cmis("jobs", "update", "Weekly report", "--timeout", "60", "--json").json["timeout_seconds"] == 60
    assert cmis("jobs", "update", "Weekly report", "--clear", "timeout", "--json").json["timeout_seconds"] is None


def test_a_job_of_both_a_rule_and_a_workflow_is_refused(cmis: Cmis) -> None:
    done = cmis("jobs", "add", "--rule", "x", "--workflow", "Weekly report", "--cron", "@daily")
    assert (done.code, "rule: means nothing here: the job starts a workflow" in done.err) == (2, True), done
    unknown = cmis("jobs", "add", "--workflow", "none", "--cron", "@daily")
    assert (unknown.code, "there is no workflow 'none'" in unknown.err) == (2, True), unknown


def test_a_run_by_hand_is_shown_with_its_instance(cmis: Cmis, world: World) -> None:
    add(cmis)
    queued = cmis("jobs", "run", "Weekly report", "--json").json
    assert queued["execution_id"] is None
    assert "cmis jobs history" in cmis("jobs", "run", "Weekly report").out
    none = cmis("jobs", "run", "Weekly report", "--wait", "--timeout", "1")
    assert (none.code, "has not ended within 1 s" in none.err) == (1, True), none
    run_all(world)
    rows = cmis("jobs", "history", "Weekly report", "--json").json
    assert [row["outcome"] for row in rows] == ["success"] * 3
    assert queued["instance_id"] in {row["instance_id"] for row in rows}
    assert "result" in cmis("jobs", "history", "Weekly report").out


def test_history_tells_why_an_instance_was_not_started(cmis: Cmis, world: World) -> None:
    add(cmis)
    assert cmis("jobs", "run", "Weekly report").code == 0
    world.meddle("UPDATE cmis.workflow_templates SET status = 'archived'")
    run_all(world)
    [row] = cmis("jobs", "history", "Weekly report", "--json").json
    assert (row["outcome"], row["reason"]) == ("failure", "the workflow 'Weekly report' is archived")


def test_an_event_tells_of_what_it_started_and_woke(cmis: Cmis, org: Org, world: World) -> None:
    wait = {"id": "wait", "type": "wait_for_event", "config": {"event_type": "lead.replied"}}
    publish(org, wait, DAY, name="Nurture", event_type="lead.created")
    told = cmis("workflows", "event", "lead.created", "--payload", '{"lead": {"id": 1}}', "--key", "1")
    assert "triggered 0 rules, started 1 workflow" in told.out
    again = cmis("workflows", "event", "lead.created", "--payload", '{"lead": {"id": 1}}', "--key", "1", "--json").json
    assert (again["already"], again["started"], again["woken"]) == (True, 1, 0)
    run_all(world)
    [instance] = started(world)
    [shown] = cmis("events", "show", again["event_id"], "--json").json["instances"]
    assert (shown["instance_id"], shown["workflow"]) == (str(instance.instance_id), "Nurture")
    replied = cmis("workflows", "event", "lead.replied", "--instance", str(instance.instance_id))
    assert "woke 1 step" in replied.out
    run_all(world)
    late = cmis("workflows", "event", "lead.replied", "--instance", str(instance.instance_id))
    assert (late.code, "no step of the instance" in late.err) == (2, True), late
    [row, _] = cmis("events", "list", "--json").json
    assert (row["type"], row["woken"], row["instance_id"]) == ("lead.replied", 1, str(instance.instance_id))


def test_an_event_may_come_from_a_file_and_a_wrong_instance_is_named(cmis: Cmis, tmp_path: Any) -> None:
    (tmp_path / "payload.json").write_text(json.dumps({"a": 1}), encoding="utf-8")
    told = cmis("workflows", "event", "lead.created", "--payload", f"@{tmp_path / 'payload.json'}", "--json").json
    assert (told["triggered"], told["started"], told["woken"]) == (0, 0, 0)
    wrong = cmis("workflows", "event", "lead.created", "--instance", "x")
    assert (wrong.code, "--instance" in wrong.err) == (2, True), wrong
