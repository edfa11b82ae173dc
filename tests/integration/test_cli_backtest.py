"""`cmis rules backtest` on a real database: what it reads, what it says, and that it writes nothing."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from sqlalchemy import insert, text

import models
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site
    from tests.world import Org, World

RULE: dict[str, Any] = {
    "name": "Pause [dear] ones",
    "conditions": [{"field": "cpa", "window": "last_3d", "operator": ">", "value": 50}],
    "actions": [{"type": "pause_underperforming"}],
    "cooldown_minutes": 0,
}
DAYS = 12


@pytest.fixture
def org(world: World) -> Org:
    """An org of a cheap campaign and one that is dear from its sixth day on, known each day at its end."""
    made = world.org("Acme", "Europe/Berlin")
    today = world.now().date()
    dear = made.campaign({}, name="Dear [x]", currency="EUR")
    cheap = made.campaign({}, name="Cheap", currency="EUR")
    rows = []
    for back in range(DAYS, 0, -1):
        day = today - timedelta(days=back)
        common = {"org_id": made.id, "date": day, "observed_at": _at(day) + timedelta(days=1), "conversions": 1}
        rows += [
            common | {"campaign_id": dear, "spend": 90 if back <= 6 else 20},
            common | {"campaign_id": cheap, "spend": 10},
        ]
    with world.app.transaction(made.context) as connection:
        connection.execute(insert(models.CampaignMetric), rows)
    return made


@pytest.fixture
def cmis(database: Site, org: Org, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cmis:
    (tmp_path / "rule.json").write_text(json.dumps(RULE), encoding="utf-8")
    made = Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme", "COLUMNS": "200"})
    assert made("rules", "create", "--file", str(tmp_path / "rule.json")).code == 0
    assert org
    return made


def _at(day: date) -> datetime:
    return datetime.fromisoformat(f"{day}T00:00:00+00:00")


def _effects(document: Any) -> list[tuple[str, str, str]]:
    return [(run["at"], one["campaign"], one["status"]) for run in document["runs"] for one in run["effects"]]


def _everything(world: World) -> dict[str, Any]:
    """Return each table's rows as two numbers; those of partitions are their parents'."""
    ours = "SELECT relname FROM pg_class WHERE relnamespace = 'cmis'::regnamespace AND relkind IN ('r', 'p')"
    tables = [row.relname for row in world.rows(f"{ours} AND has_table_privilege(oid, 'SELECT')")]
    assert {"automation_executions", "automation_audit_log", "campaigns", "automation_rules", "tasks"} <= set(tables)
    count = "SELECT count(*), coalesce(sum(hashtext(t::text)), 0) FROM cmis.{} t"
    return {table: tuple(world.rows(count.format(table))[0]) for table in tables}


def test_a_rule_without_a_job_is_tried_daily_at_nine_and_nothing_is_written(cmis: Cmis, world: World) -> None:
    before = _everything(world)
    found = cmis("rules", "backtest", RULE["name"], "--from", f"{DAYS}d", "--json").json
    assert _everything(world) == before
    assert [schedule["cron_expression"] for schedule in found["schedules"]] == ["0 9 * * *"]
    assert (found["schedules"][0]["job_id"], found["schedules"][0]["timezone"]) == (None, "Europe/Berlin")
    [(at, campaign, status)] = _effects(found)
    assert (campaign, status) == ("Dear [x]", "succeeded")
    [effect] = [one for run in found["runs"] for one in run["effects"]]
    assert (effect["before"], effect["after"]) == ({"status": "active"}, {"status": "paused"})
    [leaf] = effect["decided_by"]
    assert (leaf["field"], leaf["window"], leaf["result"]) == ("cpa", "last_3d", True)
    assert leaf["actual"] > 50
    totals = found["totals"]
    assert (totals["planned"], totals["acted"], totals["campaigns_affected"]) == (len(found["runs"]), 1, 1)
    assert totals["skipped"]["no_change"] > 0
    assert [one["currency"] for one in totals["spent_after_pause"]] == ["EUR"]
    assert at in {run["at"] for run in found["runs"]}


def test_a_rule_that_has_paused_campaigns_is_tried_on_the_time_before(cmis: Cmis, world: World, org: Org) -> None:
    untouched = cmis("rules", "backtest", RULE["name"], "--from", f"{DAYS}d", "--json").json
    assert cmis("rules", "activate", RULE["name"]).code == 0
    assert cmis("rules", "run", RULE["name"], "--json").json["status"] == "success"
    [row] = world.rows("SELECT campaign_id, status FROM cmis.campaigns WHERE name LIKE 'Dear%'")
    assert row.status == "paused"
    with world.app.transaction(org.context) as connection:  # and a person has changed things, too
        connection.execute(text("UPDATE cmis.campaigns SET budget = 70, name = 'Renamed' WHERE name LIKE 'Dear%'"))
    again = cmis("rules", "backtest", RULE["name"], "--from", f"{DAYS}d", "--json").json
    assert again["campaigns_rolled_back"] == 1
    assert [one[1:] for one in _effects(again)] == [one[1:] for one in _effects(untouched)]


def test_what_was_held_and_approved_or_done_and_undone_is_rolled_back_too(cmis: Cmis, tmp_path: Path) -> None:
    path = tmp_path / "lower.json"
    lower = {"name": "Lower", "actions": [{"type": "adjust_budget", "params": {"set": 5}}], "status": "active"}
    path.write_text(json.dumps(RULE | lower), encoding="utf-8")
    assert cmis("rules", "create", "--file", str(path)).code == 0
    asked = ("rules", "backtest", RULE["name"], "--from", f"{DAYS}d", "--json")
    untouched = cmis(*asked).json
    held = cmis("rules", "run", "Lower", "--json").json
    assert cmis("actions", "approve", held["actions"][0]["action_id"]).code == 0
    assert cmis("rules", "activate", RULE["name"]).code == 0
    paused = cmis("rules", "run", RULE["name"], "--json").json
    assert cmis("actions", "undo", "--execution", paused["execution_id"]).code == 0
    [dear] = [one for one in cmis("campaigns", "list", "--json").json if one["name"] == "Dear [x]"]
    assert (dear["status"], dear["budget"]) == ("active", 5)
    again = cmis(*asked).json
    assert again["campaigns_rolled_back"] == 1
    assert [one[1:] for one in _effects(again)] == [one[1:] for one in _effects(untouched)]
    tried = cmis("rules", "backtest", "Lower", "--from", f"{DAYS}d", "--json").json
    effects = [effect for run in tried["runs"] for effect in run["effects"]]
    assert {(one["status"], one["before"]["budget"], one["guardrail"]) for one in effects} == {
        ("held", 100, "budget_floor")
    }


def test_the_rules_own_jobs_say_when_paused_ones_too_and_a_schedule_on_the_command_line_wins(cmis: Cmis) -> None:
    for cron in ("0 6 * * *", "0 18 * * mon"):
        assert cmis("jobs", "add", "--rule", RULE["name"], "--cron", cron, "--name", cron).code == 0
    assert cmis("jobs", "pause", "0 6 * * *").code == 0
    own = cmis("rules", "backtest", RULE["name"], "--from", "7d", "--json").json
    assert sorted(schedule["job"] for schedule in own["schedules"]) == ["0 18 * * mon", "0 6 * * *"]
    assert len(own["runs"]) == 8
    tried = cmis("rules", "backtest", RULE["name"], "--from", "2d", "--every", "hourly", "--json").json
    assert [schedule["job"] for schedule in tried["schedules"]] == [None]
    assert len(tried["runs"]) == 48


def test_an_unsaved_rule_is_tried_as_it_would_be_stored(cmis: Cmis, tmp_path: Path, world: World) -> None:
    path = tmp_path / "raise.json"
    rule = RULE | {"name": "Raise", "actions": [{"type": "increase_budget", "value": 20}], "cooldown_minutes": 2881}
    path.write_text(json.dumps(rule), encoding="utf-8")
    before = _everything(world)
    found = cmis("rules", "backtest", "--file", str(path), "--from", f"{DAYS}d", "--json").json
    assert _everything(world) == before
    assert found["rule"] is None
    assert found["name"] == "Raise"
    budgets = [one["after"]["budget"] for run in found["runs"] for one in run["effects"]]
    assert budgets[:2] == [120, 144]
    [net] = found["totals"]["net_budget_change"]
    assert net == {"currency": "EUR", "amount": budgets[-1] - 100}


def test_people_read_what_it_would_have_done_and_what_decided(cmis: Cmis) -> None:
    done = cmis("rules", "backtest", RULE["name"], "--from", f"{DAYS}d")
    assert done.code == 0
    assert "Backtest of Pause [dear] ones in Acme" in done.out
    assert "no job: tried cron 0 9 * * * (Europe/Berlin)" in done.out
    assert "Dear [x] pause_campaign succeeded status active → paused" in done.out
    assert "> 50 → true" in done.out
    assert "no promise of what would have been saved" in done.err
    assert "replaying" not in done.err  # the bar is for terminals


def test_the_picture_is_written_where_it_is_asked_for(cmis: Cmis, tmp_path: Path) -> None:
    path = tmp_path / "found.svg"
    asked = ("rules", "backtest", RULE["name"], "--from", f"{DAYS}d", "--picture", str(path))
    assert cmis(*asked).code == 0
    told = [one.text for one in ET.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - ours
    assert {"Pause [dear] ones", "cpa (last_3d)", "Dear [x]", "acted"} <= set(told)
    assert cmis(*asked, "--metric", "spend", "--campaign", "Cheap").code == 0
    told = [one.text for one in ET.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314 - ours
    assert {"spend (last_7d)", "Cheap"} <= set(told)
    assert "Dear [x]" not in told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "RULE: one rule is needed"),
        (("no such rule",), "there is no rule"),
        ((RULE["name"], "--file", "x.json"), "RULE: one rule is needed"),
        ((RULE["name"], "--cron", "daily"), "cron_expression"),
        ((RULE["name"], "--cron", "@daily", "--every", "daily"), "--every: means nothing beside --cron"),
        ((RULE["name"], "--from", "500d"), "the span has"),
        ((RULE["name"], "--from", "1d", "--to", "2d"), "to: is not after the start"),
        ((RULE["name"], "--to", "2199-01-01"), "is still to come"),
        ((RULE["name"], "--from", "300d", "--cron", "* * * * *"), "more than 20,000 planned times"),
        ((RULE["name"], "--metric", "cpa"), "--picture: is missing"),
        ((RULE["name"], "--window", "today"), "--window: needs a --metric"),
        ((RULE["name"], "--picture", "x.svg", "--campaign", "nobody"), "looks at no campaign nobody"),
        ((RULE["name"], "--picture", "/no/such/directory/x.svg"), "cannot be written"),
    ],
)
def test_what_cannot_be_tried_is_refused_with_a_remedy(cmis: Cmis, arguments: tuple[str, ...], message: str) -> None:
    done = cmis("rules", "backtest", *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


def test_everything_wrong_with_an_unsaved_rule_is_told_at_its_path(cmis: Cmis, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    conditions = [{"field": "cpa", "operator": "~", "value": 1}]
    path.write_text(json.dumps(RULE | {"conditions": conditions, "cooldown_minutes": -1}), encoding="utf-8")
    done = cmis("rules", "backtest", "--file", str(path))
    assert done.code == 2
    assert "conditions[0].operator" in done.err
    assert "cooldown_minutes" in done.err


def test_a_date_at_the_end_is_meant_to_its_end(cmis: Cmis, world: World) -> None:
    day = world.now().date() - timedelta(days=3)
    found = cmis("rules", "backtest", RULE["name"], "--from", f"{day}", "--to", f"{day}", "--json").json
    assert len(found["runs"]) == 1


def test_a_rule_for_one_campaign_looks_at_that_one(cmis: Cmis, world: World, tmp_path: Path) -> None:
    [row] = world.rows("SELECT campaign_id FROM cmis.campaigns WHERE name = 'Cheap'")
    path = tmp_path / "one.json"
    path.write_text(json.dumps(RULE | {"name": "One", "entity_id": str(row.campaign_id)}), encoding="utf-8")
    found = cmis("rules", "backtest", "--file", str(path), "--from", "5d", "--json").json
    assert (found["campaigns"], _effects(found)) == (1, [])
    assert {sum(run["counts"].values()) for run in found["runs"]} == {1}
    assert isinstance(row.campaign_id, UUID)
