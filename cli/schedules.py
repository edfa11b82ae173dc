"""`cmis schedules`: what a schedule means, before a job has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import moment_at, parse_json, parse_moment
from cli.output import emit_json
from cli.schedules_load import load_command
from cli.session import json_option
from cli.tables import show_rows
from core import clock
from core.errors import InputError, Problem
from engine.rules.reading import shown
from engine.schedule import preview
from engine.schedule.definition import parse_job
from engine.schedule.policies import NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.schedule.occurrences import Note
    from engine.schedule.preview import Row

MAX_COUNT: Final = 1000

_POLICIES: Final = NAMES | {"dst_gap", "dst_fold", "month_end"}
_WORDS: Final = frozenset({"dst_gap", "dst_fold", "month_end", "misfire", "overlap"})
_LONGEST_NUMBER: Final = 20
_BADGES: Final[dict[Note, str]] = {
    "gap_moved": "moved: the clocks pass over its time",
    "fold_first": "first of two: the clocks go back",
    "fold_second": "second of two: the clocks went back",
    "month_end": "last day: the month is shorter",
}


@click.group()
def schedules() -> None:
    """Schedules: what they mean, before a job has them."""


schedules.add_command(load_command)


@schedules.command("preview")
@click.option("--cron", "expression", metavar="EXPRESSION", help="Five fields, as in '30 9 * * 1-5', or @daily.")
@click.option("--recurring", metavar="JSON", help="An object: frequency, interval, time_of_day, days_of_week ...")
@click.option("--tz", "timezone", required=True, metavar="ZONE", help="IANA zone, as in Europe/Berlin.")
@click.option("--from", "since", metavar="TIME", help="Only times after it; without an offset local [default: now].")
@click.option("--count", type=click.IntRange(1, MAX_COUNT), default=10, show_default=True, help="How many at most.")
@click.option("--policy", "given", multiple=True, metavar="NAME=VALUE", help="As in dst_fold=both; repeatable.")
@json_option
def preview_command(
    expression: str | None,
    recurring: str | None,
    timezone: str,
    since: str | None,
    count: int,
    given: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show when a schedule fires next, and what changes of clocks and short months do to it. Needs no database.

    A recurrence without start_date counts from --from. Times that a policy skips are left out. All policies of a job
    are accepted and checked; dst_gap, dst_fold and month_end change the times.

    \b
    Examples:
      cmis schedules preview --cron "30 1 * * *" --tz America/New_York --from 2026-10-31 --policy dst_fold=both
      cmis schedules preview --recurring '{"frequency": "monthly", "day_of_month": 31}' --tz Europe/Berlin
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    policies = _policies(given)
    document = _schedule(expression, recurring, timezone)
    for name in sorted(policies.keys() & document.keys()):
        raise InputError.of(f"--policy {name}", "stands in --recurring, too", "give it once")
    try:
        after = _since(since, timezone)
        schedule, _ = parse_job(document | policies, now=after, ahead=False)
    except InputError as error:
        options = {name: f"--policy {name}" for name in policies} | {"timezone": "--tz"}
        if expression is not None:
            options["cron_expression"] = "--cron"
        raise InputError([replace(one, field=options.get(one.field, one.field)) for one in error.problems]) from error
    rows = preview.rows(schedule, after, count)
    if as_json:
        emit_json(rows)
    else:
        show_times(f"Next times in {timezone}", rows)


def show_times(title: str, rows: Sequence[Row]) -> None:
    """Print the rows of a preview as a table."""
    table = [
        {"local time": _with_weekday(row["local"]), "UTC": row["utc"].replace("T", " "), "note": _badge(row["note"])}
        for row in rows
    ]
    show_rows(title, table, ["local time", "UTC", "note"], hint="The schedule is over.")


def _with_weekday(local: str) -> str:
    moment = datetime.fromisoformat(local)
    return f"{moment:%a} {moment.isoformat(sep=' ')}"


def _badge(note: Note | None) -> str:
    return "" if note is None else _BADGES[note]


def _schedule(expression: str | None, recurring: str | None, timezone: str) -> dict[str, Any]:
    if (expression is None) == (recurring is None):
        found = "--cron and --recurring" if recurring is not None else "neither"
        raise InputError.of("schedule", f"is given by {found}", "give one of --cron and --recurring")
    if recurring is None:
        return {"schedule_type": "cron", "cron_expression": expression, "timezone": timezone}
    document = parse_json("--recurring", recurring)
    if not isinstance(document, dict):
        raise InputError.of("--recurring", f"cannot be {shown(document)}", 'give an object: {"frequency": "daily"}')
    for name, value in (("schedule_type", "recurring"), ("timezone", timezone)):
        if document.get(name) not in (None, value):
            raise InputError.of(name, f"{shown(document[name])} is not {value!r}", "leave it out of --recurring")
    return document | {"schedule_type": "recurring", "timezone": timezone}


def _policies(given: Sequence[str]) -> dict[str, Any]:
    """Read each NAME=VALUE; whether the value is one of the policy's is for the definition to say."""
    read: dict[str, Any] = {}
    problems: list[Problem] = []
    for text in given:
        name, _, value = text.partition("=")
        if name not in _POLICIES:
            problems.append(Problem("--policy", f"{shown(name)} is no policy", f"use {', '.join(sorted(_POLICIES))}"))
        elif not value:
            problems.append(Problem("--policy", f"{shown(text)} has no value", f"write {name}=VALUE"))
        elif name in read:
            problems.append(Problem("--policy", f"{name} is given twice", "give it once"))
        else:
            read[name] = value if name in _WORDS else _number(value)
    if problems:
        raise InputError(problems)
    return read


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER else text


def _since(text: str | None, timezone: str) -> datetime:
    now = clock.of_host()
    return now if text is None else moment_at(parse_moment("--from", text, timezone), now)
