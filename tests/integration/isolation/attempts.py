"""Statements that are expected to fail, tried without losing the transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg import sql

    from core.db import Context

REFUSED = "42501"
"""Permission denied, and also: the row violates a policy."""


def attempt(
    connection: psycopg.Connection[Any],
    statement: str | sql.Composed,
    parameters: Mapping[str, Any] | Sequence[Any] | None = None,
) -> int | str:
    """Run a statement in a savepoint; returns how many rows it touched, or the SQLSTATE of its refusal."""
    try:
        with connection.transaction():
            return connection.execute(statement, parameters).rowcount
    except psycopg.Error as error:
        return error.sqlstate or "unknown"


def take(connection: psycopg.Connection[Any], context: Context) -> None:
    """Make `context` the transaction's tenant."""
    connection.execute(
        "SELECT cmis.init_transaction_context(%s, %s, %s)", [context.user_id, context.org_id, context.ip]
    )
