"""A slower disk, emulated: every commit sleeps before its flush, whosever it is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg

if TYPE_CHECKING:
    from collections.abc import Iterator

MICROSECONDS: Final = 2_000
_SLOW: Final = (f"ALTER SYSTEM SET commit_delay = {MICROSECONDS}", "ALTER SYSTEM SET commit_siblings = 0")
_AS_IT_IS: Final = ("ALTER SYSTEM RESET commit_delay", "ALTER SYSTEM RESET commit_siblings")


@contextmanager
def slow_disk(administrator: str) -> Iterator[None]:
    """Make every commit on the server take two milliseconds longer, for all connections."""
    with psycopg.connect(administrator, autocommit=True) as connection:
        _set(connection, _SLOW)
        try:
            yield
        finally:
            _set(connection, _AS_IT_IS)


def _set(connection: psycopg.Connection, statements: tuple[str, str]) -> None:
    for statement in statements:
        connection.execute(statement)
    connection.execute("SELECT pg_reload_conf()")
