"""What a call wrote to stdout and stderr: its beginning and its end, however much it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_HEAD: Final = 8 * 1024
_TAIL: Final = 8 * 1024


@dataclass(slots=True)
class Said:
    """Bytes as they come; at most 16 KiB are kept."""

    head: bytearray = field(default_factory=bytearray)
    tail: bytearray = field(default_factory=bytearray)
    left_out: int = 0
    """Bytes between head and tail that are gone."""

    def add(self, chunk: bytes) -> None:
        """Take what comes next."""
        room = _HEAD - len(self.head)
        self.head += chunk[:room]
        self.tail += chunk[room:]
        if (much := len(self.tail) - _TAIL) > 0:
            del self.tail[:much]
            self.left_out += much

    def text(self) -> str:
        """Return it as text, with a line in the middle that tells how much is left out."""
        gap = f"\n… {self.left_out} bytes are left out …\n".encode() if self.left_out else b""
        return bytes(self.head + gap + self.tail).decode(errors="replace")
