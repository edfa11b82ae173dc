"""The database gone at the start, in mid-task and while a command waits: everybody waits, and goes on by himself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from dev.fleet import fleet
from dev.launch import wait_until
from dev.site import ROOT
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery import Celery

    from dev.fleet import Fleet, Member
    from dev.provider import Servers
    from tests.world import Org, World

EVALUATE = "automation.evaluate_rules"


@contextmanager
def away(server: Servers) -> Iterator[None]:
    """Let the database crash for the length of the block."""
    if server.postgres is None:
        pytest.skip("this test stops the database, and DATABASE_URL names one that is not ours")
    server.postgres.crash()
    try:
        yield
    finally:
        server.postgres.start()


def says(member: Member, words: str) -> bool:
    return words in member.log.read_text()


def logs(running: Fleet) -> str:
    return "\n".join(member.log.read_text()[-3000:] for member in running.members)


def test_processes_that_start_while_the_database_is_away_wait_and_then_work(
    world: World, org: Org, server: Servers, tmp_path: Path
) -> None:
    org.campaign()
    job = org.job(org.rule(SPENT, NOTIFY))
    with fleet(0, 0, world.site.full_env(), tmp_path) as running:
        with away(server):
            for kind in ("worker", "deliveries", "scheduler"):
                running.start(kind)
            for member in running.members:
                waits = lambda member=member: says(member, "trying again in")  # noqa: E731
                assert wait_until(waits, 120), member.log.read_text()
                assert member.is_alive()
            [leaving] = running.deliverers
            os.kill(leaving.pid, signal.SIGTERM)
            assert wait_until(lambda: not leaving.is_alive(), 60)
            assert leaving.process.wait() == 0
        done = "SELECT count(*) FROM cmis.automation_executions WHERE job_id = :job"
        assert wait_until(lambda: world.one(done, job=job) == 1, 120), logs(running)
        assert not any(says(member, "Traceback") for member in running.members)


def test_a_task_whose_database_goes_is_held_and_done_by_the_same_child_when_it_is_back(
    world: World, org: Org, celery: Celery, server: Servers, tmp_path: Path
) -> None:
    org.campaign()
    task_id = world.enqueue({org.id: [org.rule(SPENT, NOTIFY)]})
    with fleet(1, 0, world.site.full_env(), tmp_path) as running:  # no scheduler: nobody would send it again
        [worker] = running.workers
        with away(server):
            celery.send_task(EVALUATE, [str(org.id), str(task_id)], queue="rules")
            assert wait_until(lambda: says(worker, "holding a task, the database failed"), 60), worker.log.read_text()
        assert wait_until(lambda: world.task(task_id).state == "succeeded", 60), worker.log.read_text()
        assert not says(worker, "left a task for later")
        assert not says(worker, "Traceback")


def test_a_command_that_waits_for_a_run_does_so_through_an_outage(
    world: World, org: Org, server: Servers, tmp_path: Path
) -> None:
    org.campaign()
    org.job(org.rule(SPENT, NOTIFY), name="nightly", due_for=timedelta(days=-10))
    command = [sys.executable, "-m", "cli.main", "jobs", "run", "nightly", "--org", "org", "--wait", "--timeout", "300"]
    triggered = "SELECT count(*) FROM cmis.occurrences WHERE origin = 'manual'"
    with subprocess.Popen(
        [*command, "--json"],
        cwd=ROOT,
        env=world.site.full_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as waiting:
        assert waiting.stderr is not None
        assert wait_until(lambda: bool(world.one(triggered)), 120)
        with away(server):
            assert "the database failed, trying again in" in waiting.stderr.readline()
        with fleet(1, 1, world.site.full_env(), tmp_path) as running:
            said, _ = waiting.communicate(timeout=200)
            assert waiting.returncode == 0, logs(running)
    assert json.loads(said)["status"] == "success"
