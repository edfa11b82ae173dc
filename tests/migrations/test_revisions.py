"""The tree of revisions: up, down and up again; several migrators; failures that leave nothing behind."""

from __future__ import annotations

import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from core.errors import SetupError
from dev.urls import rewritten
from migrations import migrate
from tests.migrations.catalogue import PARTS, dump

if TYPE_CHECKING:
    from dev.site import Site

_SCHEMA = "SELECT to_regnamespace('cmis') IS NOT NULL"
_LOCK_TASKS = "LOCK TABLE cmis.tasks IN ACCESS SHARE MODE"


def dumped(site: Site) -> dict[str, list[str]]:
    with psycopg.connect(site.urls.migration) as connection:
        return dump(connection)


def scalar(site: Site, query: str) -> Any:
    with psycopg.connect(site.urls.migration) as connection:
        row = connection.execute(query).fetchone()
    return None if row is None else row[0]


def test_up_down_and_up_again_leave_no_difference(empty: Site) -> None:
    assert migrate.upgrade(empty.urls.migration) == migrate.head()
    first = dumped(empty)
    assert migrate.downgrade(empty.urls.migration, "base") == "base"
    left = scalar(
        empty,
        "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'cmis'::regnamespace",
    )
    assert left == "alembic_version alembic_version_pkc"
    assert scalar(empty, "SELECT count(*) FROM pg_proc WHERE pronamespace = 'cmis'::regnamespace") == 0
    assert scalar(empty, "SELECT count(*) FROM pg_type WHERE typnamespace = 'cmis'::regnamespace") == 2  # the version's
    migrate.upgrade(empty.urls.migration)
    again = dumped(empty)
    for part in PARTS:
        assert again[part] == first[part], part


def test_the_comparison_is_not_blind(empty: Site) -> None:
    migrate.upgrade(empty.urls.migration)
    parts = dumped(empty)
    assert [part for part, lines in parts.items() if not lines] == ["database", "sequences", "types"]


@pytest.mark.exhaustive
def test_every_revision_can_be_taken_back_alone(empty: Site) -> None:
    migrate.upgrade(empty.urls.migration)
    whole = dumped(empty)
    for step in range(1, int(migrate.head()) + 1):
        revision = f"{int(migrate.head()) - step:04}" if step < int(migrate.head()) else "base"
        migrate.downgrade(empty.urls.migration, revision)
        assert migrate.upgrade(empty.urls.migration, "+1") == f"{int(migrate.head()) - step + 1:04}"
        migrate.downgrade(empty.urls.migration, revision)
    migrate.upgrade(empty.urls.migration)
    assert dumped(empty) == whole


def test_the_models_need_no_further_revision(database: Site) -> None:
    migrate.check(database.urls.migration)


def test_the_check_notices_what_the_models_do_not_have(database: Site) -> None:
    with psycopg.connect(database.urls.migration) as connection:
        connection.execute("ALTER TABLE cmis.tasks ADD stray text")
    with pytest.raises(SetupError, match="stray"):
        migrate.check(database.urls.migration)


def test_a_second_upgrade_changes_nothing(database: Site) -> None:
    before = dumped(database)
    assert migrate.upgrade(database.urls.migration) == migrate.head()
    assert dumped(database) == before


def test_an_upgrade_makes_the_partitions_that_are_missing_after_months_without_upkeep(database: Site) -> None:
    with psycopg.connect(database.urls.migration) as connection:
        connection.execute("UPDATE cmis.clock_offset SET shift = '5 months'")
    missing = "SELECT count(*) FROM cmis.missing_partitions()"
    assert scalar(database, missing) == 5 * 5
    migrate.upgrade(database.urls.migration)
    assert scalar(database, missing) == 0


def test_two_migrators_at_once_both_succeed(empty: Site) -> None:
    with ThreadPoolExecutor(2) as pool:
        for said in [pool.submit(empty.cmis, "migrate") for _ in range(2)]:
            said.result()
    assert scalar(empty, "SELECT string_agg(version_num, ' ') FROM cmis.alembic_version") == migrate.head()


def test_two_databases_of_one_server_may_be_migrated_at_once(empty: Site, database: Site) -> None:
    with ThreadPoolExecutor(2) as pool:
        for said in [pool.submit(site.cmis, "migrate") for site in (empty, database)]:
            said.result()
    assert scalar(empty, "SELECT version_num FROM cmis.alembic_version") == migrate.head()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://nobody@127.0.0.1:1/cmis", "MIGRATION_DATABASE_URL cannot be used.*check that the server runs"),
        ("not a url", "MIGRATION_DATABASE_URL is no database URL.*write postgresql://"),
        ("mysql://root@localhost/cmis", "MIGRATION_DATABASE_URL names mysql.*write postgresql://"),
        ("postgresql://u:secret@127.0.0.1:port/cmis", "MIGRATION_DATABASE_URL is no database URL.*write postgresql://"),
    ],
)
def test_a_wrong_url_is_a_message_with_its_remedy(url: str, message: str) -> None:
    with pytest.raises(SetupError, match=message) as caught:
        migrate.upgrade(url)
    assert "secret" not in str(caught.value)


def test_a_database_that_does_not_exist_is_a_message(empty: Site) -> None:
    with pytest.raises(SetupError, match=r"MIGRATION_DATABASE_URL cannot be used: .*does not exist"):
        migrate.upgrade(rewritten(empty.urls.migration, database="cmis_is_not_there"))


def test_a_role_that_may_not_migrate_is_a_message(empty: Site, database: Site) -> None:
    for site in (empty, database):
        with pytest.raises(SetupError, match=r"MIGRATION_DATABASE_URL failed.*use a role that may create roles"):
            migrate.upgrade(site.urls.app)
        with pytest.raises(SetupError, match=r"MIGRATION_DATABASE_URL failed.*use a role that may create roles"):
            migrate.downgrade(site.urls.app, "base")
    assert scalar(empty, _SCHEMA) is False


def test_who_owns_the_database_and_is_a_member_of_the_owners_migrates_without_being_superuser(empty: Site) -> None:
    name, password = f"cmis_migrator_{secrets.token_hex(4)}", secrets.token_hex(8)
    empty.cmis("migrate")  # makes the roles, if this server has none yet
    migrate.downgrade(empty.urls.migration, "base")
    with psycopg.connect(empty.urls.migration, autocommit=True) as connection:
        connection.execute("DROP SCHEMA cmis CASCADE")
        user = sql.Identifier(name)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(user, sql.Literal(password)))
        try:
            connection.execute(sql.SQL("GRANT cmis_owner, cmis_engine TO {}").format(user))
            database = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, user))
            url = rewritten(empty.urls.migration, user=name, password=password)
            assert migrate.upgrade(url) == migrate.head()
            assert migrate.downgrade(url, "base") == "base"
            assert migrate.upgrade(url) == migrate.head()
        finally:
            connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(user))
            connection.execute(sql.SQL("DROP ROLE {}").format(user))


@pytest.fixture
def with_a_bad_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Migrate by a copy of the tree that has one more revision, which makes a table and then fails."""
    tree = tmp_path / "migrations"
    shutil.copytree(Path(migrate.__file__).parent, tree)
    (tree / "versions" / "9999_bad.py").write_text(
        "from migrations.ddl import run\n"
        f"revision, down_revision, branch_labels, depends_on = '9999', '{migrate.head()}', None, None\n"
        "def upgrade():\n"
        "    run('CREATE TABLE cmis.half (id uuid)')\n"
        "    run('SELECT 1 / 0')\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(migrate, "__file__", str(tree / "migrate.py"))


@pytest.mark.usefixtures("with_a_bad_revision")
def test_a_failing_revision_leaves_the_schema_as_it_was(database: Site) -> None:
    before = dumped(database)
    with pytest.raises(SetupError, match=r"division by zero.*nothing was changed"):
        migrate.upgrade(database.urls.migration)
    assert dumped(database) == before
    assert scalar(database, "SELECT version_num FROM cmis.alembic_version") != "9999"


@pytest.mark.usefixtures("with_a_bad_revision")
def test_a_failing_revision_leaves_a_new_database_empty(empty: Site) -> None:
    with pytest.raises(SetupError, match=r"division by zero.*nothing was changed"):
        migrate.upgrade(empty.urls.migration)
    assert scalar(empty, _SCHEMA) is False


def test_a_migration_does_not_wait_for_ever_on_a_table_in_use(database: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_LOCK_TIMEOUT", "50ms")
    with psycopg.connect(database.urls.migration) as user:
        user.execute(_LOCK_TASKS)
        with pytest.raises(SetupError, match=r"MIGRATION_DATABASE_URL.*lock timeout.*nothing was changed"):
            migrate.downgrade(database.urls.migration, "base")


def test_a_migration_does_not_wait_for_ever_on_another(database: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "_WAIT_FOR_OTHERS", "50ms")
    with psycopg.connect(database.urls.migration) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [migrate._LOCK_KEY])
        with pytest.raises(SetupError, match=r"another migration of the database at MIGRATION_DATABASE_URL"):
            migrate.upgrade(database.urls.migration)
