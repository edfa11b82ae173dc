"""Who may do what: a viewer changes nothing, an operator runs what editors define."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site
    from tests.unit.cli.running import Done
    from tests.world import Org, World

RULE: Final[dict[str, Any]] = {
    "name": "Costly",
    "conditions": [{"field": "spend", "operator": ">", "value": 50}],
    "actions": [{"type": "pause_campaign"}],
}
DOCUMENTS: Final = {
    "rule": RULE | {"name": "Another"},
    "change": {"priority": "high"},
    "bundle": {"name": "Another", "category": "performance", "rules": [RULE]},
    "bundle_change": {"description": "changed"},
}
EXPORT: Final = "campaign,date,impressions,clicks,spend\nSpring sale,2025-08-30,12000,240,96.50\n"
DEFINES: Final = [
    "rules create --file {rule}",
    "rules update Costly --file {change}",
    "rules duplicate Costly",
    "bundles create --file {bundle}",
    "bundles update Pack --file {bundle_change}",
    "bundles instantiate Pack --prefix New",
    "bundles archive Pack",
    "jobs add --rule Costly --every weekly --name weekly",
    "jobs update hourly --cron @daily",
]
RUNS: Final = [
    "metrics import {export}",
    "rules run Costly --async",
    "optimize --async",
    "jobs run hourly",
    "jobs backfill hourly --from 2026-01-01T00:00:00Z --to 2026-01-01T02:00:00Z",
    "jobs pause hourly",
    "jobs resume hourly",
    "rules pause Costly",
    "rules activate Costly",
]
WRITTEN: Final = """
SELECT (SELECT jsonb_agg(to_jsonb(r)) FROM cmis.automation_rules r),
       (SELECT jsonb_agg(to_jsonb(j)) FROM cmis.scheduled_jobs j),
       (SELECT jsonb_agg(to_jsonb(b)) FROM cmis.automation_workflows b), (SELECT count(*) FROM cmis.campaigns),
       (SELECT count(*) FROM cmis.tasks), (SELECT count(*) FROM cmis.occurrences)
"""


@pytest.fixture
def org(world: World) -> Org:
    return world.org("Acme")


@pytest.fixture
def say(database: Site, org: Org, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Return how to run a line as the org's one member; a rule, a bundle and a job are there."""
    files = {name: tmp_path / f"{name}.json" for name in DOCUMENTS}
    for name, file in files.items():
        file.write_text(json.dumps(DOCUMENTS[name]), encoding="utf-8")
    files["export"] = tmp_path / "export.csv"
    files["export"].write_text(EXPORT, encoding="utf-8")
    cmis = Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": "Acme", "CMIS_TEST_CLOCK": "1"})

    def run(line: str) -> Done:
        words = [word.format(**files) for word in line.split()]
        return cmis(*words, "--as", str(org.context.user_id))

    for name, document in (("first", RULE | {"status": "active"}), ("pack", DOCUMENTS["bundle"] | {"name": "Pack"})):
        files[name] = tmp_path / f"{name}.json"
        files[name].write_text(json.dumps(document), encoding="utf-8")
    for line in (
        "rules create --file {first}",
        "bundles create --file {pack}",
        "jobs add --rule Costly --cron @hourly --name hourly",
    ):
        done = run(line)
        assert done.code == 0, done.err
    return run


def become(world: World, role: str) -> None:
    world.meddle("UPDATE cmis.user_orgs SET role = %(role)s", role=role)


def written(world: World) -> Any:
    [row] = world.rows(WRITTEN)
    return row


def test_a_viewer_changes_nothing(world: World, say: Any) -> None:
    become(world, "viewer")
    before = written(world)
    for lines, least in ((DEFINES, "editor"), (RUNS, "operator")):
        for line in lines:
            refused = say(line)
            assert (refused.code, f"act as a member who is {least} or more" in refused.err) == (2, True), line
    assert written(world) == before


def test_an_operator_runs_what_is_defined_and_defines_nothing(world: World, say: Any) -> None:
    become(world, "operator")
    for line in DEFINES:
        assert say(line).code == 2, line
    for line in RUNS:
        done = say(line)
        assert done.code == 0, (line, done.err)


def test_an_editor_defines(world: World, say: Any) -> None:
    become(world, "editor")
    for line in DEFINES:
        done = say(line)
        assert done.code == 0, (line, done.err)
