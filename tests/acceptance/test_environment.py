"""A worker or scheduler in a wrong environment says which variable, and what to do; it never shows a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dev.launch import stop, wait_until
from dev.site import ROOT, free_port
from dev.urls import rewritten

if TYPE_CHECKING:
    from pathlib import Path

    from dev.site import Site

NO_DATABASE = "a database that does not exist"
_CASES = [
    ("worker", {"DATABASE_URL": "mysql://cmis_app:hush@127.0.0.1:1/x"}, "DATABASE_URL names mysql"),
    ("worker", {"DATABASE_URL": NO_DATABASE}, "DATABASE_URL cannot be used: connection failed"),
    ("worker", {"BROKER_URL": ""}, "BROKER_URL is not set"),
    ("beat", {"SCHEDULER_DATABASE_URL": "MIGRATION_DATABASE_URL"}, "SCHEDULER_DATABASE_URL connects as"),
]
_MORE = [
    ("worker", {"DATABASE_URL": ""}, "DATABASE_URL is not set"),
    ("worker", {"DATABASE_URL": "MIGRATION_DATABASE_URL"}, "DATABASE_URL connects as"),
    ("worker", {"BROKER_URL": "kafka://:hush@127.0.0.1"}, "BROKER_URL names no supported transport"),
    ("beat", {"SCHEDULER_DATABASE_URL": ""}, "SCHEDULER_DATABASE_URL is not set"),
    ("beat", {"SCHEDULER_DATABASE_URL": NO_DATABASE}, "SCHEDULER_DATABASE_URL cannot be used: connection failed"),
    ("beat", {"BROKER_URL": ""}, "BROKER_URL is not set"),
]


@pytest.mark.parametrize(
    ("process", "changed", "message"), [*_CASES, *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in _MORE)]
)
def test_a_process_refuses_a_wrong_environment(
    database: Site, process: str, changed: dict[str, str], message: str
) -> None:
    env = database.full_env()
    missing = rewritten(database.urls.app, database="nowhere")
    env |= {name: missing if value == NO_DATABASE else env.get(value, value) for name, value in changed.items()}
    command = [sys.executable, "-m", "celery", "-A", "worker", process]
    ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1
    assert f"error: {message}" in said
    assert said.rstrip().endswith(")"), "a remedy stands at the end"
    assert "Traceback" not in said
    assert "hush" not in said


@pytest.mark.parametrize(
    ("process", "variable"),
    [
        ("worker", "DATABASE_URL"),
        pytest.param("beat", "SCHEDULER_DATABASE_URL", marks=pytest.mark.exhaustive),
    ],
)
def test_a_process_whose_database_is_away_names_the_variable_waits_and_ends_when_asked(
    database: Site, tmp_path: Path, process: str, variable: str
) -> None:
    env = database.full_env() | {variable: f"postgresql://cmis_app:hush@127.0.0.1:{free_port()}/x"}
    log = tmp_path / "process.log"
    command = [sys.executable, "-m", "celery", "-A", "worker", process]
    with (
        log.open("wb") as output,
        subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output) as waiting,
    ):
        try:
            assert wait_until(lambda: log.read_text().count("trying again in") >= 3, 120), log.read_text()
            assert waiting.poll() is None
            waiting.send_signal(signal.SIGTERM)
            assert waiting.wait(60) == 0
        finally:
            stop(waiting, signal.SIGKILL, 20)
    said = log.read_text()
    assert f"warning: {variable} cannot be used: " in said
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
