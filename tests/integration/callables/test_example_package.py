"""The example package of the documents: installed as anybody would, its steps run by a real workflow."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from core import clock
from core.db import ENGINE_ACTOR, Context
from dev.site import ROOT
from engine.callables import registry
from engine.callables.keeper import KEEPER
from engine.callables.registry import CALLABLES
from engine.define_workflows import publish
from engine.run_workflow import service
from engine.start_workflow import Start, start
from models.workflow_enums import InstanceTrigger
from tests.installing import EXAMPLES, install

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from uuid import UUID

    from tests.receiver.web import Receiver
    from tests.world import Org, World

EXAMPLE = EXAMPLES / "cmis-step-example"
READY = "SELECT task_id FROM cmis.tasks WHERE state = 'ready' AND run_at <= cmis.clock() ORDER BY task_id"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package, offline, where nothing else is."""
    return install("cmis-step-example", tmp_path_factory.mktemp("example"))


@pytest.fixture
def known(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process find the package, as a worker would at its start."""
    monkeypatch.syspath_prepend(str(installed))
    _start_anew()
    yield
    monkeypatch.undo()
    _start_anew()
    sys.modules.pop("cmis_step_example", None)


def _start_anew() -> None:
    registry.callables.cache_clear()
    KEEPER.close()


def definition(url: str) -> dict[str, Any]:
    lead = {"id": "{{ context.lead.id }}", "score": "{{ steps.score.output.score }}"}
    told = {"callable": "example.tell_crm", "params": {"url": url, "lead": lead}}
    scored = {"callable": "example.score_lead", "params": {"done": "{{ context.lead.done }}"}}
    return {
        "name": "Leads",
        "category": "lead_nurture",
        "steps": [
            {"id": "score", "type": "action", "next": "tell", "config": scored},
            {"id": "tell", "type": "action", "timeout_seconds": 30, "config": told},
        ],
    }


def run(org: Org, context: dict[str, Any], url: str) -> UUID:
    """Publish, start, and run until nothing is left; time is moved over the waits between attempts."""
    world = org.world
    template = publish(world.app, org.context, definition(url), CALLABLES).row
    with world.app.transaction(Context(org.id, ENGINE_ACTOR)) as connection:
        one = Start(template.template_id, context, InstanceTrigger.MANUAL)
        [started] = start(connection, org.id, [one], now=clock.now(connection))
    while _run_ready(world, org):
        world.advance(hours=1)
    return started.instance_id


def _run_ready(world: World, org: Org) -> int:
    tasks = world.rows(READY)
    for (task_id,) in tasks:
        service.run(world.app, org.id, task_id, worker="worker", send=lambda _: None)
    return len(tasks)


def steps(world: World, instance_id: UUID) -> Sequence[Any]:
    query = "SELECT * FROM cmis.workflow_steps WHERE instance_id = :id ORDER BY step_id"
    return world.rows(query, id=instance_id)


@pytest.mark.usefixtures("known")
def test_a_step_that_fails_twice_before_it_succeeds_tells_the_crm_once(
    world: World, org: Org, receiver: Receiver
) -> None:
    receiver.script("/leads", "fails/503", "drops")
    instance_id = run(org, {"lead": {"id": 7, "done": ["asked", "clicked"]}}, f"{receiver.url}/leads")
    score, tell = steps(world, instance_id)
    assert (score.status, score.output_data) == ("completed", {"score": 45, "hot": False})
    assert (tell.status, tell.attempt, tell.output_data) == ("completed", 3, {"status": 200, "said": "ok"})
    requests = receiver.requests("/leads")
    assert {request.key for request in requests} == {f"{instance_id}:tell"}
    assert [request.body for request in requests] == [b'{"id": 7, "score": 45}'] * 3
    assert receiver.effects == {f"{instance_id}:tell": 1}


@pytest.mark.usefixtures("known")
def test_a_step_that_no_retry_mends_fails_its_workflow_at_once(world: World, org: Org, receiver: Receiver) -> None:
    instance_id = run(org, {"lead": {"id": 7, "done": ["asked"]}}, f"{receiver.url}/fails/422")
    _, tell = steps(world, instance_id)
    assert (tell.status, tell.attempt, tell.error["code"]) == ("failed", 1, "PERMANENT")
    assert "refused the lead with 422" in tell.error["message"]
    assert world.one("SELECT status FROM cmis.workflow_instances") == "failed"


def test_the_packages_own_tests_pass(installed: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(installed)])
    given = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    done = subprocess.run([*command, str(EXAMPLE)], env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout
