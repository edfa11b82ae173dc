"""The embedded servers: whoever runs them, whatever kills them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from core.errors import SetupError
from dev import postgres_account
from dev.clean import clean
from dev.launch import is_running, wait_until
from dev.postgres import Postgres
from dev.provider import servers
from dev.rundir import run_directory, sweep
from dev.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.postgres_account import Account

IS_ROOT = os.geteuid() == 0
ACCOUNTS = [postgres_account.NAMESPACE, postgres_account.FALLBACK] if IS_ROOT else [postgres_account.ORDINARY]
ROOT = Path(__file__).parents[2]
NO_SERVERS = {name: value for name, value in os.environ.items() if not name.endswith(("DATABASE_URL", "BROKER_URL"))}


@pytest.fixture
def run() -> Iterator[Path]:
    with run_directory() as directory:
        yield directory


@pytest.fixture(
    params=ACCOUNTS, ids=lambda account: "uid" if account.uid else "namespace" if account.prefix else "user"
)
def account(request: pytest.FixtureRequest) -> Account:
    chosen: Account = request.param
    if chosen is postgres_account.NAMESPACE and postgres_account.choose_account() is not chosen:
        pytest.skip("this machine refuses user namespaces")
    return chosen


def test_what_is_committed_survives_a_crash_of_the_server(run: Path, account: Account) -> None:
    server = Postgres(run / "data", run, durable=False, account=account)
    try:
        server.start()
        with psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS x")
        server.crash()
        server.start()
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT x FROM kept").fetchone() == (1,)
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    finally:
        server.stop()


def test_a_pid_file_that_names_somebody_elses_process_does_not_prevent_the_start(run: Path) -> None:
    server = Postgres(run / "data", run, durable=False)
    try:
        server.start()
        lines = (run / "data" / "postmaster.pid").read_text().splitlines()
        server.crash()
        (run / "data" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]))
        server.start()
        assert server.pid not in {0, os.getpid()}
    finally:
        server.stop()


def test_a_server_that_outlived_its_owner_is_stopped_and_nobody_elses(run: Path) -> None:
    first, other = (Postgres(run / name, run / f"{name}.run", durable=False) for name in ("data", "other"))
    second = Postgres(run / "data", run, durable=False)
    with ExitStack() as stack:
        for server in (first, other, second):
            stack.callback(server.stop)
        first.run.mkdir()
        other.run.mkdir()
        first.start()
        other.start()
        second.start()
        assert not is_running(first.pid)
        assert is_running(other.pid)


def test_a_killed_broker_comes_back_empty_at_the_same_url(run: Path) -> None:
    server = Valkey(run)
    try:
        server.start()
        before = server.url
        with redis.Redis.from_url(before) as client:
            client.set("x", 1)
        server.kill()
        server.start()
        assert server.url == before
        with redis.Redis.from_url(before) as client:
            assert client.get("x") is None
    finally:
        server.stop()


def test_a_taken_port_is_passed_over(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, later = Valkey(run), Valkey(run)
    try:
        taken.start()
        monkeypatch.setattr("dev.valkey._PORTS", range(taken.port, taken.port + 21))
        later.start()
        assert later.port != taken.port
    finally:
        taken.stop()
        later.stop()


def test_a_stranger_without_the_password_is_refused_by_the_broker(run: Path) -> None:
    server = Valkey(run)
    try:
        server.start()
        with (
            redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
        assert server.password not in Path(f"/proc/{server.pid}/cmdline").read_text()
    finally:
        server.stop()


def test_servers_die_with_a_killed_owner_and_the_next_run_removes_their_directory() -> None:
    program = (
        "import os, signal\nfrom dev.provider import servers\n"
        "with servers(migrate=False) as made:\n"
        "    print(made.run, made.postgres.pid, made.valkey.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    owner = subprocess.run(
        [sys.executable, "-c", program], check=False, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=NO_SERVERS
    )
    directory, *pids = owner.stdout.split()
    assert owner.returncode == -signal.SIGKILL
    assert wait_until(lambda: not any(is_running(int(pid)) for pid in pids), 15)
    sweep(Path(directory).parent)
    assert not Path(directory).exists()


def test_a_running_owners_directory_is_not_swept(run: Path) -> None:
    sweep(run.parent)
    assert run.exists()


def test_two_runs_at_once_do_not_meet() -> None:
    with servers(migrate=False, environ=NO_SERVERS) as one, servers(migrate=False, environ=NO_SERVERS) as two:
        assert one.site.broker_url != two.site.broker_url
        with psycopg.connect(one.site.urls.migration) as connection:
            connection.execute("CREATE TABLE mine ()")
        with psycopg.connect(two.site.urls.migration) as connection:
            assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)


def test_kept_data_is_there_again_and_has_one_owner_at_a_time(tmp_path: Path) -> None:
    data = tmp_path / "kept"
    with servers(throwaway=False, data=data, migrate=False, environ=NO_SERVERS) as first:
        with psycopg.connect(first.site.urls.migration) as connection:
            connection.execute("CREATE TABLE kept ()")
        with (
            pytest.raises(SetupError, match="in use by process"),
            servers(throwaway=False, data=data, migrate=False, environ=NO_SERVERS),
        ):
            pass
    with (
        servers(throwaway=False, data=data, migrate=False, environ=NO_SERVERS) as second,
        psycopg.connect(second.site.urls.migration) as connection,
    ):
        assert connection.execute("SELECT to_regclass('kept')::text").fetchone() == ("kept",)
    clean(data)
    assert not data.exists()
