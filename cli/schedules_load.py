"""`cmis schedules load`: when work will come due, as a chart, and the minutes in which too much of it does."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click
from rich.markup import escape

from cli.job_options import when
from cli.output import emit_json, out
from cli.session import json_option, open_org, user_option
from core.config import Settings, require
from core.db import Database
from engine.schedule.load import MAX_TIMES, by_day
from engine.schedule.zones import zone
from engine.upcoming import count, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from sqlalchemy import Connection

    from engine.schedule.load import Alike, PileUp
    from engine.upcoming import Upcoming

VARIABLE: Final = "READONLY_DATABASE_URL"
_SHADES: Final = "·░▒▓█"
_STATEMENT_SECONDS: Final = 300
_REMEDY: Final = "spread them: `cmis jobs update JOB --jitter 300`, or plan some for other minutes"


@click.command("load")
@click.option("--days", type=click.IntRange(1, 31), default=7, show_default=True, help="How far to look ahead.")
@click.option("--org", "org_ref", envvar="CMIS_ORG", help=f"Only of this org [default: of all, by {VARIABLE}].")
@user_option
@click.option("--timezone", metavar="ZONE", help="Whose days and hours to show [default: UTC].")
@json_option
def load_command(days: int, org_ref: str | None, user_id: str | None, timezone: str | None, as_json: bool) -> None:
    """Chart when the work of active jobs will come due, and warn of pile-ups.

    Times are planned times; jitter is taken to spread them evenly. A pile-up is a minute of at least 100 jobs and ten
    times the average.

    Example: cmis schedules load --days 14 --org acme
    """
    shown_in = timezone or "UTC"
    zone(shown_in)
    with _connection(org_ref, user_id) as (connection, org_id):
        definitions = read(connection, org_id=org_id, days=days)
    found = count(definitions)
    hours = by_day(found.load, found.minutes, shown_in)
    if as_json:
        emit_json(_document(found, hours, shown_in))
    else:
        _print(found, hours, shown_in)


@contextmanager
def _connection(org_ref: str | None, user_id: str | None) -> Iterator[tuple[Connection, Any]]:
    """Open the org's database as the app role, or without an org everything as the readonly role."""
    if org_ref is not None:
        with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
            yield connection, session.org.org_id
        return
    settings = Settings.load()
    url = require(settings.readonly_database_url, VARIABLE)
    database = Database(url, variable=VARIABLE, application="cmis-load", statement_seconds=_STATEMENT_SECONDS)
    try:
        database.check(test_clock=settings.test_clock)
        with database.snapshot() as connection:
            yield connection, None
    finally:
        database.close()


def _document(found: Upcoming, hours: Mapping[date, list[float]], timezone: str) -> dict[str, Any]:
    return {
        "from": found.load.start,
        "to": found.load.end,
        "timezone": timezone,
        "jobs": found.jobs,
        "due_now": found.due,
        "runs": round(sum(found.minutes)),
        "usual_per_minute": round(found.usual, 2),
        "complete": found.load.left_out == 0,
        "jobs_left_out": found.load.left_out,
        "days": [
            {"date": day, "hours": [round(jobs) for jobs in of_day], "total": round(sum(of_day))}
            for day, of_day in hours.items()
        ],
        "pile_ups_in_all": found.piled_up,
        "pile_ups": [_pile_up(found, one) for one in found.pile_ups],
    }


def _pile_up(found: Upcoming, one: PileUp) -> dict[str, Any]:
    return {
        "minute": one.minute,
        "jobs": one.jobs,
        "orgs": [{"org_id": org_id, "name": found.orgs.get(org_id), "jobs": jobs} for org_id, jobs in one.orgs],
        "definitions": [
            {"when": _when(group), "timezone": group.schedule.timezone, "jobs": group.jobs} for group in one.alike
        ],
        "remedy": _REMEDY,
    }


def _print(found: Upcoming, hours: Mapping[date, list[float]], timezone: str) -> None:
    most = max((jobs for of_day in hours.values() for jobs in of_day), default=0.0)
    lines = [f"{'':10}  {''.join(f'{hour:<4}' for hour in range(0, 24, 2))}      total"]
    for day, of_day in hours.items():
        shades = "".join(_shade(jobs, most) * 2 for jobs in of_day)
        lines.append(f"{day:%a %m-%d}   {shades}  {round(sum(of_day)):>9,}")
    lines.append(f"{'':10}  a {_SHADES[-1] * 2} is an hour of up to {round(most):,} runs; hours are of {timezone}")
    lines.append(
        f"{found.jobs:,} active jobs come due, {found.due:,} of them now; {round(sum(found.minutes)):,} runs planned"
    )
    if found.load.left_out:
        message = f"{found.load.left_out:,} jobs are not counted, or not to the end"
        lines.append(f"{message}: {MAX_TIMES:,} planned times are computed at most; fewer --days show all")
    for one in found.pile_ups:
        lines += _told(found, one)
    if found.piled_up > len(found.pile_ups):
        lines.append(f"  … and {found.piled_up - len(found.pile_ups):,} more minutes; {_REMEDY}")
    elif found.piled_up:
        lines.append(f"  {_REMEDY}")
    out.print(escape("\n".join(lines)), highlight=False, soft_wrap=True)


def _told(found: Upcoming, one: PileUp) -> list[str]:
    orgs = ", ".join(f"{found.orgs.get(org_id, org_id)} {jobs:,}" for org_id, jobs in one.orgs)
    alike = ", ".join(f"{_when(group)} ({group.schedule.timezone}) {group.jobs:,}" for group in one.alike)
    head = f"pile-up at {one.minute:%Y-%m-%d %H:%M}Z: {one.jobs:,} jobs, usual are {found.usual:,.1f} a minute"
    return [head, f"  most are of {orgs}", f"  most are {alike}"] if one.alike else [head]


def _shade(jobs: float, most: float) -> str:
    """Return a mark for an hour: a dot for none, then quarters of the fullest."""
    return _SHADES[0] if jobs <= 0 else _SHADES[min(4, 1 + int(4 * jobs / most))]


def _when(group: Alike) -> str:
    return when({**asdict(group.schedule), "days_of_week": list(group.schedule.days_of_week)})
