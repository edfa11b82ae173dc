"""Running the Procfile's processes, and any command against fresh servers."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from core import exits
from core.backoff import Pace
from core.errors import InputError, SetupError
from dev import fleet as fleets
from dev.durations import parse_duration
from dev.fleet import fleet
from dev.launch import is_running, wait_until
from dev.processes import Console, run_to_end, run_until_asked
from dev.procfile import parse_procfile, read_procfile

if TYPE_CHECKING:
    from collections.abc import Callable

    from dev.provider import Servers
    from dev.site import Site

ROOT = Path(__file__).parents[2]
CMIS = [sys.executable, "-m", "cli.main"]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def console() -> Console:
    return Console(6, io.StringIO(), coloured=False)


def said(console: Console) -> str:
    assert isinstance(console.stream, io.StringIO)
    return console.stream.getvalue()


def test_the_procfile_has_the_release_and_three_processes() -> None:
    assert list(read_procfile(ROOT)) == ["release", "worker", "deliveries", "scheduler", "flower"]


def test_a_line_of_a_procfile_that_is_no_entry_is_named() -> None:
    with pytest.raises(SetupError, match="line 2"):
        parse_procfile("# comment\nnonsense\n")


def test_every_line_stands_behind_its_process_name(console: Console) -> None:
    assert run_to_end("one", "echo a; echo b >&2", ENV, ROOT, console) == 0
    assert "one    | a\none    | b\n" in said(console)


def test_the_exit_code_of_a_failed_process_is_reported_and_the_others_are_stopped(console: Console) -> None:
    commands = {"fine": "exec sleep 100", "bad": "echo broken; exit 3"}
    assert run_until_asked(commands, ENV, ROOT, console) == 3
    assert "bad    | broken" in said(console)
    assert "bad ended by itself" in said(console)
    assert "fine ended: killed by SIGTERM" in said(console)


def test_a_process_that_ends_without_an_error_is_a_failure_too(console: Console) -> None:
    assert run_until_asked({"only": "true"}, ENV, ROOT, console) == 1


def test_a_process_whose_watchdog_ended_it_is_started_again(
    console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("dev.processes.PROCESS", Pace(first=0.1, cap=0.1))
    runs = tmp_path / "runs"
    stuck_twice = f"echo run >> {runs}; [ $(wc -l < {runs}) -lt 3 ] && exit {exits.STUCK}; exit 3"
    assert run_until_asked({"stuck": stuck_twice}, ENV, ROOT, console) == 3
    assert runs.read_text() == "run\n" * 3
    assert said(console).count("stuck ended with exit code 75; starting it again") == 2


def test_the_death_of_a_server_ends_what_cannot_do_without_it(console: Console) -> None:
    needed = {"PostgreSQL": lambda: False, "Valkey": lambda: True}
    assert run_until_asked({"fine": "exec sleep 100"}, ENV, ROOT, console, needed) == 1
    assert "Valkey ended by itself" in said(console)
    assert "fine ended: killed by SIGTERM" in said(console)


def test_a_process_that_ignores_the_request_is_killed_with_its_children(
    console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("dev.processes.stop_all.__defaults__", (0.5,))
    pid = tmp_path / "pid"
    stubborn = f"trap '' TERM; sleep 100 & echo $! > {pid}; wait; wait"
    ends = f"while [ ! -s {pid} ]; do sleep 0.05; done; exit 4"
    assert run_until_asked({"mule": stubborn, "ends": ends}, ENV, ROOT, console) == 4
    assert "mule ended: killed by SIGKILL" in said(console)
    assert wait_until(lambda: not is_running(int(pid.read_text())), 5)


def test_a_fleet_member_that_dies_at_its_start_is_named_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "read_procfile", lambda _root: {"worker": "echo no such module; exit 1; :"})
    with (
        pytest.raises(SetupError, match=r"(?s)worker1 ended at its start:.*no such module"),
        fleet(1, 0, ENV, tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3d", timedelta(days=3)), ("6h", timedelta(hours=6)), ("1d12h30m5s", timedelta(1, 5, 0, 0, 30, 12))],
)
def test_a_duration_is_read(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "3", "d", "-3d", "0s", "3 d", "1w"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="DURATION"):
        parse_duration(text)


def _dev_run(*arguments: str, cwd: Path = ROOT, env: dict[str, str] = ENV) -> subprocess.CompletedProcess[str]:
    command = [*CMIS, "dev", "run", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=env)


def test_dev_run_keeps_the_directory_and_sets_the_variables_and_returns_the_commands_code(tmp_path: Path) -> None:
    program = (
        "import json, os, pathlib, psycopg\n"
        "names = ['DATABASE_URL', 'SCHEDULER_DATABASE_URL', 'READONLY_DATABASE_URL', 'MIGRATION_DATABASE_URL']\n"
        "ask = 'SELECT current_user::text'\n"
        "roles = [psycopg.connect(os.environ[name]).execute(ask).fetchone()[0] for name in names]\n"
        "pids = json.loads(pathlib.Path(os.environ['CMIS_DEV_PIDS']).read_text())\n"
        "print(json.dumps([os.getcwd(), roles, pids, os.environ['BROKER_URL'][:6]]))\n"
        "raise SystemExit(7)\n"
    )
    done = _dev_run("--", sys.executable, "-W", "ignore", "-c", program, cwd=tmp_path)
    assert done.returncode == 7, done.stderr
    directory, roles, pids, broker = json.loads(done.stdout)
    assert directory == str(tmp_path)
    assert roles[:3] == ["cmis_app", "cmis_scheduler", "cmis_readonly"]
    assert pids == {"workers": [], "schedulers": []}
    assert broker == "redis:"


@pytest.mark.parametrize(("arguments", "code"), [(["--", "no-such-program"], 127), (["--fleet", "x", "--", "true"], 2)])
def test_dev_run_says_what_is_wrong_with_its_arguments(arguments: list[str], code: int) -> None:
    done = _dev_run(*arguments)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert arguments[1] in done.stderr


def test_a_file_of_pids_that_cannot_be_written_is_told_with_its_variable(tmp_path: Path) -> None:
    nowhere = tmp_path / "missing" / "pids.json"
    done = _dev_run("--", "true", env=ENV | {"CMIS_DEV_PIDS": str(nowhere)})
    assert done.returncode == 1
    assert f"CMIS_DEV_PIDS names {nowhere}, which cannot be written" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_command_and_everything_is_removed(number: signal.Signals, tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, time\n"
        "def end(*_): raise SystemExit(9)\n"
        "signal.signal(signal.SIGTERM, end); signal.signal(signal.SIGINT, end)\n"
        "pathlib.Path('ready').write_text(os.environ['CMIS_DEV_PIDS'])\n"
        "time.sleep(100)\n"
    )
    command = [*CMIS, "dev", "run", "--", sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=tmp_path, env=ENV, start_new_session=True) as running:
        assert wait_until(lambda: _has_text(tmp_path / "ready") or running.poll() is not None, 60)
        running.send_signal(number)
        assert running.wait(30) == 9
    directory = Path((tmp_path / "ready").read_text()).parent
    assert directory.parent == Path(tempfile.gettempdir())
    assert not directory.exists()


def _has_text(path: Path) -> bool:
    return path.exists() and bool(path.read_text())


def test_each_test_has_a_migrated_database_of_its_own(server: Servers) -> None:
    with server.clone() as one, server.clone() as two:
        assert one.urls.app != two.urls.app
        with psycopg.connect(one.urls.migration) as connection:
            connection.execute("CREATE TABLE public.mine ()")
        with psycopg.connect(two.urls.migration) as connection:
            found = connection.execute("SELECT to_regclass('public.mine'), to_regclass('cmis.tasks')::text").fetchone()
    assert found == (None, "cmis.tasks")


def test_the_clock_moves_only_where_tests_are_allowed(database: Site) -> None:
    refused = _advance(database, "3d", test_clock="0")
    assert refused.returncode == 1
    assert "CMIS_TEST_CLOCK" in refused.stderr
    with psycopg.connect(database.urls.migration) as connection:
        before = connection.execute("SELECT cmis.clock()").fetchone()
        done = _advance(database, "3d", test_clock="1")
        assert done.returncode == 0, done.stderr
        connection.rollback()
        after = connection.execute("SELECT cmis.clock()").fetchone()
    assert before is not None
    assert after is not None
    assert timedelta(days=3) <= after[0] - before[0] < timedelta(days=3, minutes=1)


def _advance(database: Site, duration: str, *, test_clock: str) -> subprocess.CompletedProcess[str]:
    env = {**database.full_env(), "CMIS_TEST_CLOCK": test_clock}
    command = [*CMIS, "dev", "clock", "advance", duration]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, env=env)


@pytest.mark.exhaustive
def test_a_fleet_is_ready_and_answers_and_one_of_it_can_be_killed(database: Site, tmp_path: Path) -> None:
    with fleet(2, 1, database.full_env(), tmp_path) as running:
        assert len(running.pids()["workers"]) == 2
        assert len(running.pids()["schedulers"]) == 1
        running.workers[0].kill()
        assert [member.is_alive() for member in running.members] == [False, True, True]
        _assert_answers(running.workers[1].name, database.full_env())
        alive = [member.pid for member in running.members[1:]]
    assert not any(is_running(pid) for pid in alive)


def _assert_answers(name: str, env: dict[str, str]) -> None:
    ping = [sys.executable, "-m", "celery", "-A", "worker", "inspect", "ping", "--timeout", "5"]
    answer: Callable[[], bool] = lambda: (  # noqa: E731
        name in subprocess.run(ping, check=False, capture_output=True, text=True, cwd=ROOT, env=env).stdout
    )
    assert wait_until(answer, 30)
