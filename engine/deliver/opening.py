"""What a delivery is about to send: its messages with the secrets they name, in a worker's memory only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from core.errors import PermanentError
from engine.secrets import references
from engine.secrets.secret import Secret
from engine.store import connectors, secrets
from models.enums import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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


def opened(connection: Connection, org_id: UUID, rows: Sequence[Row[Any]], keys: Keys) -> Opened:
    """Open the messages of a delivery's effects.

    Raises PermanentError if a secret or a connector that they name is not there, SetupError without the key of one.
    """
    documents = [_document(connection, org_id, row) for row in rows]
    named = set().union(*map(references.names, documents))
    sealed = secrets.sealed(connection, org_id, named) if named else {}
    values = {name: keys.open(org_id, name, row) for name, row in sealed.items()}
    filled = [_revealed(references.fill(document, values)) for document in documents]
    return Opened(filled, [value.reveal() for value in values.values()])


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


def _revealed(document: Any) -> Any:
    """Return a message as its courier sends it; from here on nothing but a courier may read it."""
    if isinstance(document, Secret):
        return document.reveal()
    if isinstance(document, dict):
        return {key: _revealed(value) for key, value in document.items()}
    return [_revealed(value) for value in document] if isinstance(document, list) else document
