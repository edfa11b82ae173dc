"""Workflow templates on the command line: checked with and without a database, published, shown, shared, copied."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from tests.unit.cli.running import Cmis
from tests.unit.workflows.documents import chain, noop

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site
    from tests.unit.cli.running import Done

DEFINITION: dict[str, Any] = {"steps": [noop("a", "b"), {**noop("b"), "name": "Say [hello]"}]}
NURTURE: dict[str, Any] = {"name": "Nurture", "category": "lead_nurture", "tags": ["leads"], "definition": DEFINITION}
BAD: dict[str, Any] = {
    "steps": [
        {"id": "a", "type": "action", "config": {"action": "fly"}, "next": "b"},
        {"id": "b", "type": "delay", "config": {"days": 1}, "next": "a"},
        {"id": "c", "type": "split", "config": {"mode": "weighted", "branches": [{"next": "m", "weight": 0}]}},
        {"id": "m", "type": "merge", "config": {"mode": "n", "n": 3}, "next": "nowhere"},
        {"id": "d", "type": "action", "config": {"callable": "cmis.noop", "params": {"x": "{{ steps.q.output }}"}}},
    ]
}
BAD["steps"][4]["next"] = "m"
SAID = (
    "steps[0]: the steps a → b → a lead in a circle",
    "steps[3].next: there is no step 'nowhere'",
    "start: 2 steps have nothing that leads to them: c, d",
    "steps[0].config.action: unknown action 'fly' (allowed: pause_campaign,",
    "steps[4].config.params.x: there is no step 'q' to refer to",
    "steps[2].config.branches: have weights whose sum is 0",
    "steps[3].config.n: is 3, and 2 steps lead to the merge (give at most 2)",
)


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    run = Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme"})
    for org in ("Acme", "Other"):
        assert run("orgs", "create", org).code == 0
    return run


@pytest.fixture
def without_database(capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"CMIS_ORG": "Acme"})


@pytest.fixture
def file(tmp_path: Path) -> Any:
    """Return how to write a JSON document to a file."""

    def write(document: object) -> str:
        path = tmp_path / "document.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return str(path)

    return write


def listed(cmis: Cmis, *options: str) -> list[tuple[str, str, str]]:
    rows = cmis("workflows", "list", *options, "--json").json
    return [(row["name"], row["origin"], row["status"]) for row in rows]


def assert_all_is_told(done: Done, prefix: str = "") -> None:
    assert done.code == 2
    for said in SAID:
        assert f"error {prefix}{said}" in done.err
    assert len(done.err.splitlines()) == len(SAID)


def test_a_file_is_checked_without_a_database(without_database: Cmis, file: Any) -> None:
    assert without_database("workflows", "validate", "--file", file(DEFINITION)).out == "valid: 2 steps\n"
    assert without_database("workflows", "validate", "--file", file(NURTURE), "--json").json == {
        "valid": True,
        "steps": 2,
    }
    assert_all_is_told(without_database("workflows", "validate", "--file", file(BAD)))
    assert_all_is_told(
        without_database("workflows", "validate", "--file", file({**NURTURE, "definition": BAD})), "definition."
    )


def test_3_000_steps_and_2_mb_are_refused(without_database: Cmis, file: Any) -> None:
    many = without_database("workflows", "validate", "--file", file(chain(3_000)))
    assert (many.code, many.err) == (2, "error steps: has 3,000 steps (give at most 2,000)\n")
    large = without_database("workflows", "validate", "--file", file({"steps": [noop("a", text="x" * 2_000_000)]}))
    assert (large.code, large.err) == (2, "error the definition has 2,000,093 bytes (give at most 1,048,576 (1 MiB))\n")
    huge = without_database("workflows", "validate", "--file", file({"steps": [noop("a", text="x" * 5_000_000)]}))
    assert (huge.code, huge.err) == (2, "error --file: has more than 4,096 KiB (give a smaller file)\n")


def test_with_an_org_names_are_looked_for_too(cmis: Cmis, file: Any) -> None:
    params = {"url": "https://example.com", "signing_secret": "secret://none"}
    steps = [
        {"id": "a", "type": "action", "config": {"action": "webhook", "params": params}, "next": "b"},
        {"id": "b", "type": "subworkflow", "config": {"template": "Nobody"}},
    ]
    path = file({"steps": steps})
    assert cmis("workflows", "validate", "--file", path).code == 0
    done = cmis("workflows", "validate", "--file", path, "--org", "Acme")
    assert done.code == 2
    assert "steps[0].config.params.signing_secret: there is no secret 'none' in this org" in done.err
    assert "steps[1].config.template: there is no workflow 'Nobody' in this org" in done.err


def test_of_a_bad_file_everything_is_told_and_nothing_stored(cmis: Cmis, file: Any) -> None:
    assert_all_is_told(cmis("workflows", "publish", "--file", file({**NURTURE, "definition": BAD})), "definition.")
    assert_all_is_told(cmis("workflows", "save", "--file", file({**NURTURE, "definition": BAD})), "definition.")
    assert listed(cmis) == []


def test_a_workflow_is_published_shown_and_published_again(cmis: Cmis, file: Any) -> None:
    path = file(NURTURE)
    assert cmis("workflows", "publish", "--file", path).out == "published Nurture, version 1\n"
    again = cmis("workflows", "publish", "--file", path)
    assert again.out == "Nurture: its definition is that of version 1 already; no new version\n"
    shown = cmis("workflows", "show", "Nurture", "--json").json
    assert (shown["status"], shown["version"], shown["usage_count"], shown["active_instances"]) == ("active", 1, 0, 0)
    assert [(one["version"], one["steps"]) for one in shown["versions"]] == [(1, 2)]
    told = cmis("workflows", "show", "Nurture").out
    assert "Say [hello]" in told
    assert "active_instances" in told
    other = {**NURTURE, "definition": chain(3)}
    made = cmis("workflows", "publish", "--file", file(other), "--json").json
    assert (made["version"], made["new_version"]) == (2, True)
    assert cmis("workflows", "show", "Nurture", "--version", "1", "--json").json["definition"] == DEFINITION
    missing = cmis("workflows", "show", "Nurture", "--version", "9")
    assert (missing.code, "has no version 9" in missing.err) == (2, True)


def test_a_draft_is_saved_changed_and_published(cmis: Cmis, file: Any) -> None:
    assert "draft" in cmis("workflows", "save", "--file", file(NURTURE)).out
    path = file({"description": "Calls leads.", "definition": chain(3)})
    changed = cmis("workflows", "update", "Nurture", "--file", path, "--json").json
    assert (changed["status"], changed["version"], changed["description"]) == ("draft", None, "Calls leads.")
    assert cmis("workflows", "publish", "Nurture").out == "published Nurture, version 1\n"
    both = cmis("workflows", "publish", "Nurture", "--file", path)
    assert (both.code, both.err) == (
        2,
        "error TEMPLATE: or --file is required, and not both (name a workflow, or give a file)\n",
    )


def test_workflows_are_listed_by_what_they_are(cmis: Cmis, file: Any) -> None:
    cmis("workflows", "publish", "--file", file(NURTURE))
    cmis("workflows", "save", "--file", file({**NURTURE, "name": "Daily", "category": "social", "tags": []}))
    assert listed(cmis) == [("Daily", "own", "draft"), ("Nurture", "own", "active")]
    assert listed(cmis, "--category", "social") == [("Daily", "own", "draft")]
    assert listed(cmis, "--tag", "leads") == [("Nurture", "own", "active")]
    assert listed(cmis, "--status", "active") == [("Nurture", "own", "active")]
    assert [row["status"] for row in cmis("workflows", "archive", "Daily", "Nurture", "--json").json] == [
        "archived"
    ] * 2
    assert listed(cmis) == []
    assert cmis("workflows", "activate", "Nurture").code == 0
    assert listed(cmis) == [("Nurture", "own", "active")]
    assert "Nurture" in cmis("workflows", "list").out


def test_what_is_shared_is_read_and_copied_by_others_until_it_is_not(cmis: Cmis, file: Any) -> None:
    cmis("workflows", "publish", "--file", file(NURTURE))
    assert listed(cmis, "--org", "Other") == []
    assert cmis("workflows", "share", "Nurture", "--json").json[0]["is_public"] is True
    assert listed(cmis, "--org", "Other") == [("Nurture", "shared", "active")]
    assert cmis("workflows", "show", "Nurture", "--org", "Other", "--json").json["versions"][0]["steps"] == 2
    secret = {**NURTURE, "is_public": True, "definition": {"steps": [noop("not_yet")]}}
    assert cmis("workflows", "save", "--file", file(secret)).code == 0
    shown = cmis("workflows", "show", "Nurture", "--org", "Other", "--json").json
    assert shown["definition"] == DEFINITION
    assert not {"org_id", "owner_id", "usage_count", "published_by"} & {*shown, *shown["versions"][0]}
    for form in ((), ("--json",)):
        assert "not_yet" in cmis("workflows", "show", "Nurture", *form).out
        assert "not_yet" not in cmis("workflows", "show", "Nurture", "--org", "Other", *form).out
    for verb in ("archive", "share", "publish"):
        done = cmis("workflows", verb, "Nurture", "--org", "Other")
        assert (done.code, "belongs to somebody else" in done.err) == (2, True)
    copy = cmis("workflows", "clone", "Nurture", "--org", "Other", "--name", "Ours", "--json").json
    assert (copy["name"], copy["status"], copy["cloned_from"]["version"]) == ("Ours", "draft", 1)
    assert cmis("workflows", "publish", "Ours", "--org", "Other").code == 0
    assert cmis("workflows", "share", "Nurture", "--off").code == 0
    assert listed(cmis, "--org", "Other") == [("Ours", "own", "active")]


def test_the_schema_is_printed_without_a_database(without_database: Cmis) -> None:
    schema = without_database("workflows", "schema").json
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid(DEFINITION)
    assert not Draft202012Validator(schema).is_valid({"steps": [{"id": "a"}]})
