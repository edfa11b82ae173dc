"""Upgrade and downgrade the schema: one transaction, one migrator at a time, never waiting for ever on a lock."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from core.db import explain, sqlstate
from core.errors import SetupError
from core.urls import parse_url
from migrations.bootstrap import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK_KEY = 0x636D6973  # "cmis"
_WAIT_FOR_OTHERS = "60s"
_LOCK_TIMEOUT = "5s"
_STATEMENT_TIMEOUT = "60s"
_TIMED_OUT = frozenset({"55P03", "57014"})  # by the lock, by the statement
_FORBIDDEN = "42501"
VARIABLE = "MIGRATION_DATABASE_URL"


def upgrade(url: str, revision: str = "head") -> str:
    """Bring the database at `url` to `revision` and return the revision it is at.

    If it is there, only partitions are made that are missing after months without upkeep.
    """
    with _transaction(url) as connection:
        prepare(connection)
        command.upgrade(_config(connection), revision)
        connection.execute(text("SET LOCAL ROLE cmis_owner"))
        connection.execute(text("SELECT cmis.make_partitions(cmis.clock())"))
        return _current(connection)


def downgrade(url: str, revision: str) -> str:
    """Take the database at `url` back to `revision` (`base` = empty) and return the revision it is at."""
    with _transaction(url) as connection:
        command.downgrade(_config(connection), revision)
        return _current(connection)


def check(url: str) -> None:
    """Raise SetupError if the models and the database at `url` disagree in what Alembic compares."""
    with _transaction(url) as connection:
        try:
            command.check(_config(connection))
        except CommandError as error:
            raise SetupError(str(error), "add a revision under migrations/versions") from error


def head() -> str:
    """Return the newest revision of the tree."""
    return ScriptDirectory.from_config(_config(None)).get_current_head() or "base"


@contextmanager
def _transaction(url: str) -> Iterator[Connection]:
    engine = create_engine(parse_url(url, VARIABLE), poolclass=NullPool, connect_args={"connect_timeout": 5})
    try:
        with engine.begin() as connection:
            _wait_for_others(connection)
            _set(connection, "lock_timeout", _LOCK_TIMEOUT)
            _set(connection, "statement_timeout", _STATEMENT_TIMEOUT)
            yield connection
    except psycopg.Error as error:  # revisions run on the driver's own connection
        raise _failed(error) from error
    except DBAPIError as error:
        raise (_failed(error.orig) if _is_of_server(error) else explain(error, VARIABLE)) from error
    finally:
        engine.dispose()


def _wait_for_others(connection: Connection) -> None:
    _set(connection, "statement_timeout", _WAIT_FOR_OTHERS)
    try:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
    except DBAPIError as error:
        if sqlstate(error) not in _TIMED_OUT:
            raise
        message = f"another migration of the database at {VARIABLE} has not ended within {_WAIT_FOR_OTHERS}"
        raise SetupError(message, "run `cmis migrate` again when it has") from error


def _is_of_server(error: DBAPIError) -> bool:
    """Say whether a statement failed, and not the connection."""
    state = sqlstate(error)
    return state is not None and state[:2] != "08" and not error.connection_invalidated


def _failed(error: BaseException | None) -> SetupError:
    """Turn what a statement failed with into an error with its remedy; the transaction is rolled back whole."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    state = getattr(error, "sqlstate", None)
    remedy = "mend what the message names, then run `cmis migrate` again"
    if state in _TIMED_OUT:
        remedy = "end what uses the schema, then run `cmis migrate` again"
    if state == _FORBIDDEN:
        remedy = "use a role that may create roles, as the server's administrator does"
    return SetupError(f"the migration of the database at {VARIABLE} failed: {reason}; nothing was changed", remedy)


def _set(connection: Connection, setting: str, value: str) -> None:
    connection.execute(text("SELECT set_config(:setting, :value, true)"), {"setting": setting, "value": value})


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def _current(connection: Connection) -> str:
    rows = connection.execute(text("SELECT version_num FROM cmis.alembic_version")).scalars().all()
    return rows[0] if rows else "base"
