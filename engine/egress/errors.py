"""How a call outside fails, by what is known of it: it was refused here, nothing was sent, or it broke off."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import CmisError, PermanentError

if TYPE_CHECKING:
    from engine.egress.response import Response


class BlockedError(PermanentError):
    """The call was refused before anything was sent: its URL, an address of its host, a header or its size.

    `reason` and `remedy` name hosts and addresses, never a URL's path, its query or a header's value: those may be
    secret.
    """

    code = "EGRESS_BLOCKED"

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{reason} ({remedy})")


class NotSentError(CmisError):
    """Certainly nothing of the request was sent: its host has no address, did not answer, or has no valid TLS."""

    code = "EGRESS_NOT_SENT"


class BrokenError(CmisError):
    """The call broke off after sending began: the receiver may have taken it.

    `response`: what had come of the answer, `truncated`, if its status and headers had.
    """

    code = "EGRESS_BROKEN"

    def __init__(self, reason: str, response: Response | None = None) -> None:
        self.response = response
        super().__init__(reason)
