"""Standard Webhooks signatures: https://www.standardwebhooks.com. The only importer of the package. Pure."""

from __future__ import annotations

import base64
import re
from datetime import UTC
from typing import TYPE_CHECKING, Final

from standardwebhooks import Webhook

from core.errors import PermanentError

if TYPE_CHECKING:
    from datetime import datetime

_SECRET: Final = re.compile(r"(?:whsec_)?([A-Za-z0-9+/]+={0,2})")
_BYTES: Final = range(24, 65)
NAMES: Final = ("webhook-id", "webhook-timestamp", "webhook-signature", "idempotency-key")


def signed(secret: str, body: str, *, key: str, now: datetime) -> dict[str, str]:
    """Return the headers that vouch for a message: its id and key, the attempt's time, and the signature of all three.

    Raises PermanentError if `secret` is none of Standard Webhooks'.
    """
    moment = now.astimezone(UTC)
    return {
        "webhook-id": key,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(_key(secret)).sign(key, moment, body),
        "idempotency-key": key,
    }


def _key(secret: str) -> bytes:
    """Read the secret as strictly as the standard says: the package takes any text, and drops what is no base64."""
    found = _SECRET.fullmatch(secret)
    unpadded = found[1].rstrip("=") if found else ""
    if len(unpadded) % 4 != 1 and len(key := base64.b64decode(unpadded + "==")) in _BYTES:
        return key
    raise PermanentError(
        "the signing secret is no whsec_… of 24 to 64 bytes in base64; make one by `cmis secrets generate`"
    )
