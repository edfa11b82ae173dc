"""Telling a server that refuses us from one that is away: the first needs a person, the second only time.

libpq hands on what the server said while connecting as text, without its SQLSTATE. What is not known here is taken for
an outage: whoever waits says why every few seconds, and nobody ends again and again.
"""

from __future__ import annotations

import re
from typing import Final

_REFUSALS: Final = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|is not permitted to log in|permission denied"
    r"|(?:role|database) \"[^\"]*\" does not exist|certificate|does not support SSL|invalid (?:port|connection option)",
    re.IGNORECASE,
)


def is_refusal(said: str) -> bool:
    """Say whether a failed connection's message means a wrong password, role, database or option."""
    return _REFUSALS.search(said) is not None
