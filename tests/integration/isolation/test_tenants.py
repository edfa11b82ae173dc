"""Another org's context, an empty one and none at all reach no row of any tenant table.

The tables come from the models, which tests/migrations proves equal to the database: a new table is covered at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from core.db import RESERVED_ORG
from models import Base
from tests.integration.isolation.attempts import REFUSED, attempt, take

if TYPE_CHECKING:
    from uuid import UUID

    from tests.integration.isolation.conftest import Tenants

TABLES = sorted(table.name for table in Base.metadata.tables.values() if "org_id" in table.columns)
FOREIGNERS = ["the other org", "no context", "an empty context"]
Connection = psycopg.Connection[Any]


def become(foreigner: str, connection: Connection, tenants: Tenants) -> None:
    match foreigner:
        case "the other org":
            take(connection, tenants.north.context)
        case "an empty context":
            connection.execute("SELECT set_config('app.current_org_id', '', true)")


def on(table: str, statement: str) -> sql.Composed:
    return sql.SQL(statement).format(table=sql.Identifier("cmis", table))


def rows_of(connection: Connection, table: str, org_id: UUID) -> list[Any]:
    return connection.execute(on(table, "SELECT to_jsonb(t) FROM {table} t WHERE org_id = %s"), [org_id]).fetchall()


def test_the_factory_fills_every_table_that_has_an_org(tenants: Tenants, administrator: Connection) -> None:
    in_database = administrator.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'org_id' "
        "WHERE c.relnamespace = 'cmis'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1"
    ).fetchall()
    assert [name for (name,) in in_database] == TABLES
    for tenant in (tenants.north, tenants.south):
        empty = [table for table in TABLES if not rows_of(administrator, table, tenant.org_id)]
        assert empty == [], "write a row for them in tests/factories.py"


@pytest.mark.parametrize("table", TABLES)
def test_a_member_sees_exactly_the_rows_of_the_org(tenants: Tenants, as_app: Connection, table: str) -> None:
    take(as_app, tenants.south.context)
    seen = as_app.execute(on(table, "SELECT org_id FROM {table}")).fetchall()
    shared = {RESERVED_ORG} if table == "automation_workflows" else set()  # the product's own bundles are public
    assert {org_id for (org_id,) in seen} == {tenants.south.org_id} | shared


@pytest.mark.parametrize("foreigner", FOREIGNERS)
@pytest.mark.parametrize("table", TABLES)
def test_a_foreigner_reads_nothing(tenants: Tenants, as_app: Connection, table: str, foreigner: str) -> None:
    become(foreigner, as_app, tenants)
    assert rows_of(as_app, table, tenants.south.org_id) == []
    if foreigner != "the other org":
        assert attempt(as_app, on(table, "SELECT FROM {table}")) == 0


@pytest.mark.parametrize("foreigner", FOREIGNERS)
@pytest.mark.parametrize("table", TABLES)
def test_a_foreigner_changes_and_deletes_nothing(
    tenants: Tenants, as_app: Connection, table: str, foreigner: str
) -> None:
    become(foreigner, as_app, tenants)
    theirs = {"org": tenants.south.org_id}
    assert attempt(as_app, on(table, "UPDATE {table} SET org_id = org_id WHERE org_id = %(org)s"), theirs) in {
        0,
        REFUSED,
    }
    assert attempt(as_app, on(table, "DELETE FROM {table} WHERE org_id = %(org)s"), theirs) in {0, REFUSED}
    assert attempt(as_app, on(table, "TRUNCATE {table}")) == REFUSED


@pytest.mark.parametrize("foreigner", FOREIGNERS)
@pytest.mark.parametrize("table", TABLES)
def test_a_foreigner_inserts_nothing(
    tenants: Tenants, administrator: Connection, as_app: Connection, table: str, foreigner: str
) -> None:
    become(foreigner, as_app, tenants)
    assert insert_copy(administrator, as_app, table, tenants.south.org_id) == REFUSED


@pytest.mark.parametrize("table", TABLES)
def test_it_is_the_policy_that_refuses_the_insert(
    tenants: Tenants, administrator: Connection, as_app: Connection, table: str
) -> None:
    """The same statement in the org's own context gets as far as the primary key, where the role may insert at all."""
    take(as_app, tenants.south.context)
    may_insert = as_app.execute("SELECT has_table_privilege(%s, 'INSERT')", [f"cmis.{table}"]).fetchone() == (True,)
    outcome = insert_copy(administrator, as_app, table, tenants.south.org_id)
    assert outcome == ("23505" if may_insert else REFUSED)


def insert_copy(administrator: Connection, connection: Connection, table: str, org_id: UUID) -> int | str:
    (row,) = rows_of(administrator, table, org_id)[0]
    statement = on(table, "INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, %s)).*")
    return attempt(connection, statement, [psycopg.types.json.Jsonb(row)])


@pytest.mark.parametrize("table", TABLES)
def test_no_row_can_be_given_to_another_org(tenants: Tenants, as_app: Connection, table: str) -> None:
    take(as_app, tenants.north.context)
    moved = attempt(as_app, on(table, "UPDATE {table} SET org_id = %s"), [tenants.south.org_id])
    assert moved == REFUSED


def test_a_partition_addressed_directly_gives_nothing_even_if_it_were_granted(
    tenants: Tenants, administrator: Connection
) -> None:
    partitions = [
        name
        for (name,) in administrator.execute(
            "SELECT relname FROM pg_class "
            "WHERE relnamespace = 'cmis'::regnamespace AND relispartition AND relkind = 'r'"
        )
    ]
    assert partitions
    administrator.execute("SET LOCAL ROLE cmis_app")
    assert {attempt(administrator, on(name, "SELECT FROM {table}")) for name in partitions} == {REFUSED}
    administrator.execute("RESET ROLE")
    for name in partitions:
        administrator.execute(on(name, "GRANT SELECT ON {table} TO cmis_app"))
    administrator.execute("SET LOCAL ROLE cmis_app")
    take(administrator, tenants.north.context)
    seen = {
        row for name in partitions for row in administrator.execute(on(name, "SELECT org_id FROM {table}")).fetchall()
    }
    assert seen == {(tenants.north.org_id,)}


REFERRING_ROWS = """
ALTER TABLE cmis.workflow_template_versions DISABLE TRIGGER workflow_template_versions_frozen;
INSERT INTO cmis.scheduled_jobs (org_id, job_id, name, target_type, campaign_id, schedule_type, cron_expression,
                                 anchor_at, next_run_at, owner_id, created_at, updated_at)
SELECT j.org_id, gen_random_uuid(), 'optimizing', 'optimization', c.campaign_id, 'cron', '* * * * *', now(), now(),
       j.owner_id, now(), now()
  FROM cmis.scheduled_jobs j JOIN cmis.campaigns c USING (org_id);
INSERT INTO cmis.scheduled_jobs (org_id, job_id, name, target_type, template_id, schedule_type, cron_expression,
                                 anchor_at, next_run_at, owner_id, created_at, updated_at)
SELECT t.org_id, gen_random_uuid(), 'starting', 'workflow', t.template_id, 'cron', '* * * * *', now(), now(),
       t.owner_id, now(), now()
  FROM cmis.workflow_templates t;
INSERT INTO cmis.workflow_instances (org_id, instance_id, template_id, version, trigger_type, parent_instance_id,
                                     parent_step_id, forked_from, steps_total, created_at)
SELECT i.org_id, gen_random_uuid(), i.template_id, i.version, 'manual', i.instance_id, 'wait', i.instance_id, 1, now()
  FROM cmis.workflow_instances i;
INSERT INTO cmis.automation_events (org_id, event_id, type, payload, idempotency_key, instance_id, occurred_at,
                                    created_at)
SELECT i.org_id, i.instance_id, 'lead.replied', '{}', i.instance_id, i.instance_id, now(), now()
  FROM cmis.workflow_instances i
"""
"""Beside what `fill` makes of each org: jobs of the other kinds, since no job has two references, an instance that
has a parent and is a fork, and events that one instance is told of. A published version never changes: here it is a key
that refuses it, not its trigger.
"""


def test_no_foreign_key_reaches_another_orgs_row(tenants: Tenants, administrator: Connection) -> None:
    """As the superuser, whom no policy holds: the keys alone must refuse it."""
    keys = administrator.execute("""
        SELECT c.relname, (SELECT array_agg(a.attname::text ORDER BY k.n)
                             FROM unnest(f.conkey) WITH ORDINALITY k(num, n)
                             JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num)
          FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid
         WHERE f.contype = 'f' AND c.relnamespace = 'cmis'::regnamespace AND cardinality(f.conkey) > 1
    """).fetchall()
    assert keys
    administrator.execute(REFERRING_ROWS)
    for table, (org, *columns) in keys:
        assert org == "org_id"
        rows = [row for (row,) in rows_of(administrator, table, tenants.south.org_id)]
        theirs = next(row for row in rows if None not in [row[column] for column in columns])
        change = sql.SQL("UPDATE {} SET {} WHERE org_id = %s AND {} IS NOT NULL").format(
            sql.Identifier("cmis", table),
            sql.SQL(", ").join([sql.SQL("{} = %s").format(sql.Identifier(column)) for column in columns]),
            sql.Identifier(columns[0]),
        )
        values = [*[theirs[column] for column in columns], tenants.north.org_id]
        assert attempt(administrator, change, values) == "23503", (table, columns)


def test_an_org_sees_only_its_own_members_and_the_system_actors(tenants: Tenants, as_app: Connection) -> None:
    take(as_app, tenants.north.context)
    people = as_app.execute("SELECT user_id FROM cmis.users WHERE NOT is_system").fetchall()
    assert people == [(tenants.north.admin_id,)]
    for statement in (
        "UPDATE cmis.users SET name = 'x'",
        "DELETE FROM cmis.users",
        "INSERT INTO cmis.users DEFAULT VALUES",
    ):
        assert attempt(as_app, statement) == REFUSED


@pytest.mark.parametrize("view", ["v_automation_performance", "automation_schedules", "v_workflow_timeline"])
def test_views_show_the_callers_org_alone(tenants: Tenants, as_app: Connection, view: str) -> None:
    assert attempt(as_app, on(view, "SELECT FROM {table}")) == 0
    take(as_app, tenants.north.context)
    assert as_app.execute(on(view, "SELECT DISTINCT org_id FROM {table}")).fetchall() == [(tenants.north.org_id,)]


def test_the_scheduler_reads_and_writes_no_table(tenants: Tenants) -> None:
    with psycopg.connect(tenants.site.urls.scheduler) as connection:
        names = connection.execute(
            "SELECT relname, relkind FROM pg_class"
            " WHERE relnamespace = 'cmis'::regnamespace AND relkind IN ('r', 'p', 'v')"
        ).fetchall()
        assert len(names) > len(TABLES)
        for name, kind in names:
            assert attempt(connection, on(name, "SELECT FROM {table}")) == REFUSED, name
            if kind != "v":  # of one that counts, the server says first that nothing can be deleted from it
                assert attempt(connection, on(name, "DELETE FROM {table}")) == REFUSED, name
        assert attempt(connection, "SELECT cmis.init_transaction_context(%s, %s)", [None, None]) == REFUSED


def test_the_readonly_role_sees_every_org_and_writes_nothing(tenants: Tenants) -> None:
    with psycopg.connect(tenants.site.urls.readonly) as connection:
        for table in TABLES:
            assert rows_of(connection, table, tenants.north.org_id), table
            assert rows_of(connection, table, tenants.south.org_id), table
            assert attempt(connection, on(table, "UPDATE {table} SET org_id = org_id")) == REFUSED
            assert attempt(connection, on(table, "DELETE FROM {table}")) == REFUSED
