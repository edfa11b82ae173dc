"""Exit codes of long-running processes that mean something to who started them."""

from __future__ import annotations

from typing import Final

STUCK: Final = 75
"""The process found itself alive but of no use and ended: start it again (EX_TEMPFAIL)."""
