"""Read a job's ledger: what became of each planned time, newest first, a month at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from engine.store import occurrences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Row

_INSTANT: Final = timedelta(microseconds=1)


def history(
    connection: Connection, job: Row[Any], *, since: datetime, now: datetime, decision: str | None, limit: int
) -> list[Row[Any]]:
    """Return a job's rows of the ledger, newest first: those that begin from `since` on, and a stretch that reaches in.

    Each statement looks into one month only, and the newest months come first.
    """
    found: list[Row[Any]] = []
    for low, high in _months(since, now):
        left = limit - len(found)
        found += occurrences.between(connection, job.org_id, job.job_id, low, high, decision=decision, limit=left)
        if len(found) == limit:
            return found
    reaching = _reaching(connection, job, since)
    return found if reaching is None or decision not in {None, reaching.decision} else [*found, reaching]


def _reaching(connection: Connection, job: Row[Any], since: datetime) -> Row[Any] | None:
    """Return the stretch that begins before `since` and ends after it: a year of pause may be one row."""
    if job.last_scheduled_for is None or job.last_scheduled_for < since:
        return None
    for low, high in _months(min(job.created_at, job.anchor_at), since - _INSTANT):
        last = occurrences.last_planned(connection, job.org_id, job.job_id, low, high)
        if last is not None:
            return last if last.until >= since else None
    return None


def _months(low: datetime, high: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Yield the period's months in UTC, newest first, each as its first and last instant within the period."""
    low, high = low.astimezone(UTC), high.astimezone(UTC)
    while high >= low:
        first = high.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        yield max(first, low), high
        high = first - _INSTANT
