"""The only place that reads a clock. Domain time is the database's (`cmis.clock()`): no host's clock matters."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from sqlalchemy import text

from core import driver

if TYPE_CHECKING:
    from sqlalchemy import Connection

_NOW = text("SELECT cmis.clock()")


def now(connection: Connection) -> datetime:
    """Return the database's time (aware UTC), test offset included. Read it once per transaction and pass it on."""
    [[moment]] = driver.rows(connection, _NOW, {})
    return cast("datetime", moment)


def of_host() -> datetime:
    """Return this machine's time (aware UTC): for commands without a database; nothing that is stored comes of it."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Return seconds on a clock that never jumps; for durations and deadlines inside one process only."""
    return time.monotonic()
