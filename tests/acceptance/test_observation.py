"""`celery inspect ping` answers, and Flower's API lists the worker and its tasks, with why one is tried again."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from core.db import Database
from dev.fleet import fleet
from dev.launch import spawn, stop, wait_until
from dev.processes import shell
from dev.procfile import read_procfile
from dev.site import ROOT, free_port
from engine.callables.registry import CALLABLES
from engine.control_workflows.begin import begin
from engine.control_workflows.steering import Hand
from engine.define_workflows import publish
from tests.acceptance.load import create_due_org

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site

WORKFLOW = {
    "name": "Tried again",
    "category": "campaign",
    "definition": {"steps": [{"id": "only", "type": "action", "config": {"callable": "cmis.noop", "params": {}}}]},
}
REASON = "injected fault at workflow.step"


def test_inspect_ping_answers_and_flower_lists_the_worker_and_its_tasks(database: Site, tmp_path: Path) -> None:
    app = Database(database.urls.app, variable="DATABASE_URL", application="test")
    context = create_due_org(app, "watched", rules_=2, jobs_per_rule=1).context
    port = free_port()
    user = "flower:secret"
    faults = {"CMIS_FAULTS": "workflow.step=1x1"}  # the first step of each worker's child
    env = database.full_env() | {"FLOWER_PORT": str(port), "FLOWER_BASIC_AUTH": user} | faults
    log = tmp_path / "flower.log"
    with fleet(1, 0, env, tmp_path) as running, log.open("wb") as output:
        flower = spawn(shell(read_procfile(ROOT)["flower"]), output=output, env=env, cwd=ROOT)
        try:
            assert wait_until(lambda: bool(_flower(port, user, "workers")), 60), log.read_text()
            running.start("scheduler")
            running.await_ready()
            assert wait_until(lambda: "SUCCESS" in _states(port, user), 30), _flower(port, user, "tasks")
            assert wait_until(lambda: all(task["sent"] for task in _evaluations(port, user)), 5)
            publish(app, context, WORKFLOW, CALLABLES)
            begin(Hand(app, context, None), "Tried again", {})
            assert wait_until(lambda: REASON in _why_again(port, user), 30), _flower(port, user, "tasks")
            [worker] = _flower(port, user, "workers")
            assert worker.startswith("worker1@")
            assert f"{worker}: OK" in _ping(env)
        finally:
            app.close()
            stop(flower, signal.SIGTERM, 10)


def _why_again(port: int, user: str) -> str:
    """Return what Flower says of tasks that are, or were, tried again; the traceback stays when they have succeeded."""
    tasks = _flower(port, user, "tasks").values()
    return " ".join(f"{task['exception']} {task['traceback']}" for task in tasks if task["retried"])


def _ping(env: dict[str, str]) -> str:
    command = [sys.executable, "-m", "celery", "-A", "worker", "inspect", "ping", "--timeout", "5"]
    return subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True, timeout=60).stdout


def _states(port: int, user: str) -> set[str]:
    return {task["state"] for task in _evaluations(port, user)}


def _evaluations(port: int, user: str) -> list[dict[str, Any]]:
    tasks = _flower(port, user, "tasks").values()
    return [task for task in tasks if task["name"] == "automation.evaluate_rules"]


def _flower(port: int, user: str, what: str) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/{what}",
        headers={"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - the same
            found: dict[str, Any] = json.load(answer)
            return found
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return {}
