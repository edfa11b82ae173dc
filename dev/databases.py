"""Throw-away databases on a server, each made and dropped by one run."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors, sql

from core.errors import SetupError
from dev.roles import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import Connection


@contextmanager
def temporary_database(variable: str, administrator: str, template: str = "template0") -> Iterator[str]:
    """Make a database with a name of its own, a copy of `template`, and drop it at the end. Yields its name.

    Nobody may be connected to `template`. Raises SetupError naming `variable` when the administrator may not do that.
    """
    name = f"cmis_run_{secrets.token_hex(6)}"
    with connect(variable, administrator) as connection:
        _create(connection, name, template, variable)
    try:
        yield name
    finally:
        _drop(administrator, name)


def create_database(variable: str, administrator: str, name: str) -> None:
    """Make the database `name` if there is none."""
    with connect(variable, administrator) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            _create(connection, name, "template0", variable)


def _create(connection: Connection, name: str, template: str, variable: str) -> None:
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'")
    try:
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    except errors.InsufficientPrivilege:
        raise SetupError(
            f"{variable}: the role {connection.info.user} may not create databases, and throw-away runs need one",
            f"ALTER ROLE {connection.info.user} CREATEDB, or unset {variable} to use an embedded server",
        ) from None
    except psycopg.Error as error:
        raise SetupError(f"{variable}: cannot create a database: {error}", "see the server's log") from None


def _drop(administrator: str, name: str) -> None:
    try:
        with psycopg.connect(administrator, autocommit=True, connect_timeout=5) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    except psycopg.OperationalError:
        return  # the server is gone, and a throw-away database with it
