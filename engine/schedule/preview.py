"""What is to come of a schedule, for people: when it fires next, in UTC and on its own clock, each with its badge."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, TypedDict

from engine.schedule import zones
from engine.schedule.occurrences import occurrences

if TYPE_CHECKING:
    from datetime import datetime

    from engine.schedule.definition import Schedule
    from engine.schedule.occurrences import Note


class Row(TypedDict):
    """One time in ISO 8601: `utc` with `Z`, `local` with its offset; `note` says what moved or doubled it."""

    utc: str
    local: str
    note: Note | None


def rows(schedule: Schedule, after: datetime, count: int) -> list[Row]:
    """Return the next `count` times strictly after `after` (aware) at which the schedule fires; fewer if it ends.

    Planned times that its policies skip are left out.
    """
    tz = zones.zone(schedule.timezone)
    return [
        Row(
            utc=found.at.isoformat().replace("+00:00", "Z"),
            local=found.at.astimezone(tz).isoformat(),
            note=found.note,
        )
        for found in islice(occurrences(schedule, after), count)
    ]
