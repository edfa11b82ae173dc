"""One migrated database for many tests: emptied before each, asked by connections that have planned their queries once.

A copy for each test, and sessions that read the catalogue anew, took longer than most tests. A test that changes the
schema costs the database: the next test gets a new copy.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import psycopg

from core.db import RESERVED_ORG
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.provider import Servers
    from dev.site import Site

# What `cmis migrate` fills, and how that looks then.
_KEPT: Final = ("alembic_version", "broker_epoch", "clock_offset", "orgs", "retained", "retention", "users")
_RESTORE: Final = (
    f"DELETE FROM cmis.orgs WHERE org_id <> '{RESERVED_ORG}'",
    "DELETE FROM cmis.users WHERE NOT is_system",
    "UPDATE cmis.clock_offset SET shift = '0'",
    "UPDATE cmis.retained SET kept_from = DEFAULT",
    "UPDATE cmis.retention SET work_months = DEFAULT, workflow_months = DEFAULT, audit_months = DEFAULT",
    "UPDATE cmis.broker_epoch SET epoch = '', lost_at = '-infinity', losses = 0, republished = 0",
)
# The product's own bundles, of the reserved org, come with the schema.
_SEEDED: Final = {"automation_workflows": f"WHERE org_id <> '{RESERVED_ORG}'"}
_TABLES: Final = """
SELECT c.relname FROM pg_class c
 WHERE c.relnamespace = 'cmis'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
   AND c.relname <> ALL(%s)"""
# Catalogue rows that a test's DDL makes, changes or drops; statistics are changed in place.
_SCHEMA: Final = """
SELECT sum(hashtextextended(kind || oid || version, 0)) FROM (
  SELECT 'c' AS kind, oid::text, xmin::text AS version FROM pg_class WHERE relnamespace = 'cmis'::regnamespace
  UNION ALL SELECT 'f', oid::text, xmin::text FROM pg_proc WHERE pronamespace = 'cmis'::regnamespace
  UNION ALL SELECT 'k', oid::text, xmin::text FROM pg_constraint WHERE connamespace = 'cmis'::regnamespace
  UNION ALL SELECT 't', oid::text, xmin::text FROM pg_trigger
  UNION ALL SELECT 'p', oid::text, xmin::text FROM pg_policy
  UNION ALL SELECT 'n', oid::text, xmin::text FROM pg_namespace WHERE nspname IN ('cmis', 'public')) x"""


class SharedDatabase:
    """The database, and who may connect to it."""

    def __init__(self, site: Site, owner: psycopg.Connection, world: World) -> None:
        self.site = site
        self.world = world
        self._owner = owner
        self._schema = self._fingerprint()
        tables = [row[0] for row in owner.execute(_TABLES, [list(_KEPT)]).fetchall()]
        self._filled = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM cmis.{name})" for name in tables)
        owner.commit()

    def is_whole(self) -> bool:
        """Whether it is there, and its schema is what was migrated."""
        try:
            return self._fingerprint() == self._schema
        except psycopg.OperationalError:
            return False

    def empty(self) -> None:
        """Leave what `cmis migrate` leaves. Triggers and foreign keys are off meanwhile."""
        with self._owner.transaction():
            self._run("SET LOCAL session_replication_role = replica")
            self._run("SET LOCAL lock_timeout = '10s'")
            for (table,) in self._owner.execute(self._filled).fetchall():
                self._run(f"DELETE FROM cmis.{table} {_SEEDED.get(table, '')}")
            for statement in _RESTORE:
                self._run(statement)

    def _fingerprint(self) -> object:
        with self._owner.transaction():
            return self._owner.execute(_SCHEMA).fetchone()

    def _run(self, statement: str) -> None:
        self._owner.execute(statement)


@contextmanager
def shared_database(server: Servers) -> Iterator[SharedDatabase]:
    """Make one, and drop it at the end."""
    with ExitStack() as stack:
        site = stack.enter_context(server.clone())
        owner = stack.enter_context(psycopg.connect(site.urls.migration, prepare_threshold=0))
        world = World.open(site)
        stack.callback(world.close)
        yield SharedDatabase(site, owner, world)
