"""A worker or scheduler that is alive and of no use ends by itself with the code that asks for another start."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from core import exits
from dev.fleet import fleet
from dev.launch import has_ended, spawn, stop, wait_until
from dev.site import ROOT
from tests.world import NOTIFY, SPENT, World

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from dev.valkey import Valkey

WORKER = ["worker", "--concurrency=1", "--without-gossip", "--without-mingle", "--loglevel=INFO", "--queues=rules"]


@dataclass
class Broken:
    """A process that breaks, and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def says(self, words: str) -> bool:
        return words in self.log.read_text()

    def exit_code(self) -> int:
        assert wait_until(lambda: has_ended(self.process), 150), self.log.read_text()[-4000:]
        return self.process.wait()


@contextmanager
def broken(world: World, tmp_path: Path, how: str, *arguments: str) -> Iterator[Broken]:
    command = [sys.executable, "-m", "tests.acceptance.broken_process", how, *arguments]
    env = world.site.full_env() | {"CMIS_WATCHDOG_SECONDS": "6"}
    log = tmp_path / "broken.log"
    with log.open("wb") as output:
        process = spawn(command, output=output, env=env, cwd=ROOT)
    try:
        yield Broken(process, log)
    finally:
        stop(process, signal.SIGKILL, 10)


def row(world: World, kind: str = "worker") -> Any:
    [found] = world.rows("SELECT * FROM cmis.processes WHERE kind = :kind", kind=kind)
    return found


@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=pytest.mark.exhaustive)])
def test_a_worker_that_takes_nothing_although_messages_wait_ends_and_its_successor_does_the_work(
    world: World, tmp_path: Path, pool: str
) -> None:
    org = world.org()
    org.campaign()
    with broken(world, tmp_path, "deaf", *WORKER, f"--pool={pool}") as worker:
        assert wait_until(lambda: worker.says(" ready."), 90), worker.log.read_text()
        task_id = world.enqueue({org.id: [org.rule(SPENT, NOTIFY)]})
        with fleet(0, 1, world.site.full_env(), tmp_path / "logs") as running:
            assert worker.exit_code() == exits.STUCK
            assert worker.says("ends, to be started again (exit code 75): 1 messages wait and it takes none")
            assert (row(world).state, row(world).reason) == ("stopped", "ended because it was stuck")
            assert world.task(task_id).state == "ready"
            running.start("worker")
            assert wait_until(lambda: world.task(task_id).state == "succeeded", 90), worker.log.read_text()


@pytest.mark.exhaustive
def test_a_worker_whose_loop_hangs_ends_although_it_cannot_be_asked_to(world: World, tmp_path: Path) -> None:
    with broken(world, tmp_path, "hanging", *WORKER) as worker:
        assert worker.exit_code() == exits.STUCK
        assert worker.says("its loop does not turn")
    assert (row(world).state, row(world).stopped_at) == ("stuck", None)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("endless", "its loop does not turn"),
        pytest.param("slow", "ended because it was stuck", marks=pytest.mark.exhaustive),
    ],
)
def test_a_scheduler_whose_pass_does_not_end_in_time_is_ended(
    world: World, tmp_path: Path, how: str, reason: str
) -> None:
    with broken(world, tmp_path, how, "beat", "--loglevel=INFO") as scheduler:
        assert scheduler.exit_code() == exits.STUCK
        assert scheduler.says("this scheduler is stuck and ends")
    assert row(world, "scheduler").reason.startswith(reason)


@pytest.mark.exhaustive
def test_those_that_have_nothing_to_do_are_left_alone(world: World, tmp_path: Path) -> None:
    env = world.site.full_env() | {"CMIS_WATCHDOG_SECONDS": "3"}
    idle = "SELECT count(*) FROM cmis.processes WHERE polled_at > started_at + interval '9 s' AND state = 'working'"
    with fleet(1, 1, env, tmp_path, deliveries=1) as running:
        assert wait_until(lambda: world.one(idle) == 3, 150), [one.log.read_text()[-2000:] for one in running.members]
        assert all(one.is_alive() for one in running.members)
        assert {kind for (kind,) in world.rows("SELECT kind FROM cmis.processes")} == {
            "worker",
            "deliveries",
            "scheduler",
        }


@pytest.mark.exhaustive
def test_those_whose_broker_is_away_are_left_alone_and_say_what_they_wait_for(
    world: World, broker: Valkey, tmp_path: Path
) -> None:
    env = world.site.full_env() | {"CMIS_WATCHDOG_SECONDS": "3"}
    states = "SELECT DISTINCT state, reason FROM cmis.processes"
    waiting = "SELECT count(*) FROM cmis.processes WHERE state = 'waiting' AND seen_at > started_at + interval '20 s'"
    with fleet(1, 1, env, tmp_path, deliveries=1) as running:
        broker.kill()
        try:
            assert wait_until(lambda: world.one(waiting) == 3, 150), world.rows("SELECT * FROM cmis.processes")
            assert dict(world.rows(states)) == {"waiting": "the broker at BROKER_URL is out of reach"}
        finally:
            broker.start()
        assert wait_until(lambda: dict(world.rows(states)) == {"working": None}, 150), world.rows(states)
        assert all(one.is_alive() for one in running.members)
