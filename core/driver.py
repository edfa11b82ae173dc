"""Statements straight to the driver, for what a worker sends with every task.

In the caller's transaction, with the text and the values that SQLAlchemy would send: it compiles a statement once. Its
execution, which costs as much as many a statement does, is left out.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import namedtuple_row
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Dialect, TextClause

    Processors = tuple[tuple[str, Callable[[Any], Any]], ...]

_DIALECT: Final[Dialect] = psycopg_dialect()  # type: ignore[no-untyped-call]


def rows(connection: Connection, statement: TextClause, values: Mapping[str, Any]) -> list[Any]:
    """Send a statement; returns its rows as named tuples. Raises DBAPIError as `connection.execute` does."""
    found: list[Any] = _sent(connection, statement, values).fetchall()
    return found


def changed(connection: Connection, statement: TextClause, values: Mapping[str, Any]) -> int:
    """Send a statement; returns how many rows it met. Raises DBAPIError as `connection.execute` does."""
    met: int = _sent(connection, statement, values).rowcount
    return met


@contextmanager
def together(connection: Connection) -> Iterator[None]:
    """Send the statements of a block one after another without waiting for their answers, which come at its end.

    Inside, `changed` knows no number. Raises DBAPIError for the first that fails.
    """
    driver: Any = connection.connection.driver_connection
    try:
        with driver.pipeline():
            yield
    except psycopg.Error as error:
        raise _explained(connection, "", {}, error) from error


def is_aborted(connection: Connection) -> bool:
    """Say whether a statement failed and nobody took notice: its savepoint can only be rolled back."""
    driver: Any = connection.connection.driver_connection
    return bool(driver.info.transaction_status == TransactionStatus.INERROR)


def _sent(connection: Connection, statement: TextClause, values: Mapping[str, Any]) -> Any:
    sql, processors = _compiled(statement)
    bound = {**values, **{name: process(values[name]) for name, process in processors}}
    driver: Any = connection.connection.driver_connection
    cursor = driver.cursor(row_factory=namedtuple_row)
    try:
        return cursor.execute(sql, bound)
    except psycopg.Error as error:
        raise _explained(connection, sql, bound, error) from error


def _explained(connection: Connection, sql: str, bound: Mapping[str, Any], error: psycopg.Error) -> Exception:
    """Return the error as SQLAlchemy's; a lost connection is not used again."""
    driver: Any = connection.connection.driver_connection
    lost = connection.dialect.is_disconnect(cast("Any", error), driver, None)
    if lost:
        connection.invalidate(error)
    dialect = connection.dialect
    return DBAPIError.instance(sql, bound, error, psycopg.Error, connection_invalidated=lost, dialect=dialect)


@cache
def _compiled(statement: TextClause) -> tuple[str, Processors]:
    """Return the text for the driver, and what turns values into the driver's, by parameter."""
    compiled = statement.compile(dialect=_DIALECT)
    found = {name: bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT) for name, bind in compiled.binds.items()}
    return str(compiled), tuple((name, process) for name, process in found.items() if process)
