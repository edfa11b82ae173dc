"""`cmis jobs`: when rules run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import DAYS, parse_days
from cli.executions import show_execution
from cli.output import emit_json, out, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import show_fields, show_rows
from core.errors import InputError, TransientError
from engine import define, run_now
from engine.store import jobs as store
from engine.store import rules
from models.enums import Frequency

if TYPE_CHECKING:
    from collections.abc import Mapping

_COLUMNS: Final = ["job_id", "name", "rule", "when", "timezone", "status", "next_run_at"]
_KINDS: Final = {"cron_expression": "--cron", "once": "--once", "frequency": "--every"}


@click.group()
def jobs() -> None:
    """Jobs: which rule runs when. JOB is an id or an exact name."""


@jobs.command("add")
@org_command
@click.option("--rule", required=True, metavar="RULE", help="What it runs (id or exact name).")
@click.option("--name", help="Unique in the org [default: the rule's name].")
@click.option("--cron", "cron_expression", metavar="EXPRESSION", help="Five fields, as in '30 9 * * 1-5', or @daily.")
@click.option("--once", metavar="TIME", help="A date and time, as in 2026-03-01T09:00.")
@click.option("--every", "frequency", type=click.Choice([one.value for one in Frequency]), help="A recurrence.")
@click.option("--interval", type=int, help="Every so many hours, days, weeks or months [default: 1].")
@click.option("--at", "time_of_day", metavar="HH:MM", help="Time of day of a daily, weekly or monthly job.")
@click.option("--on", "days_of_week", metavar="DAYS", help=f"Days of a weekly job: some of {','.join(DAYS)}.")
@click.option("--day-of-month", metavar="DAY", help="1 to 31, or last, of a monthly job.")
@click.option("--timezone", help="IANA zone [default: the org's].")
@click.option("--start", "start_date", metavar="TIME", help="Not before; recurrences count from it.")
@click.option("--end", "end_date", metavar="TIME", help="Not after.")
def add_command(org_ref: str, user_id: str | None, as_json: bool, **given: Any) -> None:
    """Add a job: run a rule by a cron expression, once, or by a recurrence. A time without an offset is local.

    \b
    Examples:
      cmis jobs add --org acme --rule "Pause dear campaigns" --cron "0 9 * * 1-5" --timezone Europe/Berlin
      cmis jobs add --org acme --rule "Pause dear campaigns" --every weekly --on mon,thu --at 09:00
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    document = job_document(given)
    with open_org(org_ref, user_id) as session:
        row = define.create_job(session.database, session.context, document)
    [job] = rows_as_dicts([row])
    if as_json:
        emit_json(job)
    else:
        show_fields(f"Job {job['name']}", job)


@jobs.command("list")
@org_command
def list_command(org_ref: str, user_id: str | None, as_json: bool) -> None:
    """List an org's jobs, next due first.

    Example: cmis jobs list --org acme
    """
    with open_org(org_ref, user_id) as session, session.database.transaction(session.context) as connection:
        rows = rows_as_dicts(store.listing(connection, session.org.org_id))
        names = {} if as_json else rules.names(connection, session.org.org_id)
    if as_json:
        emit_json(rows)
    else:
        shown = [{**row, "rule": names.get(row["rule_id"]), "when": when(row)} for row in rows]
        show_rows("Jobs", shown, _COLUMNS, hint="`cmis jobs add` makes one.")


@jobs.command("run")
@click.argument("job")
@org_command
@click.option("--wait", is_flag=True, help="Wait for a worker and show the execution.")
@click.option("--timeout", type=click.IntRange(1, 3600), default=60, show_default=True, help="Seconds to --wait.")
def run_command(job: str, org_ref: str, user_id: str | None, as_json: bool, wait: bool, timeout: int) -> None:
    """Run a JOB now, outside its schedule: an occurrence of origin `manual`, left to the workers.

    Its cursor and counters stay as they are; a paused or completed job may be run so, too. The rule's gates apply.

    Example: cmis jobs run "Pause dear campaigns" --org acme --wait
    """
    with open_org(org_ref, user_id) as session:
        with session.database.transaction(session.context) as connection:
            row = define.find_job(connection, session.org.org_id, job, "JOB")
        run = run_now.run_job(session.database, session.context, row)
        if not wait:
            _print_run(run, row.name, as_json=as_json)
            return
        found = run_now.wait_for_execution(session.database, session.context, run.execution_id, seconds=timeout)
        if found is None:
            raise TransientError(f"no worker ran task {run.task_id} within {timeout} s: is one running?")
        show_execution(session, run.execution_id, as_json=as_json)


def job_document(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as the document of a job; InputError unless exactly one kind of schedule is given."""
    kinds = [option for name, option in _KINDS.items() if given[name] is not None]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none"
        raise InputError.of("schedule", f"is given by {found}", f"give one of {', '.join(_KINDS.values())}")
    document = {name: value for name, value in given.items() if name != "once"}
    if given["once"] is not None:
        if given["start_date"] is not None:
            raise InputError.of("--start", "means nothing beside --once", "leave it out")
        document |= {"schedule_type": "once", "start_date": given["once"]}
    return document | {"days_of_week": parse_days(given["days_of_week"])}


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


def _print_run(run: run_now.Triggered, name: str, *, as_json: bool) -> None:
    if as_json:
        emit_json(asdict(run))
    else:
        show_fields(f"Run of {name}", asdict(run))
        out.print(f"once a worker ran it: cmis executions show {run.execution_id}", highlight=False, soft_wrap=True)
