"""Whatever is asked to end under load ends in time with 0, and nothing is lost: also what it could not finish."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, Final

import pytest

from dev.fleet import Fleet, fleet
from dev.launch import wait_until
from engine import invariants
from tests.acceptance.load import create_due_org
from tests.acceptance.test_deliveries import desk_of, environ
from tests.installing import lay
from tests.stepping import Flow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dev.fleet import Member
    from dev.site import Site
    from tests.receiver.web import Receiver
    from tests.world import World

DELIVERIES: Final = 60
PATIENCE: Final = 240
OPEN: Final = "SELECT count(*) FROM cmis.tasks WHERE state IN ('ready', 'held', 'running') AND kind <> 'maintain'"
PACKAGE: Final = '''
import time
from pathlib import Path
from engine.callables.base import step

@step("test.long")
def long(call):
    """Take for ever the first time."""
    begun = Path(call.params["file"])
    if not begun.exists():
        begun.touch()
        time.sleep(3600)
    return {"attempt": "second"}
'''


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Lay a package with a callable where workers find it, as an installed one."""
    return lay(tmp_path, "lasting", "test.long = lasting_of_tests:long", PACKAGE)


def asked_to_end(members: Sequence[Member]) -> list[int]:
    """Ask all to end at once; their exit codes."""
    for member in members:
        os.kill(member.pid, signal.SIGTERM)
    for member in members:
        assert wait_until(lambda member=member: not member.is_alive(), 90), member.log.read_text()[-3000:]  # type: ignore[misc]
    return [member.process.wait() for member in members]


def logs(running: Fleet) -> str:
    return "\n".join(member.log.read_text()[-3000:] for member in running.members)


def broken(world: World) -> dict[str, Any]:
    return {one.name: one.offenders for one in invariants.check(world.reader, drained=True) if one.offenders}


@pytest.mark.exhaustive
def test_everything_that_is_asked_to_end_at_once_under_load_ends_with_0_and_its_successors_finish(
    world: World, database: Site, receiver: Receiver, tmp_path: Path
) -> None:
    desk = desk_of(world, "Acme")
    campaign_id = desk.org.campaign({})
    for number in range(DELIVERIES):
        desk.webhook(f"{receiver.url}/hook", {"n": number}, entity_id=campaign_id)
    for number in range(4):
        create_due_org(world.app, f"org {number}", rules_=10, jobs_per_rule=10)
    evaluated = "SELECT count(*) FROM cmis.automation_executions WHERE job_id IS NOT NULL"
    with fleet(1, 2, environ(database), tmp_path, deliveries=1) as running:
        assert wait_until(lambda: bool(world.one(evaluated)) and bool(receiver.requests("/hook")), 120), logs(running)
        first = list(running.members)
        assert asked_to_end(first) == [0, 0, 0, 0], logs(running)
        assert dict(world.rows("SELECT state, count(*) FROM cmis.processes GROUP BY 1")) == {"stopped": 4}
        for kind in ("worker", "deliveries", "scheduler"):
            running.start(kind)
        assert wait_until(lambda: world.one(OPEN) == 0, PATIENCE), logs(running)
        assert asked_to_end(running.members[len(first) :]) == [0, 0, 0]
        assert "Traceback" not in logs(running)
    assert world.one(evaluated) == 4 * 100
    keys = {
        key for (key,) in world.rows("SELECT idempotency_key FROM cmis.automation_actions WHERE channel = 'webhook'")
    }
    assert {receiver.effects[key] for key in keys} == {1}
    assert broken(world) == {}


@pytest.mark.exhaustive
def test_a_worker_with_an_endless_step_ends_in_time_with_0_and_another_does_the_step(
    world: World, database: Site, packages: Path, tmp_path: Path
) -> None:
    flow, begun = Flow(desk_of(world, "Acme")), tmp_path / "begun"
    config = {"callable": "test.long", "params": {"file": str(begun)}}
    instance_id = flow.start(flow.publish({"id": "long", "type": "action", "config": config}))
    env = environ(database, PYTHONPATH=str(packages), CMIS_STOP_SECONDS="3")
    with fleet(1, 1, env, tmp_path / "logs") as running:
        [worker] = running.workers
        assert wait_until(begun.exists, 120), logs(running)
        assert asked_to_end([worker]) == [0]
        assert "ending after 3 s although at work" in worker.log.read_text()
        assert "automation.run_workflow" in worker.log.read_text()
        assert "which was claimed by it: its lease ends now" in worker.log.read_text()
        running.start("worker")
        done = "SELECT status FROM cmis.workflow_instances WHERE instance_id = :id"
        assert wait_until(lambda: world.one(done, id=instance_id) == "completed", PATIENCE), logs(running)
        assert wait_until(lambda: world.one(OPEN) == 0, PATIENCE), logs(running)
    assert broken(world) == {}
