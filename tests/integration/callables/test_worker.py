"""Calls from within a real Celery worker, whose pool's children are daemonic: what they start ends with them."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery

from dev.launch import is_running, spawn, stop, wait_until
from dev.site import ROOT
from engine.callables.outcome import Died, TimedOut

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.site import Site

QUEUE = "callables-test"
numbers = count()


@dataclass
class Worker:
    """A worker with two children, and what is sent to it."""

    app: Celery
    directory: Path
    pid: int

    def send(self, sample: str, *, timeout: float | None, limit: float | None = None, **params: Any) -> Path:
        """Send a call; returns the file in which its outcome will be."""
        file = self.directory / f"outcome{next(numbers)}"
        self.app.send_task("run", [sample, params, timeout, str(file)], soft_time_limit=limit)
        return file


@pytest.fixture
def worker(database: Site, tmp_path: Path) -> Iterator[Worker]:
    env = {**database.full_env(), "TEST_QUEUE": QUEUE, "PYTHONPATH": str(ROOT)}
    app = Celery("callables", broker=database.broker_url)
    app.conf.update(
        task_default_queue=QUEUE, broker_transport_options={"global_keyprefix": env.get("BROKER_PREFIX", "")}
    )
    options = ["--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle", "--loglevel=INFO"]
    command = [sys.executable, "-m", "celery", "-A", "tests.integration.callables.app", "worker", *options]
    with (tmp_path / "worker.log").open("wb") as log:
        process = spawn(command, output=log, env=env, cwd=ROOT)
    yield Worker(app, tmp_path, process.pid)
    stop(process, signal.SIGTERM, 20)
    app.close()


def read(file: Path) -> Any:
    assert wait_until(file.exists, 60), (file.parent / "worker.log").read_text(errors="replace")[-3000:]
    return json.loads(file.read_text(encoding="utf-8"))


def gone(pids: list[int]) -> bool:
    return wait_until(lambda: not any(map(is_running, pids)), 10)


def test_calls_run_in_a_pools_children_and_end_with_them(worker: Worker, tmp_path: Path) -> None:
    returned = worker.send("surroundings", timeout=60)
    endless = worker.send("spin", timeout=1.0)
    dead = worker.send("die", timeout=60, how="group")
    said = read(returned)
    assert said["outcome"].startswith("Returned(")
    assert "'blocked': []" in said["outcome"]
    assert said["worker"] != worker.pid
    assert read(endless)["outcome"] == repr(TimedOut(1.0))
    assert read(dead)["outcome"] == repr(Died(signal=9))
    read(worker.send("talk", timeout=60))
    log = (tmp_path / "worker.log").read_text(errors="replace")
    assert "test.talk, step step of instance instance, attempt 1: to stdout" in log

    file = tmp_path / "limited"
    worker.send("brood", timeout=None, limit=3, file=str(file))
    started = read(file)
    assert gone(started)  # the soft limit struck the waiting child: nobody waits, and nothing goes on

    file, child = tmp_path / "orphaned", read(worker.send("echo", timeout=60))["worker"]
    worker.send("brood", timeout=None, file=str(file))
    second = tmp_path / "orphaned too"
    worker.send("brood", timeout=None, file=str(second))  # so that both children are busy
    started = read(file) + read(second)
    os.kill(child, signal.SIGKILL)
    assert wait_until(lambda: sum(map(is_running, started)) == len(started) // 2, 10)
    os.kill(worker.pid, signal.SIGKILL)
    assert gone(started)
