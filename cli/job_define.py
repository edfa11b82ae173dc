"""`cmis jobs add` and `cmis jobs update`: a job's definition, from options or from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.job_options import CLEARABLE, job_changes, job_document, job_options
from cli.output import emit_json, rows_as_dicts
from cli.session import open_org, org_command
from cli.tables import show_fields
from engine import define_jobs

if TYPE_CHECKING:
    from sqlalchemy import Row


@click.command("add")
@org_command
@job_options
def add_command(org_ref: str, user_id: str | None, as_json: bool, **given: Any) -> None:
    """Add a job: run a rule, or all of them, or start a workflow, by a cron expression, once, or by a recurrence.

    Times are local.

    \b
    Examples:
      cmis jobs add --org acme --rule "Pause dear campaigns" --cron "0 9 * * 1-5" --timezone Europe/Berlin
      cmis jobs add --org acme --rule "Pause dear campaigns" --every weekly --on mon,thu --at 09:00
      cmis jobs add --org acme --optimize --campaign "Spring sale" --cron "@hourly"
      cmis jobs add --org acme --workflow "Weekly report" --every weekly --on mon --at 09:00
      cmis jobs add --org acme --file job.json, where job.json holds
        {"rule": "Pause dear campaigns", "cron_expression": "0 9 * * *", "misfire": "skip"}
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    document = job_document(given)
    with open_org(org_ref, user_id) as session:
        print_job(define_jobs.create_job(session.database, session.context, document), as_json=as_json)


@click.command("update")
@click.argument("job")
@org_command
@job_options
@click.option(
    "--clear", multiple=True, type=click.Choice(sorted(CLEARABLE)), help="Take this away; may be given several times."
)
def update_command(
    job: str, org_ref: str, user_id: str | None, as_json: bool, clear: tuple[str, ...], **given: Any
) -> None:
    """Change a JOB: give what is to be different, the rest stays. Another schedule holds from now on.

    Planned times of the old schedule that are due and not decided yet are recorded as cancelled. A completed or failed
    job that gets a schedule with times to come is active again; a paused one stays paused.

    \b
    Examples:
      cmis jobs update "Pause dear campaigns" --org acme --cron "30 9 * * 1-5"
      cmis jobs update "Pause dear campaigns" --org acme --jitter 300 --clear max-executions
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    changes = job_changes(given, clear)
    with open_org(org_ref, user_id) as session:
        print_job(define_jobs.update_job(session.database, session.context, job, changes), as_json=as_json)


def print_job(row: Row[Any], *, as_json: bool) -> None:
    """Print a job with all its columns."""
    [job] = rows_as_dicts([row])
    if as_json:
        emit_json(job)
    else:
        show_fields(f"Job {job['name']}", job)
