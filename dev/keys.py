"""The key for secrets where the environment names none: of a throw-away run, or kept with its data."""

from __future__ import annotations

import base64
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

VARIABLE: Final = "CMIS_SECRET_KEYS"
_FILE: Final = "secret-keys"


def new_keys() -> str:
    """Return a new key as `CMIS_SECRET_KEYS` has it. Its id is new, too, so that it is never taken for a lost one."""
    return f"dev-{secrets.token_hex(4)}={base64.b64encode(secrets.token_bytes(32)).decode()}"


def kept_keys(data: Path) -> str:
    """Return the keys in the directory `data`, for its owner's eyes only; makes them the first time.

    The file is written beside its place and put there whole; of two runs at once the second takes the first one's.
    """
    file = data / _FILE
    if not file.exists():
        data.mkdir(parents=True, exist_ok=True)
        handle, new = tempfile.mkstemp(prefix=f"{_FILE}.", dir=data)  # mode 0600
        try:
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(f"{new_keys()}\n")
                stream.flush()
                os.fsync(stream.fileno())
            with suppress(FileExistsError):
                os.link(new, file)
        finally:
            Path(new).unlink()
    return file.read_text(encoding="ascii").strip()
