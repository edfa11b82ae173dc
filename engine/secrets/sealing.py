"""Encryption of values: AES-256-GCM under the deployment's keys, bound to the org and the name that they belong to."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import PermanentError, SetupError
from engine.secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from sqlalchemy import Row

    from core.config import Settings

VARIABLE: Final = "CMIS_SECRET_KEYS"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")  # shorter than a key, so that a key is never taken for an id and shown
_PURPOSE: Final = b"cmis secret 1"
_FORM: Final = "write id=KEY,older=KEY, each KEY the base64 of 32 random bytes (`openssl rand -base64 32`)"


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted value as its row has it."""

    key_id: str
    nonce: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """The deployment's keys by id: the first encrypts, all decrypt. There may be none, until one is needed."""

    _ciphers: Mapping[str, AESGCM] = field(repr=False)

    @classmethod
    def load(cls, settings: Settings) -> Self:
        """Read the keys; raises SetupError where they cannot be read. Where none are set, the first use raises it."""
        entries = (settings.secret_keys or "").strip()
        ciphers: dict[str, AESGCM] = {}
        for place, entry in enumerate(entries.split(",") if entries else [], start=1):
            key_id, key = _read(entry.strip(), place)
            if key_id in ciphers:
                message = f"{VARIABLE} has two keys of the id {key_id!r}"
                raise SetupError(message, "give each key an id of its own")
            ciphers[key_id] = AESGCM(key)
        return cls(ciphers)

    @property
    def current(self) -> str:
        """The id of the key that encrypts; raises SetupError if there is none."""
        if first := next(iter(self._ciphers), None):
            return first
        message = f"{VARIABLE} is not set, and secrets are encrypted with it"
        raise SetupError(message, f"{_FORM}, the same for every process")

    def seal(self, org_id: UUID, name: str, value: str) -> Sealed:
        """Encrypt a value for one org's secret of this name; raises SetupError if there is no key."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        key_id = self.current
        plain = Secret(value).reveal().encode()
        return Sealed(key_id, nonce, self._ciphers[key_id].encrypt(nonce, plain, _belongs_to(org_id, name)))

    def open(self, org_id: UUID, name: str, sealed: Sealed | Row[Any]) -> Secret:
        """Decrypt what was sealed for this org and name, `sealed` being that or its row.

        Raises SetupError where its key is not among ours, PermanentError where it is damaged or another secret's.
        """
        if sealed.key_id not in self._ciphers:
            _ = self.current  # where there is no key at all, that is what is wrong
            message = f"the secret {name!r} is encrypted with the key {sealed.key_id!r}, which {VARIABLE} has not"
            raise SetupError(message, "add that key behind the current one, and restart the process")
        try:
            value = self._ciphers[sealed.key_id].decrypt(sealed.nonce, sealed.ciphertext, _belongs_to(org_id, name))
        except InvalidTag as error:
            remedy = f"`cmis secrets set {name}` gives it a value anew"
            message = f"the value of the secret {name!r} does not open: damaged, or sealed for another ({remedy})"
            raise PermanentError(message) from error
        return Secret(value.decode())


def _read(entry: str, place: int) -> tuple[str, bytes]:
    """Return the id and the key of one entry; what is wrong is told by its place, since it may be a key."""
    key_id, equals, text = entry.partition("=")
    if not equals or not _ID.fullmatch(key_id):
        message = f"entry {place} of {VARIABLE} does not begin with an id of at most 32 letters, digits, _ . or -"
        raise SetupError(message, _FORM)
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        message = f"the key of entry {place} of {VARIABLE} is no base64"
        raise SetupError(message, _FORM) from error
    if len(key) != _KEY_BYTES:
        message = f"the key of entry {place} of {VARIABLE} has {len(key)} bytes, not {_KEY_BYTES}"
        raise SetupError(message, _FORM)
    return key_id, key


def _belongs_to(org_id: UUID, name: str) -> bytes:
    """Return what is authenticated beside the value; each part behind its length, so that none runs into the next."""
    parts = (_PURPOSE, org_id.bytes, name.encode())
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
