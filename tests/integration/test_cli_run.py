"""Rules and jobs run by hand, and what the command line then shows of them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from sqlalchemy import text

from cli.running import evaluate_here
from core import faults
from core.config import Settings
from core.db import CLI_ACTOR, ENGINE_ACTOR, Context, Database
from core.errors import ConflictError
from engine import run_now
from engine.run_rules import service
from engine.run_rules.work import Finished
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.site import Site
    from engine.run_rules.work import Result

RULE = {
    "name": "Pause dear ones",
    "status": "active",
    "conditions": [{"field": "cpa", "window": "lifetime", "operator": ">", "value": 50}],
    "actions": [{"type": "pause_underperforming"}],
}
EXPORT = "campaign,date,spend,conversions\nDear [x],2026-01-01,120,2\nCheap,2026-01-01,10,2\nNever,2026-01-01,10,0\n"


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cmis:
    run = Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme"})
    assert run("orgs", "create", "Acme").code == 0
    (tmp_path / "rule.json").write_text(json.dumps(RULE), encoding="utf-8")
    (tmp_path / "export.csv").write_text(EXPORT, encoding="utf-8")
    assert run("rules", "create", "--file", str(tmp_path / "rule.json")).code == 0
    assert run("metrics", "import", str(tmp_path / "export.csv"), "--json").code == 0
    return run


@pytest.fixture
def app(database: Site) -> Iterator[Database]:
    opened = Database(database.urls.app, variable="DATABASE_URL", application="test")
    yield opened
    opened.close()


def context(cmis: Cmis) -> Context:
    [org] = cmis("orgs", "list", "--json").json
    return Context(UUID(org["org_id"]), CLI_ACTOR)


def rule_id(cmis: Cmis) -> UUID:
    return UUID(cmis("rules", "show", RULE["name"], "--json").json["rule_id"])  # type: ignore[arg-type]


def query(app: Database, where: Context, statement: str) -> list[Any]:
    with app.transaction(where) as connection:
        return list(connection.execute(text(statement)))


def work(app: Database, where: Context, task_id: UUID) -> Result:
    return service.run(app, where.org_id, task_id, worker="test")


def test_a_rule_run_by_hand_acts_and_is_shown_with_its_actions(cmis: Cmis) -> None:
    execution = cmis("rules", "run", "Pause dear ones", "--json").json
    assert (execution["status"], execution["trigger"], execution["attempt"]) == ("success", "manual", 1)
    assert execution["conditions_evaluated"]["counts"] == {"true": 1, "false": 1, "unknown": 1, "acted": 1}
    [action] = execution["actions"]
    assert (action["type"], action["before"], action["after"]) == (
        "pause_campaign",
        {"status": "active"},
        {"status": "paused"},
    )
    [paused] = cmis("campaigns", "list", "--status", "paused", "--json").json
    assert (paused["name"], paused["campaign_id"]) == ("Dear [x]", action["entity_id"])
    assert cmis("executions", "show", execution["execution_id"], "--json").json == execution


def test_a_rule_run_again_within_its_cooldown_changes_nothing_more(cmis: Cmis) -> None:
    first, second = (cmis("rules", "run", "Pause dear ones", "--json").json for _ in range(2))
    assert (second["status"], second["actions"]) == ("skipped", [])
    assert second["conditions_evaluated"]["counts"]["cooldown"] == 1
    listed = cmis("executions", "list", "--rule", "Pause dear ones", "--json").json
    assert [row["execution_id"] for row in listed] == [second["execution_id"], first["execution_id"]]
    assert "actions" not in listed[0]
    assert len(cmis("executions", "list", "--status", "success", "--json").json) == 1


def test_a_rule_that_is_not_active_is_skipped_at_its_gate(cmis: Cmis) -> None:
    cmis("rules", "pause", "Pause dear ones")
    shown = cmis("rules", "run", "Pause dear ones")
    assert shown.code == 0
    assert "rule_inactive: the rule is not active" in shown.out


def test_people_see_gate_counts_and_trace_of_an_execution(cmis: Cmis) -> None:
    shown = cmis("rules", "run", "Pause dear ones").out
    assert "1 true" in shown
    assert "cpa@lifetime = 60 > 50 → true" in shown
    assert "cpa@lifetime = unknown > 50 → unknown" in shown
    assert "pause_campaign succeeded status active → paused" in shown
    assert shown.index("Dear [x]") < shown.index("Cheap")


def test_async_leaves_a_ready_task_that_a_worker_then_runs(cmis: Cmis, app: Database) -> None:
    queued = cmis("rules", "run", "Pause dear ones", "--async", "--json").json
    assert set(queued) == {"task_id", "execution_id", "rule_id", "state"}
    missing = cmis("executions", "show", queued["execution_id"])
    assert (missing.code, missing.out) == (2, "")
    where = context(cmis)
    [task] = query(app, where, "SELECT state, publish_at <= run_at AS due FROM cmis.tasks")
    assert (task.state, task.due) == ("ready", True)
    assert work(app, where, UUID(queued["task_id"])) == Finished(1, 0)
    assert cmis("executions", "show", queued["execution_id"], "--json").json["status"] == "success"


def test_a_run_in_this_process_is_published_only_if_it_is_left_behind(cmis: Cmis, app: Database) -> None:
    where, seen = context(cmis), []

    def die(database: Database, _org_id: UUID, _task_id: UUID) -> None:
        seen.extend(query(database, where, "SELECT state, run_at, publish_at FROM cmis.tasks"))

    _, row = run_now.run_rule(app, where, rule_id(cmis), die, seconds=0)
    assert row is None
    [task] = seen
    assert task.state == "ready"
    assert task.publish_at - task.run_at == run_now.OURS_FOR > timedelta(0)


def test_a_run_that_somebody_else_claimed_is_waited_for(cmis: Cmis, app: Database) -> None:
    where = context(cmis)

    def too_late(database: Database, org_id: UUID, task_id: UUID) -> None:
        assert work(database, where, task_id) == Finished(1, 0)
        evaluate_here(database, org_id, task_id)

    queued, row = run_now.run_rule(app, where, rule_id(cmis), too_late, seconds=5)
    assert row is not None
    assert (row.execution_id, row.status) == (queued.execution_id, "success")
    assert len(query(app, where, "SELECT FROM cmis.automation_executions")) == 1


def test_a_job_run_by_hand_is_an_occurrence_of_its_own(cmis: Cmis, app: Database) -> None:
    job = cmis("jobs", "add", "--rule", "Pause dear ones", "--name", "daily", "--cron", "@daily", "--json").json
    run = cmis("jobs", "run", "daily", "--json").json
    where = context(cmis)
    assert work(app, where, UUID(run["task_id"])) == Finished(1, 0)
    [row] = query(app, where, "SELECT * FROM cmis.occurrences")
    assert (row.origin, row.decision, row.outcome, row.actor_id) == ("manual", "run", "success", CLI_ACTOR)
    assert row.scheduled_for.microsecond % 1000 == 0
    assert (str(row.execution_id), str(row.task_id)) == (run["execution_id"], run["task_id"])
    [after] = cmis("jobs", "list", "--json").json
    assert after == job
    execution = cmis("executions", "show", run["execution_id"], "--json").json
    assert (execution["job_id"], execution["trigger"]) == (job["job_id"], "manual")
    [entry] = cmis("audit", "list", "--action", "job_triggered", "--json").json
    assert (entry["entity_id"], entry["user_id"]) == (job["job_id"], str(CLI_ACTOR))
    assert entry["execution_id"] == run["execution_id"]


def test_a_completed_job_may_still_be_run_by_hand(cmis: Cmis, app: Database) -> None:
    cmis("jobs", "add", "--rule", "Pause dear ones", "--name", "daily", "--cron", "@daily")
    where = context(cmis)
    query(app, where, "UPDATE cmis.scheduled_jobs SET status = 'completed', next_run_at = NULL RETURNING 1")
    run = cmis("jobs", "run", "daily", "--json").json
    assert work(app, where, UUID(run["task_id"])) == Finished(1, 0)


def test_two_runs_of_a_job_in_one_millisecond_are_a_conflict(
    cmis: Cmis, app: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    cmis("jobs", "add", "--rule", "Pause dear ones", "--name", "daily", "--cron", "@daily")
    where = context(cmis)
    [job] = query(app, where, "SELECT * FROM cmis.scheduled_jobs")
    now = query(app, where, "SELECT cmis.clock() AS now")[0].now
    monkeypatch.setattr("engine.run_now.clock.now", lambda _connection: now)
    run_now.run_job(app, where, job)
    with pytest.raises(ConflictError, match="was run by hand in this very moment"):
        run_now.run_job(app, where, job)
    assert len(query(app, where, "SELECT FROM cmis.tasks")) == 1


def test_waiting_for_a_job_without_a_worker_ends_with_1(cmis: Cmis) -> None:
    cmis("jobs", "add", "--rule", "Pause dear ones", "--name", "daily", "--cron", "@daily")
    done = cmis("jobs", "run", "daily", "--wait", "--timeout", "1")
    assert (done.code, done.out) == (1, "")
    assert "is one running?" in done.err


def test_the_audit_log_is_searched_by_each_of_its_keys(cmis: Cmis) -> None:
    execution = cmis("rules", "run", "Pause dear ones", "--json").json
    entity = execution["actions"][0]["entity_id"]

    def actions(*options: str) -> list[str]:
        return [entry["action"] for entry in cmis("audit", "list", *options, "--json").json]

    assert sorted(actions("--execution", execution["execution_id"])) == ["action_taken", "rule_executed"]
    assert actions("--entity", entity, "--action", "action_taken") == ["action_taken"]
    # what was asked for by hand names who asked, not the engine
    assert sorted(actions("--entity", entity, "--user", str(CLI_ACTOR))) == ["action_taken", "campaign_created"]
    assert actions("--execution", execution["execution_id"], "--user", str(ENGINE_ACTOR)) == []
    assert sorted(actions("--rule", "Pause dear ones")) == ["action_taken", "rule_created", "rule_executed"]
    assert actions("--since", "2d", "--until", "1d") == []
    assert len(actions("--limit", "2")) == 2


def test_a_list_that_was_cut_says_so_on_stderr_alone(cmis: Cmis) -> None:
    done = cmis("campaigns", "list", "--limit", "2", "--json")
    assert len(done.json) == 2
    assert "the first 2 are shown; --limit shows more" in done.err
    assert cmis("campaigns", "list", "--limit", "3", "--json").err == ""


def test_each_list_has_a_form_for_people(cmis: Cmis) -> None:
    cmis("jobs", "add", "--rule", "Pause dear ones", "--name", "daily", "--cron", "@daily")
    cmis("rules", "run", "Pause dear ones")
    for noun, said in (
        ("orgs", "Acme"),
        ("rules", "Pause dear ones"),
        ("campaigns", "Dear [x]"),
        ("executions", "success"),
        ("audit", "action_taken"),
        ("jobs", "cron @daily"),
    ):
        done = cmis(noun, "list")
        assert done.code == 0, done.err
        assert said in done.out


def test_wrong_periods_and_ids_are_told_with_their_option(cmis: Cmis) -> None:
    for arguments, said in (
        (("executions", "list", "--since", "soon"), "--since: 'soon' is no time"),
        (("audit", "list", "--until", "2020-01-01"), "--until: is before --since"),
        (("audit", "list", "--entity", "x"), "--entity: 'x' is no id"),
        (("audit", "list", "--rule", "x"), "--rule: there is no rule 'x'"),
        (("executions", "show", "x"), "EXECUTION: 'x' is no id"),
        (("rules", "show", "\udcff"), "bytes that are no UTF-8 text"),
    ):
        done = cmis(*arguments)
        assert (done.code, done.out) == (2, "")
        assert said in done.err


def test_a_run_that_fails_for_now_says_when_a_worker_tries_again(cmis: Cmis, app: Database) -> None:
    faults.arm(Settings.load({"CMIS_FAULTS": "rules.item=1x1"}))
    try:
        done = cmis("rules", "run", "Pause dear ones")
    finally:
        faults.arm(Settings.load({}))
    assert (done.code, done.out) == (1, "")
    assert "the run failed: injected fault at rules.item; a worker will try again in" in done.err
    assert "Traceback" not in done.err
    [task] = query(app, context(cmis), "SELECT state, attempt FROM cmis.tasks")
    assert (task.state, task.attempt) == ("ready", 1)
