"""`cmis workflows draw`: from a file without a database, of versions and drafts, and of instances in colour."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4
from xml.etree import ElementTree as ET

import pytest

from core import clock
from engine import define_workflows
from engine.start_workflow import Start, start
from models.workflow_enums import InstanceTrigger
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from pathlib import Path

    from tests.world import Org, World

NURTURE: Final[dict[str, Any]] = {
    "name": "Nurture leads",
    "category": "lead_nurture",
    "definition": {
        "steps": [
            {"id": "wait", "type": "delay", "config": {"days": 2}, "next": "tell"},
            {"id": "tell", "type": "action", "config": {"action": "notify", "params": {"message": "call"}}},
        ]
    },
}
MERMAID: Final = """\
flowchart TD
    s0("wait<br/>wait 2 days")
    s1["tell<br/>notify"]
    s0 --> s1
"""


@pytest.fixture
def acme(world: World) -> Org:
    return world.org("Acme")


@pytest.fixture
def cmis(world: World, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": world.site.urls.app, "CMIS_ORG": "Acme", "COLUMNS": "400"})


@pytest.fixture
def offline(capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"COLUMNS": "400"})


def written(path: Path, document: object) -> str:
    path.write_text(json.dumps(document), encoding="utf-8")
    return str(path)


def words(picture: str) -> list[str]:
    root = ET.fromstring(picture)  # noqa: S314 - ours
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def published(org: Org) -> UUID:
    found = define_workflows.publish(org.world.app, org.context, NURTURE, {})
    template_id: UUID = found.row.template_id
    return template_id


@pytest.mark.parametrize("document", [NURTURE, NURTURE["definition"], {"name": "x", **NURTURE["definition"]}])
def test_a_file_is_drawn_without_a_database(offline: Cmis, tmp_path: Path, document: object) -> None:
    file = written(tmp_path / "nurture.json", document)
    assert offline("workflows", "draw", "--file", file).out == MERMAID
    picture = tmp_path / "nurture.svg"
    done = offline("workflows", "draw", "--file", file, "--svg", str(picture))
    assert (done.code, done.out, "nurture.svg" in done.err) == (0, "", True)
    assert words(picture.read_text(encoding="utf-8"))[1] == "2 steps"
    assert "wait 2 days" in words(offline("workflows", "draw", "--file", file, "--svg", "-").out)


def test_a_file_that_is_wrong_is_not_drawn_and_everything_is_told(offline: Cmis, tmp_path: Path) -> None:
    steps = [{"id": "a", "type": "delay", "config": {}, "next": "b"}, {"id": "c", "type": "nothing"}]
    done = offline("workflows", "draw", "--file", written(tmp_path / "x.json", {"steps": steps}))
    assert (done.code, done.out) == (2, "")
    assert done.err.count("error") >= 3


def test_versions_are_drawn_and_what_was_never_published_as_its_draft(cmis: Cmis, acme: Org) -> None:
    define_workflows.save_draft(acme.world.app, acme.context, NURTURE, {})
    assert words(cmis("workflows", "draw", "Nurture leads", "--svg", "-").out)[0] == "Nurture leads, draft"
    published(acme)
    assert words(cmis("workflows", "draw", "Nurture leads", "--svg", "-").out)[0] == "Nurture leads, version 1"
    assert cmis("workflows", "draw", "Nurture leads", "--version", "1").out == MERMAID
    assert "no version 2" in cmis("workflows", "draw", "Nurture leads", "--version", "2").err


def test_an_instance_is_drawn_in_the_colours_of_its_steps(cmis: Cmis, acme: Org) -> None:
    template_id = published(acme)
    with acme.world.app.transaction(acme.context) as connection:
        begun = Start(template_id, {}, InstanceTrigger.MANUAL)
        [started] = start(connection, acme.id, [begun], now=clock.now(connection))
    drawn = cmis("workflows", "draw", "--instance", str(started.instance_id)).out
    assert drawn.startswith(MERMAID)
    assert "class s0 queued" in drawn
    assert "class s1 pending" in drawn
    said = words(cmis("workflows", "draw", "--instance", str(started.instance_id), "--svg", "-").out)
    assert said[:2] == ["Nurture leads, version 1: pending", "2 steps, 1 pending, 1 queued"]

    acme.world.org("Other")
    denied = cmis("workflows", "draw", "--instance", str(started.instance_id), "--org", "Other")
    assert (denied.code, denied.out, "there is no instance" in denied.err) == (2, "", True)


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "TEMPLATE"),
        (("Nurture", "--file", "x.json"), "TEMPLATE"),
        (("--file", "x.json", "--version", "1"), "--version"),
        (("--instance", "nonsense"), "--instance"),
        (("--instance", str(uuid4())), "--instance"),
        (("Nobody",), "there is no workflow"),
        (("--file", "/no/such/file.json"), "--file"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_its_option(cmis: Cmis, arguments: tuple[str, ...], said: str) -> None:
    done = cmis("workflows", "draw", *arguments)
    assert (done.code, done.out, said in done.err) == (2, "", True)


def test_what_cannot_be_written_and_an_org_that_is_missing_are_told(offline: Cmis, tmp_path: Path) -> None:
    file = written(tmp_path / "nurture.json", NURTURE)
    assert "--svg" in offline("workflows", "draw", "--file", file, "--svg", str(tmp_path / "no" / "x.svg")).err
    assert "--org" in offline("workflows", "draw", "Nurture leads").err
