"""An org's secrets: set, made, erased, listed without their values, moved to another key. By an editor or more.

A value goes in and never comes out again, but into the call that a worker makes.
"""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Any, Final

from core import clock
from core.errors import InputError, NotFoundError
from core.ids import uuid7
from engine.secrets import references
from engine.secrets.sealing import Sealed
from engine.store import actions
from engine.store import secrets as store
from models.enums import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row

    from core.db import Context, Database
    from engine.secrets.sealing import Keys

LONGEST: Final = 8 * 1024
"""Bytes of a value."""
_SIGNING_BYTES: Final = 32
_BATCH: Final = 100


def put(database: Database, context: Context, keys: Keys, name: str, value: str) -> bool:
    """Give a secret its value; returns whether it is new. Raises InputError, which never shows the value."""
    if not references.NAME.fullmatch(name):
        remedy = "use small letters, digits, _ and -, a letter first, at most 63"
        raise InputError.of("NAME", f"{name[:80]!r} is no name of a secret", remedy)
    if not 0 < len(value.encode()) <= LONGEST or "\0" in value:
        raise InputError.of("value", f"must be a text of 1 to {LONGEST} bytes without NUL", "give another one")
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        now = clock.now(connection)
        sealed = keys.seal(context.org_id, name, value)
        return store.put(connection, context.org_id, name, uuid7(now), sealed, now=now)


def signing_secret() -> str:
    """Make a secret that webhooks can be signed with (Standard Webhooks: `whsec_` and 32 random bytes in base64)."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(_SIGNING_BYTES)).decode()}"


def erase(database: Database, context: Context, name: str) -> None:
    """Erase a secret's value; what names it fails from then on. Raises NotFoundError."""
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        if not store.erase(connection, context.org_id, name, now=clock.now(connection)):
            raise NotFoundError.of("NAME", f"there is no secret {name[:80]!r} in this org", "see `cmis secrets list`")


def listing(database: Database, context: Context) -> Sequence[Row[Any]]:
    """Return (name, key_id, created_at, updated_at) of an org's secrets."""
    with database.transaction(context) as connection:
        return store.listing(connection, context.org_id)


def rotate(database: Database, context: Context, keys: Keys) -> int:
    """Encrypt by the current key whatever another one does; returns how many values that were.

    Raises SetupError if a key is not there any more; what was done by then is kept.
    """
    done = 0
    while moved := _rotate_some(database, context, keys):
        done += moved
    return done


def _rotate_some(database: Database, context: Context, keys: Keys) -> int:
    org_id = context.org_id
    with database.transaction(context) as connection:
        actions.require_role(connection, Role.EDITOR)
        rows = store.under_other_keys(connection, org_id, keys.current, _BATCH)
        for row in rows:
            value = keys.open(org_id, row.name, Sealed(row.key_id, row.nonce, row.ciphertext))
            store.reseal(connection, org_id, row.name, keys.seal(org_id, row.name, value))
    return len(rows)
