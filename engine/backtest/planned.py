"""The times of a backtest: those that a rule's own jobs plan, or those of a schedule that is only tried."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from heapq import merge
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

from core.errors import InputError
from engine.schedule.definition import parse
from engine.schedule.occurrences import occurrences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from engine.schedule.definition import Schedule

MAX_SPAN: Final = timedelta(days=400)
MAX_TIMES: Final = 20_000
USUAL: Final = "0 9 * * *"
"""When a rule without a job is tried: daily at 09:00 in the org's zone."""

_INSTANT: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Source:
    """Where planned times come from: a job of the rule, or None for a schedule that no job has."""

    schedule: Schedule
    job_id: UUID | None = None
    job_name: str | None = None


class Time(NamedTuple):
    """One planned time, by the source of that index."""

    at: datetime
    source: int


def tried(expression: str, timezone: str, start: datetime) -> Source:
    """Return a cron schedule that is only tried; InputError says what is wrong with it."""
    return Source(parse({"cron_expression": expression, "timezone": timezone}, now=start))


def check_span(start: datetime, end: datetime, now: datetime) -> None:
    """Refuse a span that is empty, to come, or longer than 400 days; `to` is the field of its end."""
    if end <= start:
        raise InputError.of("to", "is not after the start of the span", "give a later --to or an earlier --from")
    if end > now:
        raise InputError.of("to", f"{end.isoformat()} is still to come", "give a time that is past")
    if end - start > MAX_SPAN:
        message = f"the span has {(end - start).days} days"
        raise InputError.of("from", message, f"give at most {MAX_SPAN.days} days")


def planned(sources: Sequence[Source], start: datetime, end: datetime) -> list[Time]:
    """Return the times at which the sources fire from `start` to `end`, both inclusive, in order.

    A recurrence is taken as if it had always been there: neither its job's making nor its first and last day bound it.
    Raises InputError for more than 20,000.
    """
    each = [_of_source(index, source, start, end) for index, source in enumerate(sources)]
    found = list(islice(merge(*each), MAX_TIMES + 1))
    if len(found) > MAX_TIMES:
        message = f"more than {MAX_TIMES:,} planned times lie in the span"
        raise InputError.of("from", message, "give a shorter span, or try a rarer schedule with --cron or --every")
    return found


def _of_source(index: int, source: Source, start: datetime, end: datetime) -> Iterator[Time]:
    schedule = source.schedule
    if schedule.schedule_type != "once":
        schedule = replace(schedule, start_date=None, end_date=None)
    firing = (Time(one.at, index) for one in occurrences(schedule, start - _INSTANT))
    return takewhile(lambda time: time.at <= end, firing)
