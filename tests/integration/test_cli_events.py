"""Events on the command line: told, listed and shown; and rules that they trigger, made and explained."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site

RULE: dict[str, Any] = {
    "name": "Tell of good leads",
    "status": "active",
    "trigger_type": "event",
    "event_type": "lead.created",
    "entity_type": "event",
    "conditions": [{"field": "lead.score", "operator": ">=", "value": 50}],
    "actions": [{"type": "send_notification"}],
}


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    run = Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme"})
    assert run("orgs", "create", "Acme").code == 0
    return run


@pytest.fixture
def given(tmp_path: Path) -> Any:
    """Return how to put a JSON document into a file; its path."""

    def write(document: object) -> str:
        file = tmp_path / "document.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        return str(file)

    return write


def test_an_event_is_told_once_listed_and_shown(cmis: Cmis, given: Any) -> None:
    assert cmis("rules", "create", "--file", given(RULE)).code == 0
    payload = given({"lead": {"score": 80}, "campaign_id": "gone"})
    told = cmis("events", "emit", "lead.created", "--payload", payload, "--key", "lead-1")
    assert "triggered 1 rule" in told.out
    assert "names no campaign of this org: rules about campaigns were not triggered" in told.err
    again = cmis("events", "emit", "lead.created", "--payload", payload, "--key", "lead-1", "--json").json
    assert (again["already"], again["triggered"]) == (True, 1)
    [row] = cmis("events", "list", "--type", "lead.created", "--json").json
    assert (row["event_id"], row["source"], row["idempotency_key"]) == (again["event_id"], "cli", "lead-1")
    assert cmis("events", "list", "--type", "lead.lost", "--json").json == []
    shown = cmis("events", "show", row["event_id"], "--json").json
    assert shown == row | {"executions": [], "instances": []}
    assert "lead.created" in cmis("events", "show", row["event_id"]).out
    refused = cmis("events", "emit", "lead.created", "--payload", given({}), "--key", "lead-1")
    assert (refused.code, "is the key of another event" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("event_type", "payload", "key", "said"),
    [
        ("Lead", {}, "k", "type: cannot be 'Lead'"),
        ("lead", [], "k", "payload: must be an object, not a list"),
        ("lead", {"a": "x" * 65_536}, "k", "payload: has 65,544 bytes as JSON"),
        ("lead", {"a": "x\u0000"}, "k", "payload.a: holds a character that no database text can hold"),
        ("lead", json.loads('{"a":' * 20 + "1" + "}" * 20), "k", "is nested too deep"),
        ("lead", {}, "k" * 201, "idempotency_key: cannot be"),
    ],
)
def test_an_event_that_makes_no_sense_is_refused(
    cmis: Cmis, given: Any, event_type: str, payload: object, key: str, said: str
) -> None:
    refused = cmis("events", "emit", event_type, "--payload", given(payload), "--key", key)
    assert refused.code == 2
    assert said in refused.err
    assert cmis("events", "list", "--json").json == []


def test_an_event_rule_is_explained_duplicated_and_changed_but_never_run_by_hand(cmis: Cmis, given: Any) -> None:
    rule = cmis("rules", "create", "--file", given(RULE), "--json").json
    assert (rule["event_type"], rule["trigger_type"], rule["entity_type"]) == ("lead.created", "event", "event")
    assert cmis("rules", "explain", RULE["name"]).out.startswith('When "lead.created" happens: if lead.score')
    copy = cmis("rules", "duplicate", RULE["name"], "--name", "Copy", "--json").json
    assert copy["event_type"] == "lead.created"
    changed = cmis("rules", "update", "Copy", "--file", given({"event_type": "lead.lost"}), "--json").json
    assert (changed["event_type"], changed["version"]) == ("lead.lost", 2)
    [newest, _] = cmis("rules", "versions", "Copy", "--json").json
    assert newest["changes"] == [{"path": "event_type", "before": "lead.created", "after": "lead.lost"}]
    restored = cmis("rules", "restore", "Copy", "--version", "1", "--json").json
    assert restored["event_type"] == "lead.created"
    for verb in (("run",), ("dry-run",), ("backtest",)):
        refused = cmis("rules", verb[0], RULE["name"], *verb[1:])
        assert (refused.code, "names a rule that events trigger" in refused.err) == (2, True), (verb, refused)
    job = cmis("jobs", "add", "--rule", RULE["name"], "--cron", "0 * * * *")
    assert (job.code, "is triggered by events of type lead.created, and not by a job" in job.err) == (2, True), job
