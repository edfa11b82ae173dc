"""Who may become which tenant, for how long, and as whom processes refuse to run at all."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from core.db import CLI_ACTOR, ENGINE_ACTOR, RESERVED_ORG, Context, Database, sqlstate
from core.errors import SetupError
from dev.databases import temporary_database
from dev.urls import rewritten
from tests.integration.isolation.attempts import REFUSED, attempt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.provider import Servers
    from dev.site import Site
    from tests.integration.isolation.conftest import Tenants

Connection = psycopg.Connection[Any]
_INIT = "SELECT cmis.init_transaction_context(%s, %s)"
_SETTINGS = text("""
SELECT pg_backend_pid(), current_setting('app.current_org_id', true), current_setting('app.current_user_id', true),
       current_setting('app.client_ip', true), (SELECT count(*) FROM cmis.campaigns)
""")


@contextmanager
def taking(administrator: Connection) -> Iterator[Connection]:
    """Act as the app role in the administrator's transaction, so that its uncommitted changes are seen."""
    administrator.execute("SET LOCAL ROLE cmis_app")
    yield administrator
    administrator.execute("RESET ROLE")


def outcome(administrator: Connection, user_id: UUID | None, org_id: UUID | None) -> int | str:
    with taking(administrator) as connection:
        return attempt(connection, _INIT, [user_id, org_id])


def test_a_context_ends_with_its_transaction(tenants: Tenants) -> None:
    database = Database(tenants.site.urls.app, variable="DATABASE_URL", application="tests", pool_size=1)
    try:
        with database.transaction(tenants.north.context) as connection:
            pid, org, user, ip, campaigns = connection.execute(_SETTINGS).one()
        assert (org, user, ip) == (str(tenants.north.org_id), str(tenants.north.admin_id), tenants.north.context.ip)
        assert campaigns == 1
        with database.transaction(None) as connection:
            assert connection.execute(_SETTINGS).one() == (pid, "", "", "", 0)
    finally:
        database.close()


def test_a_context_ends_with_a_transaction_that_failed(tenants: Tenants) -> None:
    database = Database(tenants.site.urls.app, variable="DATABASE_URL", application="tests", pool_size=1)
    try:
        with pytest.raises(ProgrammingError), database.transaction(tenants.north.context) as connection:
            connection.execute(text("SELECT nothing"))
        with database.transaction(None) as connection:
            assert connection.execute(_SETTINGS).one()[1:] == ("", "", "", 0)
    finally:
        database.close()


def test_a_rehearsal_keeps_nothing_and_its_context_ends_with_it(tenants: Tenants) -> None:
    database = Database(tenants.site.urls.app, variable="DATABASE_URL", application="tests", pool_size=1)
    try:
        with database.rehearsal(tenants.north.context) as connection:
            pid, org, user, _, campaigns = connection.execute(_SETTINGS).one()
            assert (org, user, campaigns) == (str(tenants.north.org_id), str(tenants.north.admin_id), 1)
            assert connection.execute(text("UPDATE cmis.campaigns SET name = 'rehearsed'")).rowcount == 1
        with database.transaction(None) as connection:
            assert connection.execute(_SETTINGS).one() == (pid, "", "", "", 0)
        with database.transaction(tenants.north.context) as connection:
            assert connection.execute(text("SELECT name FROM cmis.campaigns")).scalars().all() == ["campaign"]
    finally:
        database.close()


def test_a_refused_context_leaves_the_transaction_without_one(tenants: Tenants) -> None:
    with (
        pytest.raises(ProgrammingError, match="is no active member") as caught,
        tenants.app.transaction(Context(tenants.south.org_id, tenants.north.admin_id)),
    ):
        pytest.fail("the transaction must not begin")
    assert sqlstate(caught.value) == REFUSED


def test_an_active_member_may(tenants: Tenants, administrator: Connection) -> None:
    assert outcome(administrator, tenants.north.admin_id, tenants.north.org_id) == 1


def test_a_user_of_another_org_may_not(tenants: Tenants, administrator: Connection) -> None:
    assert outcome(administrator, tenants.north.admin_id, tenants.south.org_id) == REFUSED


def test_nobody_and_an_unknown_user_may_not(tenants: Tenants, administrator: Connection) -> None:
    assert outcome(administrator, None, tenants.north.org_id) == REFUSED
    assert outcome(administrator, uuid4(), tenants.north.org_id) == REFUSED


def test_there_is_no_context_of_an_org_that_does_not_exist(tenants: Tenants, administrator: Connection) -> None:
    assert outcome(administrator, tenants.north.admin_id, uuid4()) == REFUSED
    assert outcome(administrator, ENGINE_ACTOR, uuid4()) == REFUSED
    assert outcome(administrator, ENGINE_ACTOR, None) == REFUSED


def test_an_inactive_member_may_not(tenants: Tenants, administrator: Connection) -> None:
    administrator.execute("UPDATE cmis.user_orgs SET is_active = false WHERE user_id = %s", [tenants.north.admin_id])
    assert outcome(administrator, tenants.north.admin_id, tenants.north.org_id) == REFUSED


def test_an_inactive_user_may_not(tenants: Tenants, administrator: Connection) -> None:
    administrator.execute("UPDATE cmis.users SET is_active = false WHERE user_id = %s", [tenants.north.admin_id])
    assert outcome(administrator, tenants.north.admin_id, tenants.north.org_id) == REFUSED


@pytest.mark.parametrize("actor", [ENGINE_ACTOR, CLI_ACTOR])
def test_an_inactive_system_actor_may_not(tenants: Tenants, administrator: Connection, actor: UUID) -> None:
    assert outcome(administrator, actor, tenants.north.org_id) == 1
    administrator.execute("UPDATE cmis.users SET is_active = false WHERE user_id = %s", [actor])
    assert outcome(administrator, actor, tenants.north.org_id) == REFUSED


def test_the_reserved_org_is_the_engines_alone(tenants: Tenants, administrator: Connection) -> None:
    """Even a person whom somebody made its member may not: its tasks name other orgs."""
    administrator.execute(
        "INSERT INTO cmis.user_orgs (org_id, user_id, role, created_at) VALUES (%s, %s, 'admin', now())",
        [RESERVED_ORG, tenants.north.admin_id],
    )
    assert outcome(administrator, ENGINE_ACTOR, RESERVED_ORG) == 1
    assert outcome(administrator, CLI_ACTOR, RESERVED_ORG) == REFUSED
    assert outcome(administrator, tenants.north.admin_id, RESERVED_ORG) == REFUSED


def test_an_address_that_is_none_is_refused_before_anything_is_written(tenants: Tenants) -> None:
    with psycopg.connect(tenants.site.urls.app) as connection:
        statement = "SELECT cmis.init_transaction_context(%s, %s, %s)"
        identity = [tenants.north.admin_id, tenants.north.org_id]
        assert attempt(connection, statement, [*identity, "not an address"]) == "22P02"
        assert attempt(connection, statement, [*identity, "2001:db8::1"]) == 1
        assert attempt(connection, statement, [*identity, None]) == 1


def test_the_reserved_org_is_in_no_list(tenants: Tenants) -> None:
    with psycopg.connect(tenants.site.urls.app) as connection:
        listed = connection.execute("SELECT name FROM cmis.list_orgs()").fetchall()
        assert listed == [("north",), ("south",)]
        for reference in (str(RESERVED_ORG), "(reserved)"):
            assert attempt(connection, "SELECT FROM cmis.resolve_org(%s)", [reference]) == 0


def checked(url: str, *, test_clock: bool = False) -> None:
    database = Database(url, variable="DATABASE_URL", application="tests", pool_size=1)
    try:
        database.check(test_clock=test_clock)
    finally:
        database.close()


@contextmanager
def role(site: Site, options: str, *, member_of: str | None = None) -> Iterator[str]:
    """Make a login role for one test; yields the URL of the test's database as that role."""
    name, password = f"cmis_iso_{secrets.token_hex(4)}", secrets.token_hex(8)
    with psycopg.connect(site.urls.migration, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} " + options).format(sql.Identifier(name), sql.Literal(password))
        )
        try:
            if member_of:
                connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(member_of), sql.Identifier(name)))
            yield rewritten(site.urls.migration, user=name, password=password)
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.mark.parametrize("name", ["app", "scheduler", "readonly"])
def test_processes_run_as_the_login_roles(tenants: Tenants, name: str) -> None:
    checked(getattr(tenants.site.urls, name))


def test_processes_refuse_a_superuser(tenants: Tenants) -> None:
    with pytest.raises(SetupError, match=r"DATABASE_URL connects as .* a superuser.*connect as cmis_app"):
        checked(tenants.site.urls.migration)


def test_processes_refuse_a_role_that_passes_row_security(tenants: Tenants) -> None:
    with role(tenants.site, "BYPASSRLS") as url, pytest.raises(SetupError, match=r"which is BYPASSRLS.*cmis_app"):
        checked(url)


@pytest.mark.parametrize("owner", ["cmis_owner", "cmis_engine"])
@pytest.mark.parametrize("options", ["INHERIT", "NOINHERIT"])
def test_processes_refuse_a_member_of_the_owners(tenants: Tenants, owner: str, options: str) -> None:
    with (
        role(tenants.site, options, member_of=owner) as url,
        pytest.raises(SetupError, match=r"an owner of the schema.*cmis_app"),
    ):
        checked(url)


def test_processes_refuse_a_shifted_clock_outside_of_tests(database: Site) -> None:
    with psycopg.connect(database.urls.migration, autocommit=True) as connection:
        connection.execute("SELECT cmis.advance_clock('1 hour')")
    with pytest.raises(SetupError, match=r"clock of the database at DATABASE_URL is shifted.*CMIS_TEST_CLOCK=1"):
        checked(database.urls.app)
    checked(database.urls.app, test_clock=True)


def test_processes_refuse_a_database_without_the_schema(server: Servers) -> None:
    with (
        temporary_database("DATABASE_URL", server.template.administrator) as name,
        pytest.raises(SetupError, match="run `cmis migrate`"),
    ):
        checked(server.site.urls.on(name).app)


def test_processes_refuse_a_server_that_is_not_there() -> None:
    with pytest.raises(SetupError, match=r"DATABASE_URL cannot be used: .*check that the server runs"):
        checked("postgresql://cmis_app@127.0.0.1:1/cmis")
