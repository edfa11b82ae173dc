"""What revisions are written with: raw SQL, roles, row-level security and partitions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic import context, op

if TYPE_CHECKING:
    from collections.abc import Sequence

CONTEXT_ORG = "(SELECT nullif(current_setting('app.current_org_id', true), '')::uuid)"
"""The transaction's org; unset or empty it is NULL, and NULL equals nothing. Read once a query."""


def run(sql: str) -> None:
    """Execute SQL as it stands: no bind parameters, so `%` and `:` mean themselves; several statements at once."""
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        message = "revisions need a live connection"
        raise RuntimeError(message)
    driver.execute(sql)


def run_as_engine(sql: str) -> None:
    """Execute SQL that makes objects owned by `cmis_engine`, or writes rows across orgs as it."""
    run("GRANT CREATE ON SCHEMA cmis TO cmis_engine; RESET ROLE; SET LOCAL ROLE cmis_engine")
    run(sql)
    run("RESET ROLE; SET LOCAL ROLE cmis_owner; REVOKE CREATE ON SCHEMA cmis FROM cmis_engine")


def protect(table: str, *, app: str, engine: str = "SELECT, INSERT, UPDATE") -> None:
    """Put a tenant table under forced row-level security and grant the roles what they need.

    `app` and `engine` are lists of privileges. The readonly role sees all orgs, and only reads.
    """
    run(f"""
        ALTER TABLE cmis.{table} ENABLE ROW LEVEL SECURITY;
        ALTER TABLE cmis.{table} FORCE ROW LEVEL SECURITY;
        CREATE POLICY org_isolation ON cmis.{table} USING (org_id = {CONTEXT_ORG}) WITH CHECK (org_id = {CONTEXT_ORG});
        CREATE POLICY engine_all ON cmis.{table} TO cmis_engine USING (true) WITH CHECK (true);
        CREATE POLICY readonly_all ON cmis.{table} FOR SELECT TO cmis_readonly USING (true);
        GRANT {app} ON cmis.{table} TO cmis_app;
        GRANT {engine} ON cmis.{table} TO cmis_engine;
        GRANT SELECT ON cmis.{table} TO cmis_readonly;
    """)


def partition_ahead() -> None:
    """Make the partitions of every partitioned table, from two months back to three ahead."""
    run("SELECT cmis.make_partitions(cmis.clock())")


def drop_tables(tables: Sequence[str]) -> None:
    """Drop tables with their partitions, policies and triggers, in the order given."""
    for table in tables:
        run(f"DROP TABLE cmis.{table}")


def constant_of(revision: str, name: str) -> Any:
    """Return a constant of an earlier revision: what a later one adds to, or a way back puts in place again."""
    return getattr(context.script.get_revision(revision).module, name)
