"""Secrets as the database holds them: encrypted, or erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from uuid import UUID

    from sqlalchemy import Connection, Row

_SEALED = text("""
SELECT name, key_id, nonce, ciphertext FROM cmis.secrets
 WHERE org_id = :org_id AND name = ANY (:names) AND ciphertext IS NOT NULL
""").bindparams(bindparam("names", type_=ARRAY(Text())))


def sealed(connection: Connection, org_id: UUID, names: Iterable[str]) -> dict[str, Row[Any]]:
    """Return (name, key_id, nonce, ciphertext) of those of the names that have a value."""
    found = connection.execute(_SEALED, {"org_id": org_id, "names": sorted(names)})
    return {row.name: row for row in found}
