"""Servers for tests: the provider that `make demo` and `cmis dev run` use, too. Nothing is faked.

Each pytest process (each xdist worker) has servers of its own; each test that asks for `database` has one of its
own. Where DATABASE_URL or BROKER_URL is set, those servers are used, with throw-away databases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from core.config import Settings
from dev.brokers import forget
from dev.provider import servers
from tasks.broker import app, settings_for
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from dev.provider import Servers
    from dev.site import Site
    from dev.valkey import Valkey

pytest_plugins = ["tests.receiver.fixtures"]


@pytest.fixture(scope="session")
def server() -> Iterator[Servers]:
    """Run one PostgreSQL and one Valkey for the session, with one migrated database that `database` copies.

    Nothing may connect to that one (`server.site`): PostgreSQL refuses to copy a database that is in use.
    """
    with servers() as made:
        yield made


@pytest.fixture
def database(server: Servers) -> Iterator[Site]:
    """Give the test a migrated, empty database and an empty broker.

    `database.urls.app|scheduler|readonly|migration` and `database.broker_url` are URLs, `database.env()` the variables
    for processes of the product (`database.full_env()` with the present environment below), and
    `database.cmis("orgs", "list")` runs a command to its end and returns its stdout.
    """
    if server.valkey is not None:
        server.valkey.flush()
    elif server.site.broker_prefix:
        forget(server.site.broker_url, server.site.broker_prefix)
    with server.clone() as site:
        yield site


@pytest.fixture
def broker(server: Servers) -> Iterator[Valkey]:
    """Give the test the broker to misuse: `.flush()`, `.kill()`, `.start()`, `.url`; it runs again afterwards.

    Skips where BROKER_URL names somebody else's broker.
    """
    if server.valkey is None:
        pytest.skip("this test kills the broker, and BROKER_URL names one that is not ours")
    yield server.valkey
    if server.valkey.pid == 0:
        server.valkey.start()


@pytest.fixture
def world(database: Site) -> Iterator[World]:
    """Give the test its database as each role."""
    opened = World.open(database)
    yield opened
    opened.close()


@pytest.fixture
def celery(database: Site) -> Iterator[Celery]:
    """Give the test this process's app, on the test's broker."""
    before = dict(app.conf.changes)
    vars(app).pop("amqp", None)  # it keeps what it made for the broker of an earlier test, its events' exchange too
    app.conf.update(settings_for(Settings.load(database.full_env())))
    app.loader.import_default_modules()  # as worker and beat do at their start
    yield app
    app.close()
    app.conf.update(before)
