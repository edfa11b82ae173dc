"""Runs of workflows by real workers, some killed with SIGKILL: all complete, and each effect happens once by its key.

`make test` has 50 runs; `CMIS_TEST_RUNS=1000 .venv/bin/pytest tests/acceptance/test_workflows_kill.py` a thousand. The
lease of a worker that is gone is cut short: half a minute for each of them would be most of the time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import pytest

from core import clock
from core.db import ENGINE_ACTOR, Context
from dev.fleet import Fleet, fleet
from dev.launch import wait_until
from engine import invariants
from engine.start_workflow import Start, start
from models.workflow_enums import InstanceTrigger
from tests.acceptance.test_deliveries import desk_of, environ
from tests.installing import lay
from tests.stepping import Flow

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from dev.site import Site
    from tests.receiver.web import Receiver
    from tests.world import World

RUNS: Final = int(os.environ.get("CMIS_TEST_RUNS", "50"))
STEPS: Final = 20
KILLS: Final = 2
FLEET: Final = 2
PATIENCE: Final = 120 + RUNS // 4
"""Seconds."""
GONE: Final = """
UPDATE cmis.tasks SET lease_expires_at = clock_timestamp() - interval '1 s'
 WHERE state = 'running' AND lease_expires_at < clock_timestamp() + interval '17 s'"""
"""Who lives extends its lease to half a minute each ten seconds: this one did not for longer."""
POINTS: Final = ("before_commit", "committed", "claimed", "called")
FAULTS: Final = ",".join(f"workflow.{point}={1 / RUNS:.5f}x1" for point in POINTS)
"""A few deaths at each point, however many runs there are."""
PACKAGE: Final = '''
import urllib.request
from engine.callables.base import step

@step("test.post")
def post(call):
    """Tell the receiver, under the step's key."""
    headers = {"Idempotency-Key": call.idempotency_key}
    request = urllib.request.Request(call.params["url"], data=b"{}", headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        return {"status": response.status}
'''
OPEN: Final = "SELECT count(*) FROM cmis.tasks WHERE state IN ('ready', 'held', 'running') AND kind <> 'maintain'"
ENDED: Final = "SELECT count(*) FROM cmis.workflow_instances WHERE finished_at IS NOT NULL"


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Lay a package with a callable where workers find it, as an installed one."""
    return lay(tmp_path, "stepping", "test.post = stepping_of_tests:post", PACKAGE)


def steps_of(receiver: Receiver) -> list[dict[str, Any]]:
    """Return twenty steps: a chain with two branches beside it, one of them a webhook, and a callable that posts."""

    def noop(name: str, following: str | None) -> dict[str, Any]:
        return {
            "id": name,
            "type": "action",
            "config": {"callable": "cmis.noop", "params": {"n": 1}},
            "next": following,
        }

    hook = {"url": f"{receiver.url}/hook", "signing_secret": "secret://signing"}
    post = {"callable": "test.post", "params": {"url": f"{receiver.url}/post"}}
    retry = {"max_retries": 10}  # a death of its worker is an attempt of it
    split = {"mode": "parallel", "branches": ["a1", "hook", "m1"]}
    decides = {"conditions": [{"field": "context.n", "operator": ">=", "value": 0}], "true_next": "post"}
    return [
        noop("begin", "split"),
        {"id": "split", "type": "split", "config": split},
        noop("a1", "a2"),
        noop("a2", "joined"),
        {"id": "hook", "type": "action", "config": {"action": "trigger_webhook", "params": hook}, "next": "hooked"},
        noop("hooked", "joined"),
        *(noop(f"m{n}", f"m{n + 1}" if n < 8 else "decide") for n in range(1, 9)),
        {"id": "decide", "type": "condition", "config": decides},
        {"id": "post", "type": "action", "config": post, "next": "joined", "retry": retry},
        {"id": "joined", "type": "merge", "config": {"mode": "all"}, "next": "e1"},
        *(noop(f"e{n}", f"e{n + 1}" if n < 3 else None) for n in range(1, 4)),
    ]


def begin(flow: Flow, template_id: UUID) -> set[UUID]:
    with flow.world.app.transaction(Context(flow.org.id, ENGINE_ACTOR)) as connection:
        starts = [Start(template_id, {"n": n}, InstanceTrigger.API) for n in range(RUNS)]
        return {one.instance_id for one in start(connection, flow.org.id, starts, now=clock.now(connection))}


@pytest.mark.exhaustive
def test_runs_of_20_steps_all_complete_and_act_once_by_key_though_workers_are_killed(
    world: World, database: Site, receiver: Receiver, packages: Path, tmp_path: Path
) -> None:
    flow = Flow(desk_of(world, "Acme"))
    steps = steps_of(receiver)
    assert len(steps) == STEPS
    runs = begin(flow, flow.publish(*steps))

    env = environ(database, CMIS_FAULTS=FAULTS, PYTHONPATH=str(packages))
    with fleet(FLEET, 1, env, tmp_path / "logs", deliveries=1) as running:
        for kill in range(KILLS):
            goal = kill * RUNS // (KILLS + 1)
            wait_until(lambda goal=goal: world.one(ENDED) >= goal or _drained(running, world), 60)  # type: ignore[misc]
            next(member for member in running.workers if member.is_alive()).kill()
        done = wait_until(lambda: _drained(running, world), PATIENCE)
        assert done, [member.log.read_text()[-2000:] for member in running.members]
    lost = world.one("SELECT count(*) FROM cmis.task_attempts WHERE outcome = 'lost'")

    states = dict(world.rows("SELECT status, count(*) FROM cmis.workflow_instances GROUP BY 1"))
    assert states == {"completed": RUNS}
    assert dict(world.rows("SELECT status, count(*) FROM cmis.workflow_steps GROUP BY 1")) == {
        "completed": RUNS * STEPS
    }
    for path, step_id in (("/hook", "hook"), ("/post", "post")):
        keys = {f"{instance_id}:{step_id}" for instance_id in runs}
        assert {request.key for request in receiver.requests(path)} == keys
        assert {receiver.effects[key] for key in keys} == {1}
    broken = {check.name: check.offenders for check in invariants.check(world.reader, drained=True) if check.offenders}
    assert broken == {}
    print(f"{RUNS} runs, {lost} attempts lost with their workers")  # noqa: T201 - shown with -s


def _drained(running: Fleet, world: World) -> bool:
    """Start a new process for each that died, as any supervisor would; True once nothing is left to do."""
    for kind, number in (("worker", FLEET), ("scheduler", 1), ("deliveries", 1)):
        if sum(member.kind == kind and member.is_alive() for member in running.members) < number:
            running.start(kind)
    world.meddle(GONE)
    return bool(world.one(OPEN) == 0)
