"""What a delivery is about to send: its messages with the secrets they name, in a worker's memory only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import PermanentError
from engine.secrets import references
from engine.secrets.sealing import Sealed
from engine.store import connectors, secrets
from models.enums import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Row

    from engine.deliver.courier import Message
    from engine.secrets.sealing import Keys


@dataclass(frozen=True, slots=True)
class Opened:
    """The messages of one delivery, opened. Its text tells nothing of them."""

    messages: Sequence[Message] = field(repr=False)
    values: Sequence[str] = field(repr=False)
    """The secrets in them, so that whatever is said of the call can be told without."""

    def without_secrets(self, text: str) -> str:
        """Return a text as it may be shown and stored."""
        return references.redact(text, self.values)


def opened(connection: Connection, org_id: UUID, rows: Sequence[Row[Any]], keys: Callable[[], Keys]) -> Opened:
    """Open the messages of a delivery's effects.

    Raises PermanentError if a secret or a connector that they name is not there, SetupError without the key of one.
    """
    documents = [_document(connection, org_id, row) for row in rows]
    named = references.names(documents)
    values = _values(connection, org_id, named, keys) if named else {}
    return Opened([references.fill(document, values) for document in documents], list(values.values()))


def _document(connection: Connection, org_id: UUID, row: Row[Any]) -> Mapping[str, Any]:
    message: dict[str, Any] = row.after
    if row.channel != Channel.CONNECTOR:
        return message
    connector = connectors.get(connection, org_id, row.params["connector_id"])
    if connector is None:
        raise PermanentError("its connector does not exist any more")
    return message | {
        "url": connector.url,
        "signing_secret": connector.signing_secret,
        "verifies": connector.verifies,
    }


def _values(connection: Connection, org_id: UUID, named: set[str], keys: Callable[[], Keys]) -> dict[str, str]:
    rows = secrets.sealed(connection, org_id, named)
    missing = sorted(named - rows.keys())
    if missing:
        message = f"there is no secret {missing[0]} (`cmis secrets set {missing[0]}`)"
        raise PermanentError(message)
    opening = keys()
    return {
        name: opening.open(org_id, name, Sealed(row.key_id, row.nonce, row.ciphertext)) for name, row in rows.items()
    }
