"""Which headers a request may carry. Pure. No message quotes a value: it may be a secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from engine.egress.errors import BlockedError

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES: Final = 16 * 1024
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE: Final = re.compile(r"[ -~]*")
OWN: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""What the client says itself: these decide whom the request reaches and where it ends."""


def check(headers: Mapping[str, str]) -> None:
    """Raise BlockedError unless all headers may be sent."""
    for name, value in headers.items():
        if why := refusal(name, value):
            raise BlockedError(*why)
    if sum(len(name) + len(value) + 4 for name, value in headers.items()) > MAX_BYTES:
        raise BlockedError(f"the headers have more than {MAX_BYTES:,} bytes", "send what is long in the body")


def refusal(name: str, value: str) -> tuple[str, str] | None:
    """Return why a header may not be sent and what to do about it, or None."""
    if not _NAME.fullmatch(name):
        return "a header's name is none", "write up to 100 letters, digits and -"
    if name.lower() in OWN or name.lower().startswith("proxy-"):
        return f"the header {name} is the client's own", "leave it out"
    if not _VALUE.fullmatch(value):
        return f"the value of the header {name} has a character that none may have", "use printable ASCII, on one line"
    return None
