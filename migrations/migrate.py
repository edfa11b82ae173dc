"""Upgrade and downgrade the schema: one transaction, one migrator at a time, never waiting for ever on a lock."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from core.db import explain, parse_url
from core.errors import SetupError
from migrations.bootstrap import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCK_KEY = 0x636D6973  # "cmis"
_WAIT_FOR_OTHERS = "60s"
_LOCK_TIMEOUT = "5s"
_STATEMENT_TIMEOUT = "60s"
VARIABLE = "MIGRATION_DATABASE_URL"


def upgrade(url: str, revision: str = "head") -> str:
    """Bring the database at `url` to `revision` and return the revision it is at. Does nothing if it is there."""
    with _transaction(url) as connection:
        prepare(connection)
        command.upgrade(_config(connection), revision)
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
            for setting, value in (("lock_timeout", _WAIT_FOR_OTHERS), ("statement_timeout", _WAIT_FOR_OTHERS)):
                _set(connection, setting, value)
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
            for setting, value in (("lock_timeout", _LOCK_TIMEOUT), ("statement_timeout", _STATEMENT_TIMEOUT)):
                _set(connection, setting, value)
            yield connection
    except DBAPIError as error:
        raise explain(error, VARIABLE) from error
    finally:
        engine.dispose()


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
