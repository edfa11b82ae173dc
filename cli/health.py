"""`cmis health`: every process with its signs of life, and what is wrong with the whole."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click
from rich.markup import escape
from sqlalchemy.exc import DBAPIError

from cli.database_errors import explained
from cli.output import emit_json, out
from cli.session import json_option
from cli.tables import show_rows
from core.config import Settings, require
from core.db import Database
from core.errors import SetupError
from engine.health import Health, Process, look
from migrations.migrate import head
from tasks.broker import app, broker_errors, check_broker_url

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE: Final = "READONLY_DATABASE_URL"
_COLUMNS: Final = [
    "kind",
    "host",
    "pid",
    "version",
    "queues",
    "up",
    "seen",
    "took work",
    "asked",
    "tasks",
    "verdict",
    "reason",
]
_MINUTE: Final = 60
_TIMES: Final = ("started_at", "seen_at", "claimed_at", "polled_at", "stopped_at")


@click.command()
@click.option("--all", "with_gone", is_flag=True, help="Also show processes that ended within the last day.")
@json_option
def health(with_gone: bool, as_json: bool) -> None:
    """Say whether the system is well, and of each process when it was last seen, at work and asking for work.

    Exit 0 if nothing needs a person; 1 with the problems and their remedies otherwise, also where the database or the
    broker cannot be reached.
    """
    settings = Settings.load()
    found = _look(settings)
    shown = [one for one in found.processes if with_gone or one.verdict not in {"stopped", "lost"}]
    if as_json:
        emit_json(
            {
                "well": found.well,
                "problems": found.problems,
                "notes": found.notes,
                "broker": None if found.broker is None else asdict(found.broker),
                "dropped": found.dropped,
                "processes": [_document(one) for one in shown],
            }
        )
    else:
        _print(found, shown)
    sys.exit(0 if found.well else 1)


def _look(settings: Settings) -> Health:
    try:
        url = require(settings.readonly_database_url, VARIABLE)
        with closing(Database(url, variable=VARIABLE, application="cmis-health")) as database:
            # a shifted clock is one of the problems, not the end of the search for others
            database.check(test_clock=True)
            return look(database, head(), broker=_broker(settings), test_clock=settings.test_clock)
    except SetupError as error:
        return Health((), (str(error),), ())
    except DBAPIError as error:
        return Health((), (str(explained(error, VARIABLE)),), ())


def _broker(settings: Settings) -> str | None:
    """Return why the broker cannot be used, or None."""
    try:
        check_broker_url(settings)
    except SetupError as error:
        return str(error)
    with app.connection_for_read() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
        except broker_errors(connection) as error:
            return f"{error} (check that it runs and that BROKER_URL is right)"
    return None


def _document(one: Process) -> dict[str, Any]:
    row = one.row
    names = ["process_id", "kind", "host", "pid", "version", "queues", "tasks", "state", *_TIMES]
    return {name: row[name] for name in names} | {"verdict": one.verdict, "reason": one.reason}


def _print(found: Health, shown: list[Process]) -> None:
    show_rows("Processes", [_row(one) for one in shown], _COLUMNS, hint="Start the processes of the Procfile.")
    for problem in found.problems:
        out.print(f"[red]problem[/red] {escape(problem)}", highlight=False, soft_wrap=True)
    for note in found.notes:
        out.print(f"[yellow]note[/yellow]    {escape(note)}", highlight=False, soft_wrap=True)
    for line in _counted(found):
        out.print(f"counted {escape(line)}", highlight=False, soft_wrap=True)
    if found.well:
        out.print("[green]well[/green]", highlight=False)


def _counted(found: Health) -> list[str]:
    """Return what has been counted since the database was made: what harmed nobody, and is worth knowing."""
    lines = []
    if found.broker is not None and found.broker.lost_at is not None:
        times, last = found.broker.losses, found.broker.lost_at.isoformat(timespec="seconds")
        lines.append(
            f"republished after broker loss: {found.broker.republished} tasks ({times} losses, the last {last})"
        )
    if found.dropped:
        lines.append("messages dropped: " + ", ".join(f"{count} {reason}" for reason, count in found.dropped.items()))
    return lines


def _row(one: Process) -> Mapping[str, Any]:
    row = one.row
    return {
        **{name: row[name] for name in ("kind", "host", "pid", "version", "tasks")},
        "queues": ", ".join(row["queues"]) or None,
        "up": _age(row["up_for"]),
        "seen": _age(row["seen_ago"]),
        "took work": _age(row["claimed_ago"]),
        "asked": _age(row["polled_ago"]),
        "verdict": one.verdict,
        "reason": one.reason,
    }


def _age(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return f"{seconds:.0f} s" if seconds < 2 * _MINUTE else f"{seconds / _MINUTE:.0f} min"
