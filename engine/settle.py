"""Record planned times that will not run any more, so many a transaction, and move the job's cursor past them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.schedule.occurrences import next_occurrence, next_planned
from engine.schedule.past import cursor, settle
from engine.schedule.stored import of_row
from engine.store import jobs, occurrences

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, Row

    from engine.schedule.past import Gone, Reason

STEP: Final = 2_000
"""How many planned times one transaction records; the next one goes on where it ended."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Where a job's cursor is, its past being recorded; `next_run_at` None: its schedule fires no more."""

    last_scheduled_for: datetime | None
    next_run_at: datetime | None


def settle_past(connection: Connection, job: Row[Any], reason: Reason, *, now: datetime) -> Settled | None:
    """Record the planned times of a locked job up to `now`, each as it was skipped.

    None if there are more than one transaction records: the cursor has moved so far, and after the commit the caller
    goes on. The last step leaves the cursor to the caller, who writes it with the change that it makes.
    """
    schedule = of_row(job)
    after = cursor(schedule, job.last_scheduled_for, job.revised_at or job.created_at)
    previous = job.last_scheduled_for or job.anchor_at
    past = settle(schedule, after=after, now=now, previous=previous, reason=reason, limit=STEP)
    rows = [_row(gone) | {"job_id": job.job_id, "job_revision": job.revision} for gone in past.rows]
    occurrences.insert_skipped(connection, job.org_id, rows, now=now)
    last = past.last or job.last_scheduled_for
    if last is None or past.complete:
        following = next_occurrence(schedule, max(after, now))
        return Settled(last, following.at if following else None)
    # An active job must have a next time: one that is skipped serves, too, until the next step.
    undecided = next_occurrence(schedule, last) or next_planned(schedule, last)
    jobs.move_cursor(connection, job.org_id, job.job_id, last=last, next_run_at=undecided.at if undecided else None)
    return None


def _row(gone: Gone) -> dict[str, Any]:
    return {name: getattr(gone, name) for name in ("scheduled_for", "until", "count", "decision", "previous")}
