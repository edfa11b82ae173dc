"""`cmis rules dry-run` and `cmis rules why`, as people and as programs read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site

RULE = {
    "name": "Pause dear ones",
    "status": "draft",
    "conditions": [{"field": "cpa", "window": "lifetime", "operator": ">", "value": 52}],
    "actions": [{"type": "pause_underperforming"}],
}
EXPORT = "campaign,date,spend,conversions\nDear [x],2026-01-01,120,2\nCheap,2026-01-01,100,2\n"


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Cmis:
    run = Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme"})
    assert run("orgs", "create", "Acme").code == 0
    (tmp_path / "rule.json").write_text(json.dumps(RULE), encoding="utf-8")
    (tmp_path / "export.csv").write_text(EXPORT, encoding="utf-8")
    assert run("metrics", "import", str(tmp_path / "export.csv"), "--json").code == 0
    return run


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "rule.json")


def test_a_dry_run_has_the_shape_of_an_execution_and_is_marked(cmis: Cmis, file: str) -> None:
    assert cmis("rules", "create", "--file", file).code == 0
    tried = cmis("rules", "dry-run", "Pause dear ones", "--json").json
    assert (tried.pop("dry_run"), tried.pop("as_if_active")) == (True, True)
    assert cmis("executions", "list", "--json").json == []
    assert cmis("rules", "activate", "Pause dear ones").code == 0
    ran = cmis("rules", "run", "Pause dear ones", "--json").json
    assert tried.keys() == ran.keys()
    assert [action["after"] for action in tried["actions"]] == [action["after"] for action in ran["actions"]]
    assert [action["after"] for action in ran["actions"]] == [{"status": "paused"}]


def test_people_see_what_would_change_campaign_by_campaign(cmis: Cmis, file: str) -> None:
    shown = cmis("rules", "dry-run", "--file", file)
    assert shown.code == 0
    assert "Dry run of rule Pause dear ones" in shown.out
    assert "cpa@lifetime = 60 > 52 → true" in shown.out
    [line] = [line for line in shown.out.splitlines() if "pause_campaign" in line and "│" in line and "└" not in line]
    assert [cell.strip() for cell in line.split("│")][2:6] == [
        "Dear [x]",
        "pause_campaign",
        "succeeded",
        "status active → paused",
    ]
    assert "tried as if it were" in shown.err
    assert [row["status"] for row in cmis("campaigns", "list", "--json").json] == ["active", "active"]
    alone = cmis("rules", "dry-run", "--file", file, "--entity", "Cheap")
    assert "What would change: none" in alone.out


def test_what_would_ask_for_approval_is_shown_before_all_that_nobody_knows(
    cmis: Cmis, file: str, tmp_path: Path
) -> None:
    silent = "".join(f"Silent {n},2026-01-01,1,0\n" for n in range(60))
    (tmp_path / "silent.csv").write_text("campaign,date,spend,conversions\n" + silent, encoding="utf-8")
    assert cmis("metrics", "import", str(tmp_path / "silent.csv"), "--json").code == 0
    assert cmis("orgs", "guardrails", "Acme", "--never-touch", "Dear [x]", "--json").code == 0
    lines = cmis("rules", "dry-run", "--file", file).out.splitlines()
    first, second = [line for line in lines if line.startswith("├── ")][:2]
    assert "Dear [x]" in first
    assert "false Cheap" in second


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "RULE: or --file is required"),
        (("Pause dear ones", "--file", "-"), "RULE: or --file is required, and not both"),
        (("Nothing",), "there is no rule 'Nothing'"),
    ],
)
def test_what_cannot_be_tried_is_told(cmis: Cmis, arguments: tuple[str, ...], said: str) -> None:
    done = cmis("rules", "dry-run", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_why_names_the_gate_and_the_nearest_miss(cmis: Cmis, file: str) -> None:
    assert cmis("rules", "create", "--file", file).code == 0
    draft = cmis("rules", "why", "Pause dear ones", "--entity", "Cheap", "--json").json
    assert (draft["verdict"], draft["stopped_by"], draft["reason"]) == ("stopped", "rule_active", "the rule is draft")
    assert cmis("rules", "activate", "Pause dear ones").code == 0
    cheap = cmis("rules", "why", "Pause dear ones", "--entity", "Cheap", "--json").json
    miss = "would fire if cpa (lifetime) rises more than 4 % (above 52)"
    assert (cheap["stopped_by"], cheap["nearest_miss"]["text"]) == ("conditions", miss)
    assert [gate["result"] for gate in cheap["gates"]] == ["passed"] * 4 + ["stopped"] + ["not_reached"] * 2
    dear = cmis("rules", "why", "Pause dear ones", "--entity", "Dear [x]", "--json").json
    assert (dear["verdict"], dear["stopped_by"], dear["nearest_miss"]) == ("would_fire", None, None)
    assert dear["actions"][0]["after"] == {"status": "paused"}


def test_people_read_why_line_by_line(cmis: Cmis, file: str) -> None:
    assert cmis("rules", "create", "--file", file).code == 0
    assert cmis("rules", "activate", "Pause dear ones").code == 0
    shown = cmis("rules", "why", "Pause dear ones", "--entity", "Cheap").out
    assert "Pause dear ones would not fire for Cheap" in shown
    assert "its conditions do not hold; would fire if cpa (lifetime) rises more than 4 % (above 52)" in shown
    assert "cpa@lifetime = 50 > 52 → false" in shown
    assert "daily_limit passed acted_today 0, limit -" in shown
    assert "guardrails not reached" in shown
    assert "last acted on it: never" in shown
    cmis("rules", "run", "Pause dear ones")
    shown = cmis("rules", "why", "Pause dear ones", "--entity", "Dear [x]").out
    assert "it acted on the campaign and leaves it alone for 60 minutes, until" in shown
    assert "success, execution" in shown
