"""What workers dropped, counted by reason: written by the app through one function, read by the readonly role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

_COUNT: Final = text("SELECT cmis.count_dropped(:counts)").bindparams(bindparam("counts", type_=JSONB))
_ALL: Final = text("SELECT reason, messages FROM cmis.dropped_messages ORDER BY reason")


def count_dropped(connection: Connection, counts: Mapping[str, int]) -> None:
    """Add to the counts, by reason (`models.enums.Dropped`)."""
    connection.execute(_COUNT, {"counts": dict(counts)})


def dropped_messages(connection: Connection) -> dict[str, int]:
    """Return how many messages all workers have dropped so far, by reason; those that never occurred are left out."""
    return {row.reason: row.messages for row in connection.execute(_ALL)}
