"""The Procfile: which processes there are. Nothing here runs one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from core.errors import SetupError

if TYPE_CHECKING:
    from pathlib import Path

RELEASE: Final = "release"
"""The entry that runs to its end before the others start."""

_LINE: Final = re.compile(r"(?P<name>[A-Za-z0-9_-]+):\s*(?P<command>\S.*)")


def parse_procfile(text: str) -> dict[str, str]:
    """Return each entry's shell command by name, in order. Raises SetupError naming a line that is no entry."""
    entries: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        entry = _LINE.fullmatch(line.strip())
        if entry is None:
            raise SetupError(f"Procfile, line {number}: not an entry", "write it as `name: command`")
        entries[entry["name"]] = entry["command"]
    return entries


def read_procfile(root: Path) -> dict[str, str]:
    """Read the Procfile of a checkout."""
    try:
        return parse_procfile((root / "Procfile").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SetupError(f"there is no Procfile in {root}", "run this from a checkout of the repository") from None
