"""Bundles on the command line: seen, made, changed, used."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site
    from tests.unit.cli.running import Done

BUNDLE: dict[str, Any] = {
    "name": "Our basics",
    "category": "performance",
    "is_public": True,
    "rules": [
        {
            "name": "Pause [dear] ones",
            "conditions": [{"field": "cpa", "operator": ">", "value": 50}],
            "actions": [{"type": "pause_campaign"}],
        }
    ],
}
PRODUCTS = ["Budget steering", "Creative watch", "Performance guard"]


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    run = Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme"})
    for org in ("Acme", "Other"):
        assert run("orgs", "create", org).code == 0
    return run


@pytest.fixture
def given(cmis: Cmis, tmp_path: Path) -> Any:
    """Return how to run a verb with a JSON document in a file."""

    def run(document: object, *arguments: str) -> Done:
        file = tmp_path / "document.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        return cmis(*arguments, "--file", str(file))

    return run


def listed(cmis: Cmis, *options: str) -> list[tuple[str, str, int]]:
    rows = cmis("bundles", "list", *options, "--json").json
    return [(row["name"], row["origin"], row["usage_count"]) for row in rows]


def test_an_org_sees_its_own_bundles_the_products_and_public_ones(cmis: Cmis, given: Any) -> None:
    assert listed(cmis) == [(name, "product", 0) for name in PRODUCTS]
    made = given(BUNDLE, "bundles", "create", "--json").json
    assert (made["name"], made["rules"], made["status"]) == ("Our basics", BUNDLE["rules"], "active")
    assert listed(cmis, "--category", "performance") == [("Our basics", "own", 0), ("Performance guard", "product", 0)]
    assert ("Our basics", "shared", 0) in listed(cmis, "--org", "Other")
    assert given({"is_public": False}, "bundles", "update", "Our basics", "--json").json["is_public"] is False
    assert len(listed(cmis, "--org", "Other")) == 3
    assert cmis("bundles", "archive", "Our basics", "--json").json["status"] == "archived"
    assert listed(cmis, "--status", "archived") == [("Our basics", "own", 0)]
    assert len(listed(cmis)) == 3


def test_a_bundle_is_shown_in_words_and_with_what_was_made_of_it(cmis: Cmis, given: Any) -> None:
    given(BUNDLE, "bundles", "create")
    told = cmis("bundles", "show", "Our basics").out
    assert "Pause [dear] ones" in told
    assert "cost per acquisition" in told
    made = cmis("bundles", "instantiate", "Our basics", "--prefix", "Summer: ", "--json").json
    [rule] = made["rules"]
    assert (made["name"], rule["name"], rule["status"], rule["conflicts"]) == (
        "Our basics",
        "Summer: Pause [dear] ones",
        "draft",
        [],
    )
    shown = cmis("bundles", "show", made["workflow_id"], "--json").json
    assert [each["rule_id"] for each in shown["made"]] == [rule["rule_id"]]
    assert shown["usage_count"] == 1
    assert cmis("rules", "show", rule["name"], "--json").json["workflow_id"] == made["workflow_id"]


def test_the_products_bundle_is_used_and_warned_of(cmis: Cmis, given: Any) -> None:
    resume = BUNDLE["rules"][0] | {"name": "Resume", "status": "active", "actions": [{"type": "resume_campaign"}]}
    given(resume, "rules", "create")
    refused = cmis("bundles", "instantiate", "Performance guard", "--strict")
    assert (refused.code, "“Pause high CPA” works against “Resume”" in refused.err) == (2, True)
    done = cmis("bundles", "instantiate", "Performance guard", "--status", "active")
    assert done.code == 0
    assert "warning “Pause high CPA” works against “Resume”" in done.err
    assert len(cmis("rules", "list", "--status", "active", "--json").json) == 4
    assert ("Performance guard", "product", 1) in listed(cmis, "--org", "Other")


def test_a_bundle_whose_rules_cannot_be_read_here_is_shown_all_the_same(cmis: Cmis, given: Any, database: Site) -> None:
    given(BUNDLE, "bundles", "create")
    with psycopg.connect(database.urls.migration) as connection:
        rules = '[1, {"name": "x"}, {"name": "far", "conditions": [], "actions": [{"type": "gone"}]}]'
        connection.execute("UPDATE cmis.automation_workflows SET rules = %s::jsonb WHERE is_public", [rules])
    told = cmis("bundles", "show", "Our basics")
    assert (told.code, told.out.count("cannot be read here")) == (0, 3)
    assert cmis("bundles", "instantiate", "Our basics").code == 2


def test_what_is_wrong_with_a_bundle_is_told_at_its_path(cmis: Cmis, given: Any) -> None:
    done = given(BUNDLE | {"category": "x", "rules": [{"name": "r", "actions": []}]}, "bundles", "create")
    assert (done.code, done.out) == (2, "")
    for field in ("category:", "rules[0].conditions:", "rules[0].actions:"):
        assert f"error {field}" in done.err
    for arguments in (("show", "nope"), ("archive", "nope"), ("instantiate", "nope")):
        assert "see `cmis bundles list`" in cmis("bundles", *arguments).err
    assert "belongs to somebody else" in cmis("bundles", "archive", "Creative watch").err
