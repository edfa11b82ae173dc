"""The options that define a job, and the document that they make: SPEC's column names and their values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import DAYS, parse_days, parse_json, read_json
from core.errors import InputError
from models.enums import DstFold, DstGap, Frequency, Misfire, MonthEnd, Overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import StrEnum

KINDS: Final = {"cron_expression": "--cron", "once": "--once", "frequency": "--every"}
CLEARABLE: Final = {
    "start": "start_date",
    "end": "end_date",
    "max-executions": "max_executions",
    "pause-on-failures": "pause_on_failure_count",
    "context": "execution_context",
    "campaign": "campaign",
    "timeout": "timeout_seconds",
}
"""What may be taken away again: the option without its dashes, and its column."""


def _words(enum: type[StrEnum]) -> click.Choice[str]:
    return click.Choice([one.value for one in enum])


_OPTIONS: Final = (
    click.option("--rule", metavar="RULE", help="What it runs (id or exact name)."),
    click.option("--workflow", metavar="WORKFLOW", help="Start an instance of this one (id or exact name) instead."),
    click.option("--optimize", "target_type", flag_value="optimization", help="Run all active rules instead of one."),
    click.option("--campaign", metavar="CAMPAIGN", help="Optimise this one (id or exact name) [default: all]."),
    click.option("--name", help="Unique in the org [default: what it runs]."),
    click.option("--cron", "cron_expression", metavar="EXPRESSION", help="Five fields ('30 9 * * 1-5'), or @daily."),
    click.option("--once", metavar="TIME", help="A date and time, as in 2026-03-01T09:00."),
    click.option("--every", "frequency", type=_words(Frequency), help="A recurrence."),
    click.option("--interval", type=int, help="Every so many hours, days, weeks or months [default: 1]."),
    click.option("--at", "time_of_day", metavar="HH:MM", help="Time of day of a daily, weekly or monthly job."),
    click.option("--on", "days_of_week", metavar="DAYS", help=f"Days of a weekly job: some of {','.join(DAYS)}."),
    click.option("--day-of-month", metavar="DAY", help="1 to 31, or last, of a monthly job."),
    click.option("--timezone", help="IANA zone [default: the org's]."),
    click.option("--start", "start_date", metavar="TIME", help="Not before; recurrences count from it."),
    click.option("--end", "end_date", metavar="TIME", help="Not after."),
    click.option("--dst-gap", type=_words(DstGap), help="A fixed time the clocks leave out [default: next_valid]."),
    click.option("--dst-fold", type=_words(DstFold), help="A fixed time the clocks show twice [default: first]."),
    click.option("--month-end", type=_words(MonthEnd), help="A day that the month lacks [default: last_day]."),
    click.option("--misfire", type=_words(Misfire), help="Which missed times are made up for [default: once]."),
    click.option(
        "--misfire-grace",
        "misfire_grace_seconds",
        type=int,
        metavar="SECONDS",
        help="How late [default: 3600].",
    ),
    click.option("--overlap", type=_words(Overlap), help="What happens while a run is open [default: skip]."),
    click.option(
        "--jitter", "jitter_seconds", type=int, metavar="SECONDS", help="Start so much later at most [default: 0]."
    ),
    click.option("--max-executions", type=int, metavar="N", help="Complete the job after so many runs."),
    click.option(
        "--timeout",
        "timeout_seconds",
        type=int,
        metavar="SECONDS",
        help="A run may take [default: 300; of a workflow, what its definition says].",
    ),
    click.option(
        "--pause-on-failures",
        "pause_on_failure_count",
        type=int,
        metavar="N",
        help="Pause after N failures in a row.",
    ),
    click.option(
        "--context", "execution_context", metavar="JSON|@FILE", help="An object that the runs carry, up to 16 KiB."
    ),
    click.option(
        "--file", "path", metavar="FILE", help="All of it as a JSON object with the columns' names; - is stdin."
    ),
)


def job_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that define a job."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def job_document(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a new job; InputError unless exactly one kind of schedule is given."""
    if given.get("path") is not None:
        return _from_file(given)
    if len(_kinds(given)) != 1:
        found = " and ".join(_kinds(given)) or "none"
        raise InputError.of("schedule", f"is given by {found}", f"give one of {', '.join(KINDS.values())}")
    return _from_options(given)


def job_changes(given: Mapping[str, Any], clear: tuple[str, ...]) -> dict[str, Any]:
    """Return the changes to a job: what is given, and null for what is to be cleared; InputError if that is nothing."""
    cleared = {CLEARABLE[name]: None for name in clear}
    if given.get("path") is not None:
        changes = _from_file(given)
    else:
        if len(_kinds(given)) > 1:
            message = f"is given by {' and '.join(_kinds(given))}"
            raise InputError.of("schedule", message, f"give one of {', '.join(KINDS.values())}")
        changes = _from_options(given)
    for name in clear:
        if CLEARABLE[name] in changes:
            raise InputError.of("--clear", f"{name} is also given a value", "give one of them")
    if not changes | cleared:
        raise InputError.of("job", "no change is given", "see `cmis jobs update --help`")
    return changes | cleared


def when(job: Mapping[str, Any]) -> str:
    """Say in a few words when a job runs, by its schedule columns."""
    match job["schedule_type"]:
        case "once":
            return "once"
        case "cron":
            return f"cron {job['cron_expression']}"
    words = [job["frequency"] if job["interval"] == 1 else f"{job['frequency']} (each {job['interval']})"]
    if job["days_of_week"]:
        words.append("on " + ",".join(DAYS[day] for day in job["days_of_week"]))
    if job["day_of_month"]:
        words.append(f"on {job['day_of_month']}")
    if job["time_of_day"]:
        words.append(f"at {job['time_of_day']:%H:%M}")
    return " ".join(words)


def _kinds(given: Mapping[str, Any]) -> list[str]:
    return [option for name, option in KINDS.items() if given[name] is not None]


def _from_options(given: Mapping[str, Any]) -> dict[str, Any]:
    document = {name: value for name, value in given.items() if value is not None and name != "once"}
    if given["once"] is not None:
        if given["start_date"] is not None:
            raise InputError.of("--start", "means nothing beside --once", "leave it out")
        document |= {"schedule_type": "once", "start_date": given["once"]}
    if given["days_of_week"] is not None:
        document["days_of_week"] = parse_days(given["days_of_week"])
    if given["execution_context"] is not None:
        document["execution_context"] = _context(given["execution_context"])
    return document


def _context(text: str) -> Any:
    return read_json("--context", text[1:]) if text.startswith("@") else parse_json("--context", text)


def _from_file(given: Mapping[str, Any]) -> dict[str, Any]:
    others = sorted(name for name, value in given.items() if value is not None and name != "path")
    if others:
        raise InputError.of("--file", f"stands beside options for {', '.join(others)}", "write them into the file")
    document = read_json("--file", given["path"])
    if not isinstance(document, dict):
        raise InputError.of("--file", "holds no JSON object", 'write {"rule": "…", "cron_expression": "@daily"}')
    return document
