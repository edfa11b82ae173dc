"""What a receiver answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: any status, redirects too. Names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """The beginning, 64 KiB at most, as it was sent: nothing is unpacked."""
    truncated: bool
    """Whether there was more of it."""
