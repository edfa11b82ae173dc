"""`cmis jobs pause|resume|run|backfill`: steer a job beside its definition."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from cli.arguments import moment_at, parse_moment
from cli.executions import show_execution
from cli.job_define import print_job
from cli.optimizations import show_optimization
from cli.output import emit_json, err, out, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import show_fields
from core import clock
from core.errors import InputError, TransientError
from engine import backfill, control_jobs, run_now
from engine.find import find_job
from models.enums import TargetType

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Row

    from cli.session import OrgSession

_NAMES: Final = {"start": "from", "end": "to"}  # the one is a word of Python


@click.command("pause")
@click.argument("job")
@org_command
@click.option("--note", metavar="TEXT", help="Why, for whoever finds it paused.")
def pause_command(job: str, org_ref: str, user_id: str | None, as_json: bool, note: str | None) -> None:
    """Keep a JOB from firing until it is resumed. Runs that are decided already go on.

    Example: cmis jobs pause "Pause dear campaigns" --org acme --note "until the new budget is signed"
    """
    with open_org(org_ref, user_id) as session:
        print_job(control_jobs.pause_job(session.database, session.context, job, note), as_json=as_json)


@click.command("resume")
@click.argument("job")
@org_command
@click.option("--catch-up", is_flag=True, help="Let the job's misfire policy decide what went by, as after an outage.")
def resume_command(job: str, org_ref: str, user_id: str | None, as_json: bool, catch_up: bool) -> None:
    """Let a paused JOB fire again, from now on: what went by is recorded as paused, and never fires.

    Example: cmis jobs resume "Pause dear campaigns" --org acme
    """
    with open_org(org_ref, user_id) as session:
        row = control_jobs.resume_job(session.database, session.context, job, catch_up=catch_up)
        print_job(row, as_json=as_json)


@click.command("run")
@click.argument("job")
@org_command
@click.option("--wait", is_flag=True, help="Wait for a worker and show what came of it.")
@click.option("--timeout", type=click.IntRange(1, 3600), default=60, show_default=True, help="Seconds to --wait.")
def run_command(job: str, org_ref: str, user_id: str | None, as_json: bool, wait: bool, timeout: int) -> None:
    """Run a JOB now, outside its schedule: an occurrence of origin `manual`, left to the workers.

    Its cursor and counters stay as they are; a paused or completed job may be run so, too. The rule's gates apply; of a
    job that starts a workflow --wait waits for the end of the instance.

    Example: cmis jobs run "Pause dear campaigns" --org acme --wait
    """
    with open_org(org_ref, user_id) as session:
        with session.database.transaction(session.context) as connection:
            row = find_job(connection, session.org.org_id, job, "JOB")
        run = run_now.run_job(session.database, session.context, row)
        if not wait:
            _print_run(run, row, as_json=as_json)
        elif run.execution_id is None:
            _wait_for_instance(session, run, row, timeout, as_json=as_json)
        else:
            optimizes = row.target_type == TargetType.OPTIMIZATION
            wait_for = run_now.wait_for_optimization if optimizes else run_now.wait_for_execution
            if wait_for(session.database, session.context, run.execution_id, seconds=timeout) is None:
                raise TransientError(f"no worker ran task {run.task_id} within {timeout} s: is one running?")
            show = show_optimization if optimizes else show_execution
            show(session, run.execution_id, as_json=as_json)


def _wait_for_instance(
    session: OrgSession, run: run_now.Triggered, job: Row[Any], timeout: int, *, as_json: bool
) -> None:
    ended = run_now.wait_for_run(session.database, session.context, run, seconds=timeout)
    if ended is None:
        message = (
            f"instance {run.instance_id} has not ended within {timeout} s: it may be waiting, or no worker is running"
        )
        raise TransientError(message)
    [document] = rows_as_dicts([ended])
    if as_json:
        emit_json(document)
    else:
        show_fields(f"Run of {job.name}", document)


@click.command("backfill")
@click.argument("job")
@org_command
@click.option("--from", "start", required=True, metavar="TIME", help="7d, 12h, or a date (and time), inclusive.")
@click.option("--to", "end", required=True, metavar="TIME", help="As --from; it must be past.")
@click.option(
    "--per-minute",
    type=click.IntRange(1, backfill.MAX_RATE),
    default=backfill.PER_MINUTE,
    show_default=True,
    help="Start so many runs a minute.",
)
def backfill_command(
    job: str, org_ref: str, user_id: str | None, as_json: bool, start: str, end: str, per_minute: int
) -> None:
    """Run a JOB once for each time that its present schedule plans in a range that is past; at most 1,000 a call.

    Each is an occurrence of origin `backfill`, left to the workers; one that was backfilled before is left alone. The
    rule sees today's data, and its gates apply. Cursor and counters stay. A time without an offset is local to the job.

    Example: cmis jobs backfill "Pause dear campaigns" --org acme --from 2026-03-01 --to 2026-03-08
    """
    with open_org(org_ref, user_id) as session:
        low, high = _range(session, job, start, end)
        done = backfill.backfill_job(session.database, session.context, job, low, high, per_minute=per_minute)
    document = {_NAMES.get(name, name): value for name, value in asdict(done).items()}
    if as_json:
        emit_json(document)
    else:
        show_fields(f"Backfill of {job}", document)
        err.print(f"what became of them: cmis jobs history JOB --since {low:%Y-%m-%d}", highlight=False)


def _range(session: OrgSession, job: str, start: str, end: str) -> tuple[datetime, datetime]:
    with session.database.transaction(session.context) as connection:
        row = find_job(connection, session.org.org_id, job, "JOB")
        now = clock.now(connection)
    low, high = (
        moment_at(parse_moment(option, text, row.timezone), now) for option, text in (("--from", start), ("--to", end))
    )
    if high < low:
        raise InputError.of("--to", "is before --from", "give a later --to or an earlier --from")
    return low, high


def _print_run(run: run_now.Triggered, job: Row[Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(asdict(run))
    else:
        show_fields(f"Run of {job.name}", asdict(run))
        group = "optimizations" if job.target_type == TargetType.OPTIMIZATION else "executions"
        look = f"{group} show {run.execution_id}" if run.execution_id is not None else f"jobs history {job.job_id}"
        out.print(f"once a worker ran it: cmis {look}", highlight=False, soft_wrap=True)
