"""The database that tests of this process share, one after the other."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from dev.brokers import forget
from tests.shared_database import shared_database
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.provider import Servers
    from dev.site import Site
    from tests.shared_database import SharedDatabase


class Sharing:
    """The shared database, made when it is first wanted, and made anew where somebody changed the schema."""

    def __init__(self, server: Servers) -> None:
        self._server = server
        self._held: SharedDatabase | None = None
        self._stack = ExitStack()

    def emptied(self) -> Site:
        """Return the database, empty."""
        if self._held is None or not self._held.is_whole():
            self.close()
            self._held = self._stack.enter_context(shared_database(self._server))
        self._held.empty()
        return self._held.site

    def world(self, site: Site) -> World | None:
        """Return the connections to a database, if it is the shared one."""
        return self._held.world if self._held is not None and self._held.site is site else None

    def close(self) -> None:
        """Drop it."""
        self._held = None
        self._stack.close()


@pytest.fixture(scope="session")
def sharing(server: Servers) -> Iterator[Sharing]:
    """Keep a database for the session."""
    made = Sharing(server)
    yield made
    made.close()


@pytest.fixture
def database(server: Servers, sharing: Sharing) -> Iterator[Site]:
    """Give the test the shared database and a broker, both empty; on somebody else's server a copy of its own."""
    if server.valkey is not None:
        server.valkey.flush()
    elif server.site.broker_prefix:
        forget(server.site.broker_url, server.site.broker_prefix)
    if server.postgres is None:
        with server.clone() as site:
            yield site
    else:
        yield sharing.emptied()


@pytest.fixture
def world(database: Site, sharing: Sharing) -> Iterator[World]:
    """Give the test its database as each role."""
    if (known := sharing.world(database)) is not None:
        yield known
        return
    opened = World.open(database)
    yield opened
    opened.close()
