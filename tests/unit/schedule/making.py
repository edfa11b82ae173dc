"""Schedules and times for the tests of this folder, in as few words as they need."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from engine.schedule.definition import Schedule, parse
from engine.schedule.occurrences import Note, Occurrence, occurrences

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.schedule.definition import DstFold, DstGap

AWKWARD_ZONES = (
    "America/New_York",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/London",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Africa/Casablanca",
    "Africa/Cairo",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "America/Sao_Paulo",
    "America/Caracas",
    "America/Nuuk",
    "Asia/Beirut",
    "Asia/Tehran",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Atlantic/Azores",
    "Antarctica/Casey",
    "America/Goose_Bay",
    "America/Scoresbysund",
    "Pacific/Fakaofo",
    "Asia/Amman",
    "UTC",
)


def at(text: str) -> datetime:
    """Read an ISO time; one without an offset is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def recurring(start: str, **columns: object) -> Schedule:
    """Return a schedule as if it had been made at its start."""
    return parse({"start_date": start, **columns}, now=at(start) if "T" in start else at(f"{start}T00:00"))


def cron(
    expression: str, timezone: str = "UTC", *, dst_gap: DstGap = "next_valid", dst_fold: DstFold = "first"
) -> Schedule:
    """Return a cron schedule without bounds."""
    return Schedule(
        schedule_type="cron",
        cron_expression=expression,
        timezone=timezone,
        anchor=at("2000-01-01"),
        dst_gap=dst_gap,
        dst_fold=dst_fold,
    )


def take(schedule: Schedule, after: str | datetime, count: int) -> list[Occurrence]:
    """Return the next planned times."""
    return list(islice(occurrences(schedule, at(after) if isinstance(after, str) else after), count))


def shown(found: Iterable[Occurrence]) -> list[str]:
    """Return planned times as `2026-03-08 07:00`, in UTC."""
    return [f"{occurrence.at:%Y-%m-%d %H:%M}" for occurrence in found]


def notes(found: Iterable[Occurrence]) -> list[Note | None]:
    """Return the notes alone."""
    return [occurrence.note for occurrence in found]
