"""Rules changed, switched, compared and followed through their versions on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site
    from tests.unit.cli.running import Done

RULE: dict[str, Any] = {
    "name": "Pause dear ones",
    "status": "active",
    "conditions": [{"field": "cpa", "window": "lifetime", "operator": ">", "value": 50}],
    "actions": [{"type": "pause_underperforming"}],
}
RESUME = RULE | {"name": "Resume them", "actions": [{"type": "resume_campaign"}]}


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    run = Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme"})
    assert run("orgs", "create", "Acme").code == 0
    return run


@pytest.fixture
def given(cmis: Cmis, tmp_path: Path) -> Any:
    """Return how to run a verb with a JSON document in a file."""

    def run(document: object, *arguments: str) -> Done:
        file = tmp_path / "document.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        return cmis(*arguments, "--file", str(file))

    return run


def names(cmis: Cmis, status: str) -> list[str]:
    return [rule["name"] for rule in cmis("rules", "list", "--status", status, "--json").json]


def test_a_rule_is_updated_its_versions_listed_and_one_restored(cmis: Cmis, given: Any) -> None:
    rule = given(RULE, "rules", "create", "--json").json
    changes = {"cooldown_minutes": 120, "conditions": [RULE["conditions"][0] | {"value": 60}]}
    updated = given(changes, "rules", "update", RULE["name"], "--if-version", "1", "--json").json
    assert updated == rule | changes | {key: updated[key] for key in ("version", "updated_at")}
    newest, first = cmis("rules", "versions", RULE["name"], "--json").json
    assert (newest["version"], newest["user"], first["changes"]) == (2, "command line", None)
    assert newest["changes"] == [
        {"path": "conditions[0].value", "before": 50, "after": 60},
        {"path": "cooldown_minutes", "before": 60, "after": 120},
    ]
    [only] = cmis("rules", "versions", RULE["name"], "--limit", "1", "--json").json
    assert only == newest
    shown = cmis("rules", "versions", RULE["name"], "--show", "1", "--json").json
    assert (shown["version"], shown["definition"]["cooldown_minutes"]) == (1, 60)
    back = cmis("rules", "restore", RULE["name"], "--version", "1", "--json").json
    assert (back["version"], back["cooldown_minutes"], back["conditions"]) == (3, 60, RULE["conditions"])


def test_versions_are_told_to_people(cmis: Cmis, given: Any) -> None:
    given(RULE, "rules", "create")
    given({"name": "[red]new"}, "rules", "update", RULE["name"])
    told = cmis("rules", "versions", "[red]new").out
    assert "Versions of [red]new" in told
    assert "name Pause dear ones → [red]new" in told
    assert "the first that is kept" in told
    assert "Version 1 of Pause dear ones" in cmis("rules", "versions", "[red]new", "--show", "1").out
    missing = cmis("rules", "versions", "[red]new", "--show", "9")
    assert (missing.code, "--show: the rule '[red]new' has no version 9" in missing.err) == (2, True)


def test_an_update_of_a_version_that_moved_on_is_refused_with_the_difference(given: Any) -> None:
    given(RULE, "rules", "create")
    given({"cooldown_minutes": 5}, "rules", "update", RULE["name"])
    done = given({"cooldown_minutes": 9}, "rules", "update", RULE["name"], "--if-version", "1")
    assert (done.code, done.out) == (2, "")
    assert "version: the rule is at version 2, not 1" in done.err
    assert "cooldown_minutes: was 60 then, and is 5 now" in done.err


def test_an_execution_says_whether_the_rule_is_still_what_it_ran(cmis: Cmis, given: Any) -> None:
    given(RULE, "rules", "create")
    ran = cmis("rules", "run", RULE["name"], "--json").json
    assert (ran["rule_version"], ran["rule_version_is_current"]) == (1, True)
    assert "the rule is at version" not in cmis("executions", "show", ran["execution_id"]).out
    given({"cooldown_minutes": 5}, "rules", "update", RULE["name"])
    assert cmis("executions", "show", ran["execution_id"], "--json").json["rule_version_is_current"] is False
    told = cmis("executions", "show", ran["execution_id"]).out
    assert "the rule is at version 2 now: cooldown_minutes 60 → 5" in told
    given({"cooldown_minutes": 60}, "rules", "update", RULE["name"])
    assert "version 3 now: defined as it was then" in cmis("executions", "show", ran["execution_id"]).out


def test_a_rule_is_duplicated(cmis: Cmis, given: Any) -> None:
    given(RULE, "rules", "create")
    assert cmis("rules", "duplicate", RULE["name"], "--json").json["name"] == "Pause dear ones (copy)"
    copy = cmis("rules", "duplicate", RULE["name"], "--name", "Mine", "--json").json
    assert (copy["name"], copy["status"], copy["version"]) == ("Mine", "draft", 1)
    assert cmis("rules", "duplicate", RULE["name"], "--name", " ").code == 2


def test_one_rule_is_archived_with_its_job(cmis: Cmis, given: Any) -> None:
    rule = given(RULE, "rules", "create", "--json").json
    cmis("jobs", "add", "--rule", RULE["name"], "--cron", "@daily")
    done = cmis("rules", "archive", RULE["name"], "--json").json
    assert (done["rule_id"], done["status"], done["paused_jobs"]) == (rule["rule_id"], "archived", [RULE["name"]])
    [job] = cmis("jobs", "list", "--json").json
    assert (job["status"], job["pause_note"]) == ("paused", "its rule was archived")
    resumed = cmis("jobs", "resume", RULE["name"])
    assert (resumed.code, "its rule 'Pause dear ones' is archived" in resumed.err) == (2, True)


def test_many_rules_are_switched_at_once_and_each_is_told_of(cmis: Cmis, given: Any) -> None:
    given(RULE, "rules", "create")
    cmis("rules", "archive", "Pause high CPA")
    done = cmis("rules", "pause", "Pause high CPA", RULE["name"], "--type", "budget", "--status", "draft", "--json")
    assert done.code == 2
    assert [(row["name"], row["outcome"], row["reason"]) for row in json.loads(done.out)] == [
        ("Pause high CPA", "refused", "the rule 'Pause high CPA' is archived"),
        (RULE["name"], "changed", None),
        *[(name, "changed", None) for name in names(cmis, "paused") if name != RULE["name"]],
    ]
    assert len(names(cmis, "paused")) == 3
    told = cmis("rules", "activate", "--status", "paused", "--type", "alert")
    assert (told.code, "No rule matches." in told.out) == (0, True)
    assert cmis("rules", "activate", "--all").code == 0
    assert names(cmis, "draft") == names(cmis, "paused") == []
    nothing = cmis("rules", "activate")
    assert (nothing.code, "RULE: is required" in nothing.err) == (2, True)


def test_what_works_against_a_rule_is_a_warning_unless_it_is_to_be_strict(cmis: Cmis, given: Any) -> None:
    rule = given(RULE, "rules", "create", "--json").json
    assert rule["conflicts"] == []
    refused = given(RESUME, "rules", "create", "--strict")
    assert (refused.code, "conflicts: “Resume them” works against “Pause dear ones”" in refused.err) == (2, True)
    assert cmis("rules", "show", RESUME["name"]).code == 2
    warned = given(RESUME, "rules", "create")
    assert warned.code == 0
    assert "warning “Resume them” works against “Pause dear ones”: one resumes and the other pauses" in warned.err
    [told] = given({"cooldown_minutes": 1}, "rules", "update", RESUME["name"], "--json").json["conflicts"]
    assert (told["rule_id"], told["kinds"], told["example"]) == (
        rule["rule_id"],
        ["resume", "pause"],
        {"cpa@lifetime": 55},
    )
    cmis("rules", "pause", RESUME["name"])
    assert cmis("rules", "activate", RESUME["name"], "--strict").code == 2
    assert [each["rule"] for each in cmis("rules", "activate", RESUME["name"], "--json").json["conflicts"]] == [
        RULE["name"]
    ]
    [pair] = cmis("rules", "conflicts", "--json").json
    assert (pair["rule"], pair["other_rule"]) == (RULE["name"], RESUME["name"])
    [turned] = cmis("rules", "conflicts", RESUME["name"], "--json").json
    assert (turned["rule"], turned["other_rule"]) == (RESUME["name"], RULE["name"])
    assert "Resume them" in cmis("rules", "conflicts").out
    assert cmis("rules", "conflicts", "Pause high CPA", "--json").json != []


def test_how_rules_executions_ended_is_listed_and_skipped_ones_do_not_count(cmis: Cmis, given: Any) -> None:
    notify = RULE | {
        "actions": [{"type": "notify"}],
        "conditions": [{"field": "status", "operator": "=", "value": "x"}],
    }
    given(notify, "rules", "create")
    assert cmis("rules", "run", RULE["name"]).code == 0
    rows = cmis("rules", "performance", "--json").json
    [row] = [row for row in rows if row["rule_name"] == RULE["name"]]
    assert (row["total_executions"], row["executions_last_30d"], row["success_rate"]) == (0, 0, None)
    assert len(rows) == 7
    assert RULE["name"] in cmis("rules", "performance").out
