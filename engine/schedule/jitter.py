"""Jitter: how much later than planned a run starts, so that jobs planned for the same minute spread out. Pure."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


def jitter(job_id: UUID, scheduled_for: datetime, seconds: int) -> timedelta:
    """Return a delay of whole seconds from 0 to `seconds`, the same for the same planned time of the same job."""
    seed = job_id.bytes + int(scheduled_for.timestamp()).to_bytes(8, "big", signed=True)
    drawn = int.from_bytes(hashlib.sha256(seed).digest()[:8], "big")
    return timedelta(seconds=drawn % (seconds + 1))
