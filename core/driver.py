"""Statements straight to the driver, for what a worker sends with every task.

In the caller's transaction, with the text and the values that SQLAlchemy would send: it compiles a statement once. Its
execution, which costs as much as many a statement does, is left out.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import namedtuple_row
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import Uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import BindParameter, Connection, Dialect, TextClause

    Processors = tuple[tuple[str, Callable[[Any], Any]], ...]

_SAVE: Final = text("SAVEPOINT cmis_driver")
_RELEASE: Final = text("RELEASE SAVEPOINT cmis_driver")
_BACK: Final = text("ROLLBACK TO SAVEPOINT cmis_driver")
_CURSORS: Final = "cmis.cursors"
_DIALECT: Final[Dialect] = psycopg_dialect()  # type: ignore[no-untyped-call]


def rows(connection: Connection, statement: TextClause, values: Mapping[str, Any]) -> list[Any]:
    """Send a statement; returns its rows as named tuples. Raises DBAPIError as `connection.execute` does."""
    found: list[Any] = _sent(connection, statement, values).fetchall()
    return found


def all_rows(connection: Connection, statements: Iterable[tuple[TextClause, Mapping[str, Any]]]) -> list[list[Any]]:
    """Send different statements one after another, and then take the rows of each as `rows` does: one round trip."""
    with together(connection):
        cursors = [_sent(connection, statement, values) for statement, values in statements]
        return [cursor.fetchall() for cursor in cursors]


def asked(connection: Connection, statement: TextClause, values: Mapping[str, Any]) -> Callable[[], list[Any]]:
    """Send a statement whose rows can be had after the block of `together` that it is in, until it is sent again."""
    found: Callable[[], list[Any]] = _sent(connection, statement, values).fetchall
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


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """Undo what a block has done if it raises, and nothing before it; within it others may set savepoints, too."""
    _sent(connection, _SAVE, {})
    try:
        yield
        _sent(connection, _RELEASE, {})
    except BaseException:
        if not connection.invalidated:
            _sent(connection, _BACK, {})
        raise


def _sent(connection: Connection, statement: TextClause, values: Mapping[str, Any]) -> Any:
    compiled = _compiled(statement)
    bound = dict(values)
    for name, process in compiled.processors:
        bound[name] = process(bound[name])
    try:
        return _cursor(connection, compiled).execute(compiled.sql, bound)
    except psycopg.Error as error:
        raise _explained(connection, compiled.sql, bound, error) from error


def _cursor(connection: Connection, compiled: _Compiled) -> Any:
    """Return the statement's cursor of this connection, which knows how its values and its columns are read."""
    pooled = connection.connection
    cursors = pooled.info.setdefault(_CURSORS, {})
    cursor = cursors.get(compiled.sql)
    if cursor is None:
        driver: Any = pooled.driver_connection
        cursor = cursors[compiled.sql] = driver.cursor(row_factory=compiled.rows)
    return cursor


def _explained(connection: Connection, sql: str, bound: Mapping[str, Any], error: psycopg.Error) -> Exception:
    """Return the error as SQLAlchemy's; a lost connection is not used again."""
    driver: Any = connection.connection.driver_connection
    lost = connection.dialect.is_disconnect(cast("Any", error), driver, None)
    if lost:
        connection.invalidate(error)
    dialect = connection.dialect
    return DBAPIError.instance(sql, bound, error, psycopg.Error, connection_invalidated=lost, dialect=dialect)


@dataclass(slots=True)
class _Compiled:
    """The text of a statement for the driver, and what turns values into the driver's, by parameter."""

    sql: str
    processors: Processors
    _make: Callable[[Sequence[Any]], Any] | None = None

    def rows(self, cursor: Any) -> Callable[[Sequence[Any]], Any]:
        """Return what makes a named tuple of a row's values: the same one each time, as a statement's columns are."""
        if self._make is None:
            make = namedtuple_row(cursor)
            row = getattr(make, "__self__", None)  # none where the statement returns no rows
            self._make = make if row is None else partial(tuple.__new__, row)
        return self._make


@cache
def _compiled(statement: TextClause) -> _Compiled:
    compiled = statement.compile(dialect=_DIALECT)
    found = {name: _processor(bind) for name, bind in compiled.binds.items()}
    return _Compiled(str(compiled), tuple((name, process) for name, process in found.items() if process))


def _processor(bind: BindParameter[Any]) -> Callable[[Any], Any] | None:
    if isinstance(bind.type, ARRAY) and isinstance(bind.type.item_type, Uuid):
        return _uuids
    return bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)


def _uuids(ids: Iterable[UUID]) -> str:
    """Return ids as an array's text, which the statement casts: one by one the driver takes five times as long."""
    return f"{{{','.join([f'{one.int:032x}' for one in ids])}}}"
