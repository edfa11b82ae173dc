"""How secrets are encrypted at rest: AES-256-GCM (NIST SP 800-38D), bound to their org and name.

The keys are the deployment's (CMIS_SECRET_KEYS); the database holds the id of the key beside each value, so that keys
can be replaced one after another. A value that is copied to another row does not open there.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import PermanentError, SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_REMEDY: Final = "set CMIS_SECRET_KEYS to `id=key`, the key being 32 random bytes in base64 (`openssl rand -base64 32`)"


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted value, and the id of the key that opens it."""

    key_id: str
    nonce: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """The deployment's keys: the current one seals, all of them open."""

    current: str
    _keys: Mapping[str, AESGCM] = field(repr=False)

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read `id=base64,older=base64`, the current one first. Raises SetupError, which shows none of it."""
        if not text:
            raise SetupError("CMIS_SECRET_KEYS is not set, and secrets cannot be opened without", _REMEDY)
        keys: dict[str, AESGCM] = {}
        for place, entry in enumerate(text.split(","), start=1):
            key_id, _, encoded = entry.strip().partition("=")
            if not _KEY_ID.fullmatch(key_id) or key_id in keys:
                raise SetupError(f"entry {place} of CMIS_SECRET_KEYS has no id of its own", _REMEDY)
            keys[key_id] = AESGCM(_key(encoded, place))
        return cls(next(iter(keys)), keys)

    def seal(self, org_id: UUID, name: str, value: str) -> Sealed:
        """Encrypt a value by the current key, for this org and name only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        ciphertext = self._keys[self.current].encrypt(nonce, value.encode(), _bound_to(org_id, name))
        return Sealed(self.current, nonce, ciphertext)

    def open(self, org_id: UUID, name: str, sealed: Sealed) -> str:
        """Decrypt a value. Raises SetupError if its key is not there, PermanentError if it is not this secret's."""
        if sealed.key_id not in self._keys:
            message = f"the key {sealed.key_id} of secret {name} is not among CMIS_SECRET_KEYS"
            raise SetupError(message, "add it again after the current one, then run `cmis secrets rotate`")
        try:
            return self._keys[sealed.key_id].decrypt(sealed.nonce, sealed.ciphertext, _bound_to(org_id, name)).decode()
        except InvalidTag:
            message = f"secret {name} does not open: its row was changed, or its key is another one of the same id"
            raise PermanentError(message) from None


def _key(encoded: str, place: int) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise SetupError(f"the key of entry {place} of CMIS_SECRET_KEYS is not 32 bytes in base64", _REMEDY)
    return key


def _bound_to(org_id: UUID, name: str) -> bytes:
    """Return what a value is bound to: the id has a fixed length, so that no other pair reads the same."""
    return org_id.bytes + name.encode()
