"""Export files written by a test, and their reading."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Final

from engine.imports.read import Reading, ReadOptions, read_export

if TYPE_CHECKING:
    from pathlib import Path

LATEST: Final = date(2024, 1, 15)


def read_bytes(directory: Path, content: bytes, **options: Any) -> Reading:
    """Write the bytes to a file and read it as an import does."""
    path = directory / "export.csv"
    path.write_bytes(content)
    return read_export(path, ReadOptions(LATEST, **options), lambda _done, _total: None)
