"""Two filled orgs in one database, and connections as one role or another that leave nothing behind."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from core.db import Database
from dev.clock import advance_clock
from tests.factories import Tenant, create_org, fill, retire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.provider import Servers
    from dev.site import Site

Connection = psycopg.Connection[tuple[object, ...]]


@dataclass(frozen=True)
class Tenants:
    """A database with two filled orgs. Tests of it roll back what they do."""

    site: Site
    app: Database
    north: Tenant
    south: Tenant


@contextmanager
def two_orgs(server: Servers, ahead: timedelta = timedelta(0)) -> Iterator[Tenants]:
    """Make a database, its clock `ahead`, with two orgs that have rows in every tenant table."""
    with server.clone() as site:
        advance_clock(site.urls.migration, ahead)
        app = Database(site.urls.app, variable="DATABASE_URL", application="tests", pool_size=2)
        try:
            north, south = (fill(app, create_org(app, name)) for name in ("north", "south"))
            with psycopg.connect(site.urls.migration) as connection:
                for tenant in (north, south):
                    retire(connection, tenant)
            yield Tenants(site, app, north, south)
        finally:
            app.close()


@pytest.fixture(scope="module")
def tenants(server: Servers) -> Iterator[Tenants]:
    """Give the module a database with two orgs."""
    with two_orgs(server) as made:
        yield made


@pytest.fixture
def app(database: Site) -> Iterator[Database]:
    """Connect as the app role to a database of the test's own."""
    made = Database(database.urls.app, variable="DATABASE_URL", application="tests", pool_size=5)
    yield made
    made.close()


@pytest.fixture
def administrator(tenants: Tenants) -> Iterator[Connection]:
    """Open one transaction as the superuser, who passes row-level security; it is rolled back."""
    with psycopg.connect(tenants.site.urls.migration) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def as_app(tenants: Tenants) -> Iterator[Connection]:
    """Open one transaction as the app role, without a context; it is rolled back."""
    with psycopg.connect(tenants.site.urls.app) as connection:
        yield connection
        connection.rollback()
