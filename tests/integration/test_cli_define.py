"""Orgs, rules and jobs made on the command line, against the real database as the app role."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from core.db import CLI_ACTOR, Context, Database
from core.errors import InputError
from core.ids import uuid7
from engine import define_jobs
from engine.rules.templates import TEMPLATES
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.site import Site

RULE = {
    "name": "Pause dear ones",
    "status": "active",
    "condition_logic": "any",
    "conditions": [{"metric": "cpa", "window": "lifetime", "operator": ">", "threshold": 50.1}],
    "actions": [{"type": "pause_underperforming"}, {"type": "increase_budget", "value": 12.5}],
    "max_executions_per_day": 3,
    "guardrails": {"budget_floor": 0.1},
}


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme"})


@pytest.fixture
def org(cmis: Cmis) -> dict[str, Any]:
    made: dict[str, Any] = cmis("orgs", "create", "Acme", "--timezone", "Europe/Berlin", "--json").json
    return made


@pytest.fixture
def app(database: Site) -> Iterator[Database]:
    opened = Database(database.urls.app, variable="DATABASE_URL", application="test")
    yield opened
    opened.close()


def create_rule(cmis: Cmis, path: Path, **changes: object) -> Any:
    file = path / "rule.json"
    file.write_text(json.dumps(RULE | changes), encoding="utf-8")
    return cmis("rules", "create", "--file", str(file), "--json").json


def count(cmis: Cmis, noun: str) -> int:
    return len(cmis(noun, "list", "--json").json)


def test_an_org_is_created_with_a_draft_of_each_template(cmis: Cmis, org: dict[str, Any]) -> None:
    assert (org["name"], org["timezone"]) == ("Acme", "Europe/Berlin")
    rules = cmis("rules", "list", "--json").json
    assert {rule["template_id"] for rule in rules} == set(TEMPLATES)
    assert {rule["status"] for rule in rules} == {"draft"}
    assert [(row["org_id"], row["name"]) for row in cmis("orgs", "list", "--json").json] == [(org["org_id"], "Acme")]


def test_the_admin_of_a_new_org_may_act_in_it(cmis: Cmis) -> None:
    cmis("orgs", "create", "Acme", "--admin", "Ana@Acme.example")
    [member] = cmis("audit", "list", "--action", "member_created", "--json").json
    assert cmis("rules", "list", "--as", member["entity_id"]).code == 0
    other = cmis("orgs", "create", "Other", "--json").json
    refused = cmis("rules", "list", "--as", member["entity_id"], "--org", other["org_id"])
    assert refused.code == 2
    assert "--as: user" in refused.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("Acme",), "name: there is an org 'Acme' already"),
        (("",), "name: is blank"),
        (("x" * 201,), "name: has 201 characters"),
        (("a\nb",), "name: holds a character that cannot be printed"),
        (("New", "--timezone", "Europe/Berlim"), "did you mean 'Europe/Berlin'?"),
        (("New", "--admin", "ana"), "admin_email: 'ana' is no e-mail address"),
        (("New", "--admin", "cli@system.cmis"), "admin_email: cli@system.cmis is the address of a system actor"),
    ],
)
@pytest.mark.usefixtures("org")
def test_an_org_that_cannot_be_is_refused_and_nothing_written(
    cmis: Cmis, arguments: tuple[str, ...], said: str
) -> None:
    done = cmis("orgs", "create", *arguments)
    assert done.code == 2
    assert said in done.err
    assert count(cmis, "orgs") == 1


@pytest.mark.usefixtures("org")
def test_a_rule_keeps_its_conditions_and_actions_as_they_were_written(cmis: Cmis, tmp_path: Path) -> None:
    made = create_rule(cmis, tmp_path)
    shown = cmis("rules", "show", "Pause dear ones", "--json").json
    assert made == shown | {"conflicts": []}
    assert {key: shown[key] for key in RULE} == RULE | {"condition_logic": "or"}
    assert (shown["cooldown_minutes"], shown["priority"], shown["version"]) == (60, "medium", 1)
    assert shown["owner_id"] == str(CLI_ACTOR)


@pytest.mark.usefixtures("org")
def test_a_stored_rule_is_explained_in_words(cmis: Cmis, tmp_path: Path) -> None:
    rule = create_rule(cmis, tmp_path, min_sample={"clicks": 10}, max_data_age="36h")
    told = cmis("rules", "explain", rule["rule_id"], "--json").json
    assert told["sentence"] == (
        "For each campaign: if cost per acquisition over the lifetime is above 50.1, then pause the campaign, "
        "then raise the budget by 12.5 %. What comes from fewer than 10 clicks or data older than 36 hours "
        "(but for the lifetime) counts as unknown. After it acted on a campaign it leaves that one alone for 1 hour. "
        "It acts at most 3 times a day."
    )
    assert cmis("rules", "explain", "Pause dear ones").out == told["sentence"] + "\n"
    assert "see `cmis rules list`" in cmis("rules", "explain", "nope").err


@pytest.mark.usefixtures("org")
def test_a_wrong_rule_is_told_with_every_problem_and_not_stored(cmis: Cmis, tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    document = {"conditions": [{"field": "cpaa", "operator": "~"}], "actions": [], "cooldown_minutes": -1}
    file.write_text(json.dumps(document), encoding="utf-8")
    done = cmis("rules", "create", "--file", str(file), "--json")
    assert (done.code, done.out) == (2, "")
    for field in ("name:", "conditions[0].field:", "conditions[0].operator:", "actions:", "cooldown_minutes:"):
        assert f"error {field}" in done.err
    assert count(cmis, "rules") == len(TEMPLATES)


@pytest.mark.usefixtures("org")
def test_a_rule_of_a_campaign_needs_one_of_its_own_org(cmis: Cmis, tmp_path: Path) -> None:
    file = tmp_path / "rule.json"
    stranger = str(uuid7(datetime(2026, 1, 1, tzinfo=UTC)))
    file.write_text(json.dumps(RULE | {"entity_id": stranger}), encoding="utf-8")
    done = cmis("rules", "create", "--file", str(file))
    assert done.code == 2
    assert f"entity_id: there is no campaign {stranger} in this org" in done.err


@pytest.mark.usefixtures("org")
def test_a_rule_is_paused_and_activated_and_each_change_is_audited_once(cmis: Cmis, tmp_path: Path) -> None:
    rule = create_rule(cmis, tmp_path)
    for verb, status in (("pause", "paused"), ("pause", "paused"), ("activate", "active")):
        assert cmis("rules", verb, "Pause dear ones", "--json").json["status"] == status
    entries = cmis("audit", "list", "--rule", rule["rule_id"], "--json").json
    assert [entry["action"] for entry in entries] == ["rule_activated", "rule_paused", "rule_created"]


def test_an_archived_rule_neither_acts_again_nor_gets_a_job(
    cmis: Cmis, org: dict[str, Any], app: Database, tmp_path: Path
) -> None:
    rule = create_rule(cmis, tmp_path)
    with app.transaction(Context(org["org_id"], CLI_ACTOR)) as connection:
        connection.execute(text("UPDATE cmis.automation_rules SET status = 'archived' WHERE name = 'Pause dear ones'"))
    done = cmis("rules", "activate", rule["rule_id"])
    assert done.code == 2
    assert "the rule 'Pause dear ones' is archived" in done.err
    assert "is archived" in cmis("jobs", "add", "--rule", rule["rule_id"], "--cron", "@daily").err


@pytest.mark.usefixtures("org")
def test_a_name_of_two_rules_is_answered_with_their_ids(cmis: Cmis, tmp_path: Path) -> None:
    ids = {create_rule(cmis, tmp_path)["rule_id"] for _ in range(2)}
    done = cmis("rules", "pause", "Pause dear ones")
    assert done.code == 2
    assert "2 rules are named 'Pause dear ones'" in done.err
    assert all(rule_id in done.err for rule_id in ids)


@pytest.mark.usefixtures("org")
def test_what_a_tenant_wrote_is_no_markup(cmis: Cmis, tmp_path: Path) -> None:
    create_rule(cmis, tmp_path, name="[red]a[/b] \x1b[31mz")
    done = cmis("rules", "list")
    assert done.code == 0
    assert "[red]a[/b] \N{REPLACEMENT CHARACTER}[31mz" in done.out
    assert cmis("rules", "show", "[red]a[/b] \x1b[31mz").code == 0


@pytest.mark.usefixtures("org")
def test_a_job_runs_in_the_orgs_zone_unless_it_has_its_own(cmis: Cmis, tmp_path: Path) -> None:
    rule = create_rule(cmis, tmp_path)
    job = cmis("jobs", "add", "--rule", rule["name"], "--cron", "0 9 * * *", "--json").json
    assert (job["name"], job["rule_id"], job["timezone"]) == (rule["name"], rule["rule_id"], "Europe/Berlin")
    assert (job["status"], job["schedule_type"], job["run_count"]) == ("active", "cron", 0)
    assert datetime.fromisoformat(job["next_run_at"]).hour in {7, 8}
    options = "--name", "tokyo", "--every", "weekly", "--on", "thu,mon", "--at", "09:00", "--timezone", "Asia/Tokyo"
    other = cmis("jobs", "add", "--rule", rule["rule_id"], *options, "--json").json
    assert (other["days_of_week"], other["time_of_day"]) == ([1, 4], "09:00:00")
    assert other["next_run_at"].endswith("T00:00:00Z")
    assert {row["name"] for row in cmis("jobs", "list", "--json").json} == {rule["name"], "tokyo"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--cron", "0 9 * * * *"), "cron_expression: has 6 fields instead of 5"),
        (("--cron", "61 9 * * *"), "cron_expression:"),
        (("--cron", "@daily", "--timezone", "Mars/Base"), "timezone: unknown time zone 'Mars/Base'"),
        (("--every", "daily", "--at", "25:00"), "time_of_day: '25:00' is no time of day"),
        (("--every", "daily", "--interval", "-1"), "interval: -1 is no whole number"),
        (("--every", "daily", "--on", "mon"), "days_of_week: does not belong to a daily schedule"),
        (("--once", "2020-01-01"), "start_date: 2019-12-31T23:00:00+00:00 lies in the past"),
        (("--cron", "0 9 30 2 *"), "cron_expression: never fires"),
        (("--cron", "@daily", "--name", "taken"), "name: there is a job of this name already"),
        ((), "schedule: is given by none"),
    ],
)
@pytest.mark.usefixtures("org")
def test_a_job_that_cannot_be_is_refused(cmis: Cmis, tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    rule = create_rule(cmis, tmp_path)
    assert cmis("jobs", "add", "--rule", rule["rule_id"], "--name", "taken", "--cron", "@hourly").code == 0
    done = cmis("jobs", "add", "--rule", rule["rule_id"], *options)
    assert done.code == 2
    assert said in done.err
    assert count(cmis, "jobs") == 1


def test_all_that_is_wrong_with_a_job_is_told_at_once(app: Database, org: dict[str, Any]) -> None:
    document = {"name": "x" * 201, "rule": "nope", "cron_expression": "x", "timezone": "Mars", "jitter_seconds": -5}
    with pytest.raises(InputError) as error:
        define_jobs.create_job(app, Context(org["org_id"], CLI_ACTOR), document)
    fields = {problem.field for problem in error.value.problems}
    assert fields == {"name", "rule", "cron_expression", "timezone", "jitter_seconds"}


@pytest.mark.usefixtures("org")
def test_an_unknown_org_rule_or_job_is_told_with_where_to_look(cmis: Cmis) -> None:
    for arguments, remedy in (
        (("rules", "list", "--org", "nope"), "see `cmis orgs list`"),
        (("rules", "show", "nope"), "see `cmis rules list`"),
        (("jobs", "run", "nope"), "see `cmis jobs list`"),
    ):
        done = cmis(*arguments)
        assert (done.code, done.out) == (2, "")
        assert remedy in done.err
