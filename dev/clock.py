"""Moves the database's clock, which is the product's only one, in tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import errors

from core.errors import SetupError
from dev.roles import connect

if TYPE_CHECKING:
    from datetime import datetime, timedelta


def advance_clock(administrator: str, step: timedelta) -> datetime:
    """Move the clock of a migrated database forward by `step`; the new time. Raises SetupError if it has none."""
    with connect("MIGRATION_DATABASE_URL", administrator) as connection:
        try:
            connection.execute("SELECT cmis.advance_clock(%s)", [step])
            row = connection.execute("SELECT cmis.clock()").fetchone()
        except (errors.UndefinedFunction, errors.InvalidSchemaName):
            raise SetupError("this database has no clock to move", "migrate it first: cmis migrate") from None
        except errors.InsufficientPrivilege:
            raise SetupError(
                "MIGRATION_DATABASE_URL may not move the clock", "use the role that ran `cmis migrate`"
            ) from None
    if row is None:
        raise SetupError("this database has no clock to move", "migrate it first: cmis migrate")
    now: datetime = row[0]
    return now
