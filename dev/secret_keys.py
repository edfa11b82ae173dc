"""The key that the secrets of embedded or throw-away databases are encrypted with: made once, kept beside the data."""

from __future__ import annotations

import base64
import os
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_FILE: Final = "secret.keys"
_KEY_BYTES: Final = 32


def kept_in(directory: Path) -> str:
    """Return the keys (as CMIS_SECRET_KEYS has them) of a directory; a file that only we may read is made if needed."""
    path = directory / _FILE
    directory.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    keys = f"dev={base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}"
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{keys}\n")
    return keys
