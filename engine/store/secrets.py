"""Secrets as the database holds them: encrypted, or erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import LargeBinary, Text

from models import Secret

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.secrets.sealing import Sealed

_NONCE = bindparam("nonce", type_=LargeBinary())
_CIPHERTEXT = bindparam("ciphertext", type_=LargeBinary())
_SEALED = text("""
SELECT name, key_id, nonce, ciphertext FROM cmis.secrets
 WHERE org_id = :org_id AND name = ANY (:names) AND ciphertext IS NOT NULL
""").bindparams(bindparam("names", type_=ARRAY(Text())))

_PUT = text("""
INSERT INTO cmis.secrets (org_id, name, secret_id, key_id, nonce, ciphertext, created_at, updated_at)
VALUES (:org_id, :name, :secret_id, :key_id, :nonce, :ciphertext, :now, :now)
ON CONFLICT (org_id, name) DO UPDATE SET key_id = excluded.key_id, nonce = excluded.nonce,
  ciphertext = excluded.ciphertext, updated_at = excluded.updated_at, deleted_at = NULL
RETURNING secret_id = :secret_id
""").bindparams(_NONCE, _CIPHERTEXT)
_ERASE = text("""
UPDATE cmis.secrets SET nonce = NULL, ciphertext = NULL, deleted_at = :now, updated_at = :now
 WHERE org_id = :org_id AND name = :name AND ciphertext IS NOT NULL
""")
_OTHERS = text("""
SELECT name, key_id, nonce, ciphertext FROM cmis.secrets
 WHERE org_id = :org_id AND key_id <> :key_id AND ciphertext IS NOT NULL ORDER BY name LIMIT :limit FOR NO KEY UPDATE
""")
_RESEAL = text("""
UPDATE cmis.secrets SET key_id = :key_id, nonce = :nonce, ciphertext = :ciphertext WHERE org_id = :org_id AND name = :name
""").bindparams(_NONCE, _CIPHERTEXT)


def sealed(connection: Connection, org_id: UUID, names: Collection[str]) -> dict[str, Row[Any]]:
    """Return (name, key_id, nonce, ciphertext) of those of the names that have a value."""
    if not names:
        return {}
    found = connection.execute(_SEALED, {"org_id": org_id, "names": sorted(names)})
    return {row.name: row for row in found}


def put(connection: Connection, org_id: UUID, name: str, secret_id: UUID, sealed: Sealed, *, now: datetime) -> bool:
    """Give a name a value, in place of the one it may have; returns whether the name is new."""
    key = {"org_id": org_id, "name": name, "secret_id": secret_id, "now": now}
    values = {"key_id": sealed.key_id, "nonce": sealed.nonce, "ciphertext": sealed.ciphertext}
    new: bool = connection.execute(_PUT, key | values).scalar_one()
    return new


def erase(connection: Connection, org_id: UUID, name: str, *, now: datetime) -> bool:
    """Erase a value; False if there is none."""
    return connection.execute(_ERASE, {"org_id": org_id, "name": name, "now": now}).rowcount == 1


def listing(connection: Connection, org_id: UUID) -> Sequence[Row[Any]]:
    """Return (name, key_id, created_at, updated_at) of all secrets that have a value, by name."""
    table = Secret.__table__
    columns = (table.c.name, table.c.key_id, table.c.created_at, table.c.updated_at)
    query = select(*columns).where(table.c.org_id == org_id, table.c.ciphertext.is_not(None))
    found: Sequence[Row[Any]] = connection.execute(query.order_by(table.c.name)).all()
    return found


def under_other_keys(connection: Connection, org_id: UUID, key_id: str, limit: int) -> Sequence[Row[Any]]:
    """Lock and return (name, key_id, nonce, ciphertext) of secrets that another key than this seals."""
    return connection.execute(_OTHERS, {"org_id": org_id, "key_id": key_id, "limit": limit}).all()


def reseal(connection: Connection, org_id: UUID, name: str, sealed: Sealed) -> None:
    """Write the same value under another key; when it was set does not change."""
    values = {"key_id": sealed.key_id, "nonce": sealed.nonce, "ciphertext": sealed.ciphertext}
    connection.execute(_RESEAL, {"org_id": org_id, "name": name} | values)
