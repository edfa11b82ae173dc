"""What became of a COMMIT whose answer did not arrive: it may have happened. It is found out, never simply repeated."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Connection

    Landed: TypeAlias = Callable[[Connection], bool | None]
    """Says in a later transaction whether what an earlier one wrote is there; None: that one has not ended yet."""

logger = logging.getLogger(__name__)

_PAUSES: Final = (0.1, 0.4, 1.0, 2.0, 4.0)
"""Seconds before each question; a transaction whose client is gone lasts as long as a statement may, at most."""
_REFUSALS: Final = frozenset({"57014"})
_NAME = text("SELECT pg_current_xact_id_if_assigned()::text AS xid, pg_postmaster_start_time() AS since")
_STATUS = text(
    "SELECT CASE WHEN pg_postmaster_start_time() = :since THEN pg_xact_status(CAST(:xid AS xid8)) END AS status"
)


class CommitUnknownError(OperationalError):
    """Whether a transaction was committed could not be found out: the database is out of reach. It may have been."""


class Name(NamedTuple):
    """A transaction as its server knows it; `xid` None: it has written nothing."""

    xid: str | None
    since: datetime
    """When the server started: one that crashed may give a name away again that was never written down."""


def name(connection: Connection) -> Name:
    """Return the name of a transaction that is about to be committed."""
    return Name._make(connection.execute(_NAME).one())


def landed(named: Name) -> Landed:
    """Return what asks the server whether a transaction was committed."""

    def ask(connection: Connection) -> bool | None:
        if named.xid is None:
            return True
        status = connection.execute(_STATUS, named._asdict()).scalar_one()
        return {"committed": True, "aborted": False}.get(status)

    return ask


def is_open(error: DBAPIError) -> bool:
    """Say whether a COMMIT that ended in this error may have happened: the server did not refuse it expressly."""
    state: Any = getattr(error.orig, "sqlstate", None)
    return state is None or error.connection_invalidated or (state[:2] in {"08", "57"} and state not in _REFUSALS)


def find_out(ask: Callable[[], bool | None], error: DBAPIError) -> None:
    """Return if the transaction whose COMMIT ended in `error` has happened; raise `error` if it has not.

    Raises CommitUnknownError if nobody answers.
    """
    for pause in _PAUSES:
        time.sleep(pause)
        try:
            answer = ask()
        except DBAPIError as again:
            logger.debug("cannot be asked yet: %s", type(again).__name__)
            continue
        if answer is not None:
            logger.warning(
                "the answer to a COMMIT was lost, and it %s", "had happened" if answer else "had not happened"
            )
            if answer:
                return
            raise error
    raise unknown(error) from error


def unknown(error: DBAPIError) -> CommitUnknownError:
    """Return the error that says so of a COMMIT that ended in `error`."""
    return CommitUnknownError("COMMIT", None, error.orig or error, connection_invalidated=True)
