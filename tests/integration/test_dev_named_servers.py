"""Servers that the environment names: used, not touched, and complained about by variable."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
import redis

from core.errors import SetupError
from dev.databases import create_database
from dev.postgres import Postgres
from dev.provider import named_urls, servers
from dev.roles import derive_urls
from dev.rundir import run_directory
from dev.urls import LOGIN_ROLES, checked, rewritten
from dev.valkey import Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE = {name: value for name, value in os.environ.items() if not name.endswith(("DATABASE_URL", "BROKER_URL"))}


@contextmanager
def _asking_for_passwords(run: Path) -> Iterator[str]:
    """Run a server on which every role needs a password; yields its administrator's URL."""
    server = Postgres(run / "data", run, durable=False)
    try:
        server.start()
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'p@ss/word'")
            (server.data / "pg_hba.conf").write_text("local all all scram-sha-256\n")
            connection.execute("SELECT pg_reload_conf()")
        yield rewritten(server.url(), user="boss", password="p@ss/word")  # noqa: S106 - it lives as long as this test
    finally:
        server.stop()


@pytest.fixture(scope="module")
def run() -> Iterator[Path]:
    with run_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def administrator(run: Path) -> Iterator[str]:
    with _asking_for_passwords(run) as url:
        yield url


def _fetch(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def test_an_administrators_url_alone_gives_three_roles_that_log_in_and_have_no_power(administrator: str) -> None:
    urls = derive_urls(administrator)
    for url, role in zip((urls.app, urls.scheduler, urls.readonly), LOGIN_ROLES, strict=True):
        power = "SELECT rolname, rolsuper OR rolbypassrls OR rolcreatedb OR rolcreaterole FROM pg_roles"
        assert _fetch(url, f"{power} WHERE rolname = current_user") == [(role, False)]
    assert derive_urls(administrator) == urls


def test_a_roles_own_password_is_not_overwritten(administrator: str) -> None:
    derive_urls(administrator)
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute("COMMENT ON ROLE cmis_readonly IS NULL")
        connection.execute("ALTER ROLE cmis_readonly PASSWORD 'of a deployment'")
        with pytest.raises(SetupError, match=r"cmis_readonly exists .* password that is not ours"):
            derive_urls(administrator)
        connection.execute("ALTER ROLE cmis_readonly PASSWORD NULL")
    derive_urls(administrator)


def test_a_throw_away_run_leaves_nothing_on_a_named_server(administrator: str, run: Path) -> None:
    broker = Valkey(run)
    broker.start()
    try:
        with redis.Redis.from_url(broker.url) as client:
            client.set("theirs", 1)
            with servers(
                migrate=False, environ={**BASE, "DATABASE_URL": administrator, "BROKER_URL": broker.url}
            ) as made:
                assert made.postgres is None
                assert _fetch(made.site.urls.app, "SELECT current_user::text") == [("cmis_app",)]
                assert _fetch(made.site.urls.app, "SELECT current_database() LIKE 'cmis_run_%'") == [(True,)]
                client.set(f"{made.env()['BROKER_PREFIX']}ours", 1)
            assert client.keys() == [b"theirs"]
    finally:
        broker.stop()
    assert _fetch(administrator, "SELECT datname FROM pg_database WHERE datname LIKE 'cmis_run_%'") == []


def test_four_named_urls_are_used_as_they_are_by_a_run_that_keeps_its_data(administrator: str, tmp_path: Path) -> None:
    create_database("DATABASE_URL", administrator, "theirs")
    urls = derive_urls(administrator).on("theirs")
    with servers(throwaway=False, data=tmp_path, migrate=False, environ={**BASE, **urls.env()}) as made:
        assert made.site.urls == urls


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL is not a PostgreSQL URL"),
        ({"DATABASE_URL": "postgresql://u@127.0.0.1:99999/x"}, "DATABASE_URL has a port"),
        ({"DATABASE_URL": "postgresql://u@127.0.0.1:1/x"}, "DATABASE_URL: cannot connect"),
        ({"BROKER_URL": "http://x"}, "BROKER_URL is neither a Redis nor a RabbitMQ URL"),
        ({"BROKER_URL": "redis://127.0.0.1:1/0"}, "BROKER_URL: cannot connect"),
        ({"BROKER_URL": "amqp://127.0.0.1:1//"}, "BROKER_URL: cannot connect"),
        (
            {"MIGRATION_DATABASE_URL": "postgresql:///x"},
            "DATABASE_URL, SCHEDULER_DATABASE_URL, READONLY_DATABASE_URL not",
        ),
    ],
)
def test_a_bad_variable_is_named(variables: dict[str, str], said: str) -> None:
    with pytest.raises(SetupError, match=said), servers(migrate=False, environ={**BASE, **variables}):
        pass


def test_an_ordinary_role_is_not_taken_for_an_administrator(administrator: str) -> None:
    app = derive_urls(administrator).app
    with (
        pytest.raises(SetupError, match="cmis_app may not create roles"),
        servers(migrate=False, environ={**BASE, "DATABASE_URL": app}),
    ):
        pass


def test_another_librarys_spelling_of_a_url_is_understood() -> None:
    assert named_urls({"DATABASE_URL": "postgresql+psycopg://a:b@h:5/d"}) == "postgresql://a:b@h:5/d"
    assert checked("X", "postgres://a,b:1,c/d") == "postgresql://a,b:1,c/d"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://boss:x@h:5432/a?sslmode=require", "postgresql://cmis_app:s%2Fc@h:5432/b?sslmode=require"),
        ("postgresql://boss@/a?host=/run/pg&port=1", "postgresql://cmis_app:s%2Fc@/b?host=/run/pg&port=1"),
        ("postgresql:///?user=boss&password=x&dbname=a", "postgresql://cmis_app:s%2Fc@/b"),
    ],
)
def test_a_url_changes_its_user_and_database_and_nothing_else(url: str, expected: str) -> None:
    assert rewritten(url, user="cmis_app", password="s/c", database="b") == expected  # noqa: S106
