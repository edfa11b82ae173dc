"""A world for each test; its invariants are checked after each.

Copying a database takes most of a second: on our own server a module's tests share one, emptied before each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from core.db import RESERVED_ORG
from dev.brokers import forget
from engine import invariants
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.provider import Servers
    from dev.site import Site
    from tests.world import Org

SEEDED = "automation_workflows"
"""The product's own bundles, of the reserved org, come with the schema."""


@pytest.fixture(scope="module")
def shared(server: Servers) -> Iterator[Site]:
    """Give the module a migrated database."""
    with server.clone() as site:
        yield site


@pytest.fixture
def database(server: Servers, request: pytest.FixtureRequest) -> Iterator[Site]:
    """Give the test the module's database and a broker, both empty; on somebody else's server a copy of its own."""
    if server.valkey is not None:
        server.valkey.flush()
    elif server.site.broker_prefix:
        forget(server.site.broker_url, server.site.broker_prefix)
    if server.postgres is None:
        with server.clone() as site:
            yield site
    else:
        shared = request.getfixturevalue("shared")
        _empty(shared)
        yield shared


def _empty(site: Site) -> None:
    """Leave what `cmis migrate` leaves. Triggers and foreign keys are off meanwhile."""
    keep = "'alembic_version', 'broker_epoch', 'clock_offset', 'orgs', 'retained', 'retention', 'users'"
    tables = f"SELECT tablename FROM pg_tables WHERE schemaname = 'cmis' AND tablename NOT IN ({keep})"
    with psycopg.connect(site.urls.migration) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        for (table,) in connection.execute(tables).fetchall():
            ours = sql.SQL(" WHERE org_id <> {}").format(sql.Literal(RESERVED_ORG)) if table == SEEDED else sql.SQL("")
            connection.execute(sql.SQL("DELETE FROM cmis.{}").format(sql.Identifier(table)) + ours)
        connection.execute("DELETE FROM cmis.orgs WHERE name <> '(reserved)'")
        connection.execute("DELETE FROM cmis.users WHERE NOT is_system")
        connection.execute("UPDATE cmis.clock_offset SET shift = '0'")
        connection.execute("UPDATE cmis.retained SET kept_from = DEFAULT")
        connection.execute(
            "UPDATE cmis.retention SET work_months = DEFAULT, workflow_months = DEFAULT, audit_months = DEFAULT"
        )
        connection.execute(
            "UPDATE cmis.broker_epoch SET epoch = '', lost_at = '-infinity', losses = 0, republished = 0"
        )


@pytest.fixture
def world(database: Site) -> Iterator[World]:
    """Give the test a database as each role. Whatever it did, the invariants hold afterwards."""
    made = World.open(database)
    try:
        yield made
        broken = {one.name: one.offenders for one in invariants.check(made.reader, drained=False) if one.offenders}
        assert broken == {}
    finally:
        made.close()


@pytest.fixture
def org(world: World) -> Org:
    """Give the test an org."""
    return world.org()
