"""What a receiver's answer means: one table per channel, and one reading of it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from engine.deliver.answers import Delivered, Later, Refused, Unclear

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from engine.deliver.answers import Answer
    from engine.egress.response import Response

LONGEST_WAIT: Final = timedelta(hours=24)
_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_SECONDS: Final = re.compile(r"[0-9]{1,9}")


class Verdict(Enum):
    """What a status says."""

    DELIVERED = auto()
    REFUSED = auto()
    LATER = auto()
    BUSY = auto()
    """Later, and the destination is none the worse for it."""
    UNCLEAR = auto()


@dataclass(frozen=True, slots=True)
class Table:
    """The verdicts of one channel: by status, else by the status's hundred, else unclear."""

    hundreds: Mapping[int, Verdict]
    statuses: Mapping[int, Verdict]
    hints: Mapping[int, str] = field(default_factory=dict)
    """What a status asks the tenant to do."""

    def verdict(self, status: int) -> Verdict:
        """Return what a status means."""
        return self.statuses.get(status) or self.hundreds.get(status // 100, Verdict.UNCLEAR)


HUNDREDS: Final = {2: Verdict.DELIVERED, 3: Verdict.REFUSED, 4: Verdict.REFUSED, 5: Verdict.LATER}
PASSING: Final = {408: Verdict.LATER, 425: Verdict.LATER, 429: Verdict.BUSY}
"""Those of the four hundreds that the same request need not get again."""


def judge(table: Table, response: Response, said: str, *, now: datetime) -> Answer:
    """Say what became of a call that was answered. `said`: the answer's beginning, fit to be stored."""
    status, reason = response.status, _reason(table, response.status)
    match table.verdict(status):
        case Verdict.DELIVERED:
            return Delivered(status, said)
        case Verdict.REFUSED:
            return Refused(reason, status, said)
        case Verdict.UNCLEAR:
            return Unclear(reason, status, said)
        case verdict:
            wait = retry_after(response.headers.get("retry-after"), now)
            return Later(reason, status, said, wait, blames=verdict is not Verdict.BUSY)


def retry_after(text: str | None, now: datetime) -> timedelta | None:
    """Read a Retry-After, seconds or an HTTP date: at most 24 hours; None where it is neither, or in the past."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        seconds = int(text) if _SECONDS.fullmatch(text) else LONGEST_WAIT.total_seconds()
        return min(timedelta(seconds=seconds), LONGEST_WAIT) or None
    try:
        moment = parsedate_to_datetime(text)
        wait = moment.replace(tzinfo=moment.tzinfo or UTC) - now
    except (ValueError, OverflowError):
        return None
    return min(wait, LONGEST_WAIT) if wait > timedelta(0) else None


def _reason(table: Table, status: int) -> str:
    named = f" {_PHRASES[status]}" if status in _PHRASES else ""
    hint = table.hints.get(status) or ("redirects are not followed" if status // 100 == 3 else "")  # noqa: PLR2004
    return f"the receiver answered {status}{named}" + (f": {hint}" if hint else "")
