"""What is true of every pooled connection: it is in a transaction when it is used, and it lived a moment ago.

One that lay idle is asked whether it lives before it is used again, one that was just used is not. SQLAlchemy's
`pool_pre_ping` asks before every transaction, which costs a busy process one round trip in ten. A connection may break
at any moment, and whoever uses one must be ready for that: this only keeps what broke while it lay idle from being
somebody's error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError

from core.clock import monotonic

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

MOMENT: Final = 1.0
"""For how long (seconds) a connection that came back is trusted."""
_RETURNED: Final = "cmis.returned"


def watch(engine: Engine) -> None:
    """Replace each of the engine's connections that lay idle and does not answer, and all that are as old."""

    def returned(_connection: object, entry: ConnectionPoolEntry) -> None:
        entry.info[_RETURNED] = monotonic()

    def taken(connection: Any, entry: ConnectionPoolEntry, _lent: object) -> None:
        since = entry.info.get(_RETURNED)  # a new one has none
        if since is None or monotonic() - since <= MOMENT:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg.Error as error:
            raise InvalidatePoolError from error

    event.listen(engine, "connect", _forbid_autocommit)
    event.listen(engine, "checkin", returned)
    event.listen(engine, "checkout", taken)


def _forbid_autocommit(connection: psycopg.Connection[tuple[object, ...]], _entry: object) -> None:
    if connection.autocommit:  # a tenant's context lives in a transaction; without one it would see nothing, or worse
        message = "tenant connections must not be in autocommit mode"
        raise RuntimeError(message)
