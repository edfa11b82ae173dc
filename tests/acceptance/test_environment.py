"""A worker or scheduler in a wrong environment says which variable, and what to do; it never shows a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dev.launch import stop, wait_until
from dev.site import ROOT, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site

_CASES = [
    ("worker", {"DATABASE_URL": ""}, "DATABASE_URL is not set"),
    ("worker", {"DATABASE_URL": "postgresql://cmis_app:hush@127.0.0.1:1/x"}, "DATABASE_URL cannot be used"),
    ("worker", {"DATABASE_URL": "MIGRATION_DATABASE_URL"}, "DATABASE_URL connects as"),
    ("worker", {"BROKER_URL": ""}, "BROKER_URL is not set"),
    ("worker", {"BROKER_URL": "kafka://:hush@127.0.0.1"}, "BROKER_URL names no supported transport"),
    ("beat", {"SCHEDULER_DATABASE_URL": ""}, "SCHEDULER_DATABASE_URL is not set"),
    ("beat", {"SCHEDULER_DATABASE_URL": "MIGRATION_DATABASE_URL"}, "SCHEDULER_DATABASE_URL connects as"),
    ("beat", {"BROKER_URL": ""}, "BROKER_URL is not set"),
]


@pytest.mark.parametrize(("process", "changed", "message"), _CASES)
def test_a_process_refuses_a_wrong_environment(
    database: Site, process: str, changed: dict[str, str], message: str
) -> None:
    env = database.full_env()
    env |= {name: env.get(value, value) for name, value in changed.items()}
    command = [sys.executable, "-m", "celery", "-A", "worker", process]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1
    assert f"error: {message}" in said
    assert said.rstrip().endswith(")"), "a remedy stands at the end"
    assert "Traceback" not in said
    assert "hush" not in said


def test_a_worker_whose_broker_is_away_names_the_variable_and_waits(database: Site, tmp_path: Path) -> None:
    env = database.full_env() | {"BROKER_URL": f"redis://:hush@127.0.0.1:{free_port()}/0"}
    log = tmp_path / "worker.log"
    command = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--pool=solo"]
    with log.open("wb") as output, subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output) as worker:
        try:
            assert wait_until(lambda: "Trying again" in log.read_text(), 60), log.read_text()
            assert worker.poll() is None
        finally:
            stop(worker, signal.SIGTERM, 20)
    assert "warning: BROKER_URL cannot be reached" in log.read_text()
    assert "hush" not in log.read_text()
    assert "Traceback" not in log.read_text()
